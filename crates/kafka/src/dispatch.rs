//! From a frame to the API that it is for, and from that API's reply to a framed response.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use kafka_protocol::messages::ApiKey;

use crate::api::Entry;
use crate::apis::api_versions;
use crate::close::Close;
use crate::connection::{Handler, Reply, Request};
use crate::context::Context;
use crate::header::{Head, read_head, split_body};
use crate::registry;
use crate::rope::Rope;

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

    fn authorize(&self, entry: &Entry) -> Result<(), Close> {
        let is_allowed = entry.before_authentication || self.context.is_authenticated;
        if is_allowed { Ok(()) } else { Err(Close::NotAuthenticated(entry.name)) }
    }
}

impl Handler for Dispatcher {
    async fn handle(&mut self, request: Request<'_>) -> Result<Reply, Close> {
        let head = read_head(&request.bytes)?;
        let entry = match find(head)? {
            Found::Served(entry) => entry,
            Found::OtherApiVersions => return api_versions::unsupported_version().map(|body| now(head, false, body)),
        };
        self.authorize(entry)?;
        self.context.shared.metrics.request(entry.name, &self.context.shared.memory);
        let (client_id, body) = split_body(&request.bytes, entry.is_flexible(head.version))?;
        self.context.caller.client_id = client_id;
        take_memory(entry, head.version, &body, request)?;
        let reply = (entry.run)(&mut self.context, body, head.version).await?;
        Ok(frame(entry, head, reply))
    }
}

/// Which API a request is for.
enum Found {
    Served(&'static Entry),
    /// ApiVersions in a version of the future: answered in version 0, so that the client can choose another (KIP-511).
    OtherApiVersions,
}

fn find(head: Head) -> Result<Found, Close> {
    let Head { key, version, .. } = head;
    let entry = registry::find(key).ok_or(Close::UnknownApi(key))?;
    let &Entry { name: api, min, max, .. } = entry;
    match (min..=max).contains(&version) {
        true => Ok(Found::Served(entry)),
        false if key == ApiKey::ApiVersions as i16 => Ok(Found::OtherApiVersions),
        false => Err(Close::UnsupportedVersion { api, version, min, max }),
    }
}

fn take_memory(entry: &Entry, version: i16, body: &Bytes, request: Request<'_>) -> Result<(), Close> {
    let decoded_bytes = entry.check(version, body)?;
    if decoded_bytes <= DECODED_BYTES_FREE || request.memory.grow(request.held, decoded_bytes) {
        return Ok(());
    }
    Err(Close::NoMemory { size_bytes: request.bytes.len(), decoded_bytes })
}

/// Puts length and header in front of the reply's body.
fn frame(entry: &Entry, head: Head, reply: Reply) -> Reply {
    // The response header of ApiVersions never is flexible: a client reads it before it knows the server's versions.
    let flexible = entry.is_flexible(head.version) && entry.key != ApiKey::ApiVersions as i16;
    match reply {
        Reply::Now(body) => now(head, flexible, body),
        Reply::Later(body) => Reply::Later(
            async move { Ok(body.await?.map(|body| with_header(head, flexible, body))) }.boxed(),
        ),
    }
}

fn now(head: Head, flexible: bool, body: Rope) -> Reply {
    Reply::Now(with_header(head, flexible, body))
}

fn with_header(head: Head, flexible: bool, body: Rope) -> Rope {
    let header_bytes = 4 + usize::from(flexible);
    let mut header = BytesMut::with_capacity(4 + header_bytes);
    // Fetch responses are limited far below 2 GiB, and all others are small.
    header.put_i32(i32::try_from(header_bytes + body.remaining()).unwrap_or(i32::MAX));
    header.put_i32(head.correlation_id);
    if flexible {
        header.put_u8(0);
    }
    let mut framed = Rope::from(header.freeze());
    framed.append(body);
    framed
}

/// Decodes a request as a connection would, without answering it: the whole way that bytes of a stranger take.
///
/// For fuzzing: whatever the bytes are, it returns. `frame` is a request without the length in front.
///
/// ```
/// // DescribeCluster, version 0, correlation id 7, no client id, no tags, and a body that is cut short.
/// let frame = bytes::Bytes::from_static(b"\x00\x3c\x00\x00\x00\x00\x00\x07\xff\xff\x00");
/// assert!(annals_kafka::decode_request(&frame).is_err());
/// ```
///
/// # Errors
/// Why the connection would be closed.
pub fn decode_request(frame: &Bytes) -> Result<(), Close> {
    let head = read_head(frame)?;
    let Found::Served(entry) = find(head)? else { return Ok(()) };
    let (_, body) = split_body(frame, entry.is_flexible(head.version))?;
    entry.check(head.version, &body)?;
    (entry.decode)(body, head.version)
}
