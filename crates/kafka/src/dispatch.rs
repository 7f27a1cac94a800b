//! From a frame to the API that it is for, and to that API's answer.

use std::time::Duration;

use annals_broker::ProtocolMetrics;
use annals_clock::Clock;
use bytes::Bytes;
use futures_util::{FutureExt, TryFutureExt};
use kafka_protocol::messages::ApiKey;
use tracing::Instrument;

use crate::apis::{self, Call, Context, Entry, Serve, api_versions, names, produce};
use crate::close::Close;
use crate::connection::{Handler, Reply, Request};
use crate::header::{Head, read_head, split_body};
use crate::trace;

/// A decoded request that takes no more than this beside its frame is not counted on its own.
const DECODED_BYTES_FREE: usize = 64 * 1024;

/// Answers the requests of one connection from the broker.
pub(crate) struct Dispatcher {
    context: Context,
}

impl Dispatcher {
    pub(crate) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Client ids rarely change between requests: no allocation where they do not.
    fn remember(&mut self, client_id: Option<&str>) {
        if self.context.caller.client_id.as_deref() != client_id {
            self.context.caller.client_id = client_id.map(Into::into);
        }
    }
}

impl Handler for Dispatcher {
    async fn handle(&mut self, mut request: Request<'_>) -> Result<Reply, Close> {
        let head = read_head(&request.bytes)?;
        let Some(api) = find(head)? else {
            return api_versions::unsupported_version(head.correlation_id).map(Reply::Now);
        };
        let (client_id, body) = split_body(&request.bytes, api.is_flexible(head.version))?;
        self.remember(client_id.as_deref());
        let call = Call { api, version: head.version, correlation_id: head.correlation_id, body };
        take_memory(&call, &mut request)?;
        answer(&self.context, call).await
    }
}

/// Starts the answer and, for all but Produce, waits for it.
async fn answer(context: &Context, call: Call) -> Result<Reply, Close> {
    let (name, since) = (call.api.name, context.clock.monotonic());
    let span = trace::request(context, &call);
    match &call.api.serve {
        Serve::Answer(answer) => {
            let answered = answer(context, call).instrument(span.clone()).await?;
            trace::outcome(&span, answered.error_code);
            count(&context.metrics, &context.clock, (name, since), answered.error_code);
            Ok(Reply::Now(answered.rope))
        }
        Serve::Produce => {
            let acknowledgement = produce::start(context, call).instrument(span.clone()).await?;
            let (metrics, clock) = (context.metrics.clone(), context.clock.clone());
            let counted = acknowledgement.map_ok(move |answered| {
                let error_code = answered.as_ref().map_or(0, |answered| answered.error_code);
                trace::outcome(&span, error_code);
                count(&metrics, &clock, (name, since), error_code);
                answered.map(|answered| answered.rope)
            });
            Ok(Reply::Later(counted.boxed()))
        }
    }
}

fn count(metrics: &ProtocolMetrics, clock: &Clock, (name, since): (&'static str, Duration), error_code: i16) {
    metrics.request(name, names::error(error_code), clock.monotonic().saturating_sub(since));
}

/// The API that a request is for; `None` for ApiVersions in a version of the future, which is answered in version 0, so
/// that the client can choose another (KIP-511).
fn find(head: Head) -> Result<Option<&'static Entry>, Close> {
    let Head { key, version, .. } = head;
    let entry = apis::find(key).ok_or(Close::UnknownApi(key))?;
    let (min, max) = (entry.served_from, entry.versions.1);
    match entry.serves(version) {
        true => Ok(Some(entry)),
        false if entry.key == ApiKey::ApiVersions => Ok(None),
        false => Err(Close::UnsupportedVersion { api: entry.key, version, min, max }),
    }
}

fn take_memory(call: &Call, request: &mut Request<'_>) -> Result<(), Close> {
    let decoded_bytes = call.check()?;
    if decoded_bytes <= DECODED_BYTES_FREE || request.memory.grow(request.held, decoded_bytes) {
        return Ok(());
    }
    Err(Close::NoMemory { size_bytes: request.bytes.len(), decoded_bytes })
}

/// Why bytes are no request.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DecodeError(Close);

/// Decodes a request as a connection would, without answering it: the whole way that bytes of a stranger take.
///
/// For fuzzing: whatever the bytes are, it returns, and allocates no more than a small multiple of their size. `frame`
/// is a request without the length in front.
///
/// ```
/// use bytes::Bytes;
///
/// // ApiVersions, version 0, correlation id 7, no client id.
/// let frame = Bytes::from_static(b"\x00\x12\x00\x00\x00\x00\x00\x07\xff\xff");
/// assert!(annals_kafka::decode_request(frame.clone()).is_ok());
/// // Metadata, version 1, that promises two thousand million topics.
/// let frame = Bytes::from_static(b"\x00\x03\x00\x01\x00\x00\x00\x07\xff\xff\x7f\xff\xff\xff");
/// let error = annals_kafka::decode_request(frame).unwrap_err();
/// assert_eq!(error.to_string(), "malformed Metadata request, version 1");
/// ```
///
/// # Errors
/// If the bytes are not a request that is served here.
#[expect(clippy::needless_pass_by_value, reason = "the body is cut out of it and shared")]
pub fn decode_request(frame: Bytes) -> Result<(), DecodeError> {
    decode(&frame).map_err(DecodeError)
}

fn decode(frame: &Bytes) -> Result<(), Close> {
    let head = read_head(frame)?;
    let Some(api) = find(head)? else { return Ok(()) };
    let (_, body) = split_body(frame, api.is_flexible(head.version))?;
    let call = Call { api, version: head.version, correlation_id: head.correlation_id, body };
    call.check()?;
    (api.decodes)(&call)
}
