//! The span of a request, for whoever traces: from its arrival to its answer, the wait of a Fetch included.
//!
//! Nothing is put together unless a subscriber asks for spans of [`SPANS`]; the names of the fields are those of
//! OpenTelemetry's conventions for messaging where there is one.

use tracing::Span;
use tracing::field::Empty;

use crate::apis::{Call, Context, names};

/// The target of the spans of requests. Their level is trace.
pub const SPANS: &str = "annals_kafka::request";

/// The span of a request. No span if nobody wants it.
pub(crate) fn request(context: &Context, call: &Call) -> Span {
    let peer = context.caller.peer;
    tracing::trace_span!(
        target: SPANS,
        "request",
        otel.name = call.api.name,
        otel.kind = "server",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = "kafka",
        messaging.client.id = context.caller.client_id.as_deref(),
        network.peer.address = %peer.ip(),
        network.peer.port = peer.port(),
        kafka.api_version = call.version,
        kafka.correlation_id = call.correlation_id,
        kafka.topics = Empty,
    )
}

/// Says how many topics the present request is about.
pub(crate) fn topics(count: usize) {
    Span::current().record("kafka.topics", count);
}

/// Says how a request ended.
pub(crate) fn outcome(span: &Span, error_code: i16) {
    if error_code != 0 {
        span.record("otel.status_code", "ERROR").record("error.type", names::error(error_code));
    }
}
