//! The HTTP API as commands use it: one request, one answer, errors that say what to do.
//!
//! Each request has a connection of its own. What the server says about an error, as a problem document (RFC 9457) or in
//! the form of RabbitMQ's management API, becomes the message of the error.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::reach;
use crate::api::ServerArgs;
use crate::failure::usage;

/// The port that is meant when only a host is given.
const DEFAULT_PORT: u16 = 7117;

/// How long a command waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// The longest answer.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The options that every command with the HTTP API has.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct HttpArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Who asks, where the server wants to know [default: guest:guest]
    #[arg(long, value_name = "NAME:PASSWORD", env = "ANNALS_USER", hide_env_values = true, global = true)]
    user: Option<String>,
}

/// A server that is asked over HTTP.
#[derive(Debug)]
pub(crate) struct HttpClient {
    address: String,
    authorization: String,
    runtime: Runtime,
}

/// What the server answered, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    body: Bytes,
}

/// The server refused a request.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    /// What it says about it.
    pub(crate) reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            StatusCode::UNAUTHORIZED => {
                write!(f, "{}; name a user with --user NAME:PASSWORD", self.reason)
            }
            _ => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for Refused {}

/// A JSON body.
fn json_body(value: &Value) -> (&'static str, Bytes) {
    ("application/json", value.to_string().into())
}

impl HttpClient {
    /// Reads the options. Nothing is connected before the first request.
    ///
    /// # Errors
    /// If the options are not of the form that is asked for.
    pub(crate) fn open(args: &HttpArgs) -> Result<Self> {
        let user = args.user.as_deref().unwrap_or("guest:guest");
        if !user.contains(':') {
            return Err(usage("--user: write NAME:PASSWORD"));
        }
        Self::at(with_port(args.server.address())?, user)
    }

    fn at(address: String, user: &str) -> Result<Self> {
        let authorization = format!("Basic {}", BASE64_STANDARD.encode(user));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { address, authorization, runtime })
    }

    /// Asks, and gives whatever is answered. `body` comes with its media type.
    ///
    /// # Errors
    /// If there is no answer.
    fn send(&self, method: Method, path: &str, body: Option<(&'static str, Bytes)>) -> Result<Answer> {
        let server = &self.address;
        let asked =
            self.runtime.block_on(async { timeout(ANSWER_TIMEOUT, self.ask(method, path, body)).await });
        asked.map_err(|_| anyhow!("no answer from {server} in time"))?
    }

    /// Asks for JSON.
    ///
    /// # Errors
    /// [`Refused`] if the server says so; if there is no answer, or one of another form.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(Method::GET, path, None)?.accept()?.json()
    }

    /// Asks with a JSON body, and gives the answer unless the server refuses.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub(crate) fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.send(method, path, body.map(json_body))?.accept()
    }

    async fn ask(&self, method: Method, path: &str, body: Option<(&'static str, Bytes)>) -> Result<Answer> {
        let stream = reach::connect(&self.address).map_err(|error| self.unreachable(&error))?;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream)?;
        let lost = || format!("the connection to {} was lost", self.address);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(lost)?;
        let answer = async {
            let request = self.request(method, path, body)?;
            let response = sender.send_request(request).await.with_context(lost)?;
            let (parts, body) = response.into_parts();
            let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = collected.map_err(|error| anyhow!(error)).with_context(lost)?.to_bytes();
            Ok(Answer { status: parts.status, body })
        };
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            // What it has to say has arrived: the answer's end is all that is missing.
            _ = &mut connection => answer.await,
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address)
            .header(CONNECTION, "close")
            .header(ACCEPT, "application/json, */*;q=0.5")
            .header(AUTHORIZATION, &self.authorization);
        if let Some((media_type, _)) = &body {
            request = request.header(CONTENT_TYPE, *media_type);
        }
        let body = body.map(|(_, body)| body).unwrap_or_default();
        request.body(Full::new(body)).with_context(|| format!("cannot ask for {path}"))
    }

    fn unreachable(&self, error: &std::io::Error) -> anyhow::Error {
        anyhow!(
            "cannot reach a server at {}: {}; start one with \"annals serve\" or name another with --server HOST:PORT",
            self.address,
            reach::cause(error)
        )
    }
}

impl Answer {
    /// The answer, unless it is a refusal.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn accept(self) -> Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        let reason = reason(&self.body).unwrap_or_else(|| format!("the server answered {}", self.status));
        Err(Refused { status: self.status, reason }.into())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none, or not of the form that is asked for.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).context("the server's answer is not understood")
    }
}

/// Whether the server refused with this status.
pub(crate) fn is_refused_with(error: &anyhow::Error, status: StatusCode) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == status)
}

/// What an error's body says.
fn reason(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = match (&body["detail"], &body["reason"]) {
        (Value::String(detail), _) => detail.clone(),
        (_, Value::String(reason)) => reason.clone(),
        (_, Value::Null) => body["error"].as_str()?.to_owned(),
        (_, reason) => reason.to_string(),
    };
    Some(text)
}

/// `HOST:PORT` of what was given, which may be a URL.
fn with_port(given: &str) -> Result<String> {
    if given.starts_with("https://") {
        bail!(usage("--server: the server does not speak TLS; write http://HOST:PORT"));
    }
    let host = given.strip_prefix("http://").unwrap_or(given).trim_end_matches('/');
    let after_host = host.rsplit(']').next().unwrap_or(host);
    match after_host.contains(':') {
        true => Ok(host.to_owned()),
        false => Ok(format!("{host}:{DEFAULT_PORT}")),
    }
}

/// A name as one segment of a path: everything that could mean something else is percent-encoded.
pub(crate) fn segment(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_a_port() {
        for (given, expected) in [
            ("10.0.0.1", "10.0.0.1:7117"),
            ("localhost:1", "localhost:1"),
            ("http://annals.internal/", "annals.internal:7117"),
            ("http://[::1]:8/", "[::1]:8"),
            ("[::1]", "[::1]:7117"),
        ] {
            assert_eq!(with_port(given).unwrap(), expected);
        }
        assert!(with_port("https://localhost").is_err());
    }

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(segment("/"), "%2F");
        assert_eq!(segment("a b/ü?#%"), "a%20b%2F%C3%BC%3F%23%25");
        assert_eq!(segment("orders.new-1_2~"), "orders.new-1_2~");
    }

    #[test]
    fn what_the_server_says_is_found() {
        let said = |body: &str| reason(body.as_bytes());
        assert_eq!(said(r#"{"title":"Not Found","detail":"no store"}"#).as_deref(), Some("no store"));
        assert_eq!(said(r#"{"error":"bad_request","reason":"in use"}"#).as_deref(), Some("in use"));
        assert_eq!(
            said(r#"{"error":"bad_request","reason":["no_such_vhost","/zz"]}"#).as_deref(),
            Some("[\"no_such_vhost\",\"/zz\"]")
        );
        assert_eq!(said("<html>"), None);
    }

    #[test]
    fn a_closed_port_is_named_with_what_to_do() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let client = HttpClient::at(format!("127.0.0.1:{port}"), "guest:guest").unwrap();
        let error = client.get::<Value>("/").unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{port}: connection refused")), "{error}");
    }
}
