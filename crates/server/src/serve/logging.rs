//! Log lines of the server, on standard error, as text or JSON.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

use super::config::{LogFormat, Settings};

/// Starts logging as the settings say. `ANNALS_LOG` wins over `log.filter`.
pub(crate) fn init(settings: &Settings) -> Result<()> {
    let wanted = std::env::var("ANNALS_LOG").unwrap_or_else(|_| settings.log_filter.clone());
    let filter =
        EnvFilter::try_new(&wanted).with_context(|| format!("log.filter \"{wanted}\" is not a filter"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_coloured())
        .with_writer(std::io::stderr);
    let started = match settings.log_format {
        LogFormat::Text => tracing::subscriber::set_global_default(builder.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().finish()),
    };
    started.context("logging was started before")
}

/// Colours are for terminals, and not for those who set `NO_COLOR`.
fn is_coloured() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
