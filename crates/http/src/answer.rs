//! Answers with bodies of JSON.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

const JSON: &str = "application/json";

/// JSON that was written by hand.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    typed(status, JSON, body)
}

/// A body of any media type.
pub(crate) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Adds where to go on. The target is percent-encoded, so it always fits into a header.
pub(crate) fn with_next(mut response: Response, target: Option<&str>) -> Response {
    let link = target.and_then(|target| HeaderValue::from_str(&format!("<{target}>; rel=\"next\"")).ok());
    if let Some(link) = link {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// A body that holds room in memory until it is sent.
pub(crate) struct Held {
    bytes: Option<Bytes>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Held {
    pub(crate) fn new(bytes: Vec<u8>, room: Option<OwnedSemaphorePermit>) -> Self {
        Self { bytes: Some(bytes.into()), _room: room }
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.bytes.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
