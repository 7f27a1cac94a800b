//! Log lines of the client commands, on standard error.
//!
//! Commands speak through their output; log lines are for finding out why something does not work. They are
//! filtered by
//! `ANNALS_LOG` (the syntax of `tracing_subscriber::EnvFilter`, for example `librdkafka=debug`).

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error: warnings, or with `verbose` everything that the client library says.
pub(crate) fn init(verbose: bool) {
    let fallback = if verbose { "debug" } else { "warn" };
    let filter = EnvFilter::try_from_env("ANNALS_LOG").unwrap_or_else(|_| EnvFilter::new(fallback));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).finish();
    // Fails only if a subscriber is set already, and then that one is wanted.
    let _already_set = tracing::subscriber::set_global_default(subscriber);
}
