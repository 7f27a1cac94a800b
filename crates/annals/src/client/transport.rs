//! One request and its answer over HTTP/1.1, on connections that are kept.
//!
//! What fails is told apart by one question: may the server have seen the request? Only a connection that was never made says
//! no for certain.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Uri};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::ClientError;

/// Connections to the server that are kept although nothing is under way on them, and for how long.
const IDLE_CONNECTIONS_MAX: usize = 64;
const IDLE: Duration = Duration::from_secs(60);
/// No answer has more. A page of events has 4 MiB of them, in Base64 at the worst.
const ANSWER_BYTES_MAX: usize = 128 << 20;
const AGENT: &str = concat!("annals/", env!("CARGO_PKG_VERSION"));

/// The way to one server.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    pool: Pool<HttpConnector, Full<Bytes>>,
    /// `http://host:port`, and whatever path the server lies under, without a `/` at the end.
    address: String,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    /// JSON.
    pub(super) body: Option<Bytes>,
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// When the server wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// There is no connection: the server knows nothing of it.
    NotSent(String),
    /// The server may have done it.
    Lost(String),
}

impl Transport {
    pub(super) fn new(address: &str, connect_timeout: Duration) -> Result<Self, ClientError> {
        let address = checked(address)?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        Ok(Self { pool, address })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Asks once.
    pub(super) async fn send(&self, request: &Request, timeout: Duration) -> Result<Answer, Failure> {
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(answered) => answered,
            Err(_) => Err(Failure::Lost(format!("nothing within {} s", timeout.as_secs_f32()))),
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, Failure> {
        let not_sent = |error: hyper::http::Error| Failure::NotSent(error.to_string());
        let target = format!("{}{}", self.address, request.target);
        let mut builder = hyper::Request::builder().method(request.method.clone()).uri(target);
        builder = builder.header(USER_AGENT, AGENT);
        if request.body.is_some() {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(request.body.clone().unwrap_or_default());
        let response = self.pool.request(builder.body(body).map_err(not_sent)?).await;
        let response = response.map_err(|error| {
            let reason = reason(&error);
            if error.is_connect() { Failure::NotSent(reason) } else { Failure::Lost(reason) }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Failure::Lost(reason(error.as_ref())))?.to_bytes();
        let retry_after = head.headers.get(RETRY_AFTER).and_then(seconds);
        Ok(Answer { status: head.status.as_u16(), retry_after, body })
    }
}

/// The address without what it must not have.
fn checked(address: &str) -> Result<String, ClientError> {
    let refused =
        |reason: &str| ClientError::Address { address: address.to_owned(), reason: reason.to_owned() };
    let uri: Uri = address.trim().parse().map_err(|_| refused("it is no URL"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(refused("TLS is not supported yet; put a proxy in between")),
        Some(_) | None => return Err(refused("it must begin with http://")),
    }
    let authority = uri.authority().ok_or_else(|| refused("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(refused("it must not hold a user or a password"));
    }
    if uri.query().is_some() {
        return Err(refused("it must not have a query"));
    }
    Ok(format!("http://{authority}{}", uri.path().trim_end_matches('/')))
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// The innermost cause, which says what happened.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn an_address_is_a_scheme_a_host_and_perhaps_a_path() {
        assert_eq!(checked("http://127.0.0.1:7117").unwrap(), "http://127.0.0.1:7117");
        assert_eq!(checked("http://events.example/annals/").unwrap(), "http://events.example/annals");
        assert_eq!(checked("http://[::1]:7117/").unwrap(), "http://[::1]:7117");
        for wrong in
            ["", "127.0.0.1:7117", "https://a", "kafka://a", "http://a?b", "http://me:secret@a", "http://"]
        {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
    }
}
