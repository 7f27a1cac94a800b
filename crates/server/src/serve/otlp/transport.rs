//! Bytes to the collector: HTTP/1.1 without TLS, a connection for each batch.
//!
//! The library calls from a thread of its own, which may block; a small runtime runs the exchange there, so that it
//! takes nothing from the server's and outlives it until the last spans are sent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// How long one batch may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// No collector says more than this.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The way to one collector.
#[derive(Debug)]
pub(super) struct Transport {
    runtime: Runtime,
    endpoint: String,
    is_failing: AtomicBool,
}

impl Transport {
    pub(super) fn new(endpoint: &str) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, endpoint: endpoint.to_owned(), is_failing: AtomicBool::new(false) })
    }

    /// Warns when it begins to fail, and not again before it has worked.
    fn failed(&self, why: &dyn std::fmt::Display) {
        let endpoint = &self.endpoint;
        if self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::debug!(%endpoint, "traces are still not taken: {why}");
        } else {
            tracing::warn!(%endpoint, "traces are dropped until the collector takes them: {why}");
        }
    }

    fn worked(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!(endpoint = %self.endpoint, "traces are taken again");
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Transport {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answered = self.runtime.block_on(async { timeout(EXCHANGE_TIMEOUT, exchange(request)).await });
        let answered = answered.unwrap_or_else(|_| Err("it does not answer".into()));
        match &answered {
            Ok(response) if response.status().is_success() => self.worked(),
            Ok(response) => self.failed(&format_args!("it answered {}", response.status())),
            Err(error) => self.failed(error),
        }
        answered
    }
}

/// Sends a request and waits for the whole answer.
async fn exchange(mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let authority = request.uri().authority().cloned().ok_or("its address has no host")?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    let path = request.uri().path_and_query().cloned().ok_or("its address has no path")?;
    *request.uri_mut() = path.into();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async move {
        let response = sender.send_request(request.map(Full::new)).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        // The sender goes, and with it the connection.
        Ok(Response::from_parts(head, body))
    };
    tokio::join!(answer, connection).0
}
