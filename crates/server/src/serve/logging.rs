//! Log lines of the server, on standard error, as text or JSON; and spans for a collector, if one is named.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::config::{LogFormat, Settings};
use super::otlp::{self, Export};
use crate::failure::usage;

/// Starts logging as the settings say. `ANNALS_LOG` wins over `log.filter`. Returns the export of spans, to be finished
/// at the end.
pub(crate) fn init(settings: &Settings) -> Result<Option<Export>> {
    let variable = std::env::var("ANNALS_LOG").ok().filter(|wanted| !wanted.is_empty());
    let wanted = variable.unwrap_or_else(|| settings.log_filter.clone());
    let filter = EnvFilter::try_new(&wanted);
    let filter =
        filter.map_err(|error| usage(format!("log.filter \"{wanted}\" is not a filter: {error}")))?;
    let (export, spans) = otlp::start(&settings.otlp)?.unzip();
    let lines = tracing_subscriber::fmt::layer().with_ansi(is_coloured()).with_writer(std::io::stderr);
    let lines = match settings.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let subscriber = Registry::default().with(spans).with(lines.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).context("logging was started before")?;
    Ok(export)
}

/// Colours are for terminals, and not for those who set `NO_COLOR`.
fn is_coloured() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
