//! Stands for the export of traces in a build without the feature `otlp`: says so if one is asked for.

use anyhow::{Result, bail};
use tracing_subscriber::{Layer, Registry};

use super::config::Otlp;

/// What turns spans into OpenTelemetry's.
pub(super) type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// An export that cannot be.
#[derive(Debug)]
pub(crate) enum Export {}

/// Refuses to export, if an endpoint is set.
pub(super) fn start(options: &Otlp) -> Result<Option<(Export, Spans)>> {
    if options.endpoint.is_some() {
        bail!("otlp.endpoint is set, but this build exports nothing: build it with the feature otlp");
    }
    Ok(None)
}

impl Export {
    /// Never called.
    pub(crate) fn finish(&self) {
        match *self {}
    }
}
