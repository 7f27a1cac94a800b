//! Spans of requests for an OpenTelemetry collector (OTLP over HTTP with protobuf), if a collector is named.
//!
//! A span that is not sampled is never built; without a collector there is not even a question. Spans wait in a bounded
//! queue of the library, whose thread sends them every few seconds; what does not fit is dropped. A collector that
//! cannot be reached costs one warning and no request any time.
//!
//! Source: the OpenTelemetry protocol, version 1, and the environment variables of its exporters.

mod sampling;
mod transport;

use std::time::Duration;

use anyhow::{Context, Result};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::{Layer, Registry};

use self::transport::Transport;
use super::config::Otlp;

/// How long the last spans may take to leave when the server ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Where OTLP over HTTP takes traces, below the endpoint.
const TRACES_PATH: &str = "/v1/traces";

/// What turns spans into OpenTelemetry's.
pub(super) type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// The export under way.
#[derive(Debug)]
pub(crate) struct Export(SdkTracerProvider);

/// Starts to export, if an endpoint is set.
pub(super) fn start(options: &Otlp) -> Result<Option<(Export, Spans)>> {
    let Some(endpoint) = &options.endpoint else { return Ok(None) };
    let provider = SdkTracerProvider::builder()
        .with_resource(resource(&options.service_name))
        .with_sampler(Sampler::AlwaysOn)
        .with_batch_exporter(exporter(endpoint)?)
        .build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("annals"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(sampling::sample(options.sample_ratio));
    Ok(Some((Export(provider), spans.boxed())))
}

fn exporter(endpoint: &str) -> Result<SpanExporter> {
    let endpoint = format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/'));
    let transport = Transport::new(&endpoint).context("cannot start the export of traces")?;
    let exporter = SpanExporter::builder().with_http().with_http_client(transport).with_endpoint(&endpoint);
    exporter.build().with_context(|| format!("otlp.endpoint: cannot export to {endpoint}"))
}

/// Who the spans are from. `OTEL_RESOURCE_ATTRIBUTES` may add to it.
fn resource(service_name: &str) -> Resource {
    Resource::builder()
        .with_service_name(service_name.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

impl Export {
    /// Sends what is left, and ends. Waits for [`FLUSH_TIMEOUT`] at most.
    pub(crate) fn finish(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}
