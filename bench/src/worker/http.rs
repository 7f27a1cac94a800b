//! Clients of the HTTP API of Annals: HTTP/1.1 over connections that stay open, each with one request under way. Written by
//! hand, so that the client takes as little of the processor as it can.

use annals_clock::Clock;
use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Appended, EVENT_BYTES, Pace, driver};

const STORE: &str = "bench";
/// What an answer may be long, head and body.
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[derive(clap::Args)]
pub(super) struct Options {
    /// Where the server is, as HOST:PORT
    #[arg(long)]
    address: String,
    #[command(flatten)]
    pace: Pace,
    /// Events that every stream has before
    #[arg(long, default_value_t = 0)]
    filled: u64,
}

/// One connection.
struct Connection {
    stream: TcpStream,
    host: String,
    request: Vec<u8>,
    answer: Vec<u8>,
    clock: Clock,
    data: String,
}

impl Connection {
    async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            host: address.to_owned(),
            request: Vec::new(),
            answer: Vec::new(),
            clock: Clock::system(),
            // A JSON string, with its quotes.
            data: "x".repeat(EVENT_BYTES - 2),
        })
    }

    /// Posts JSON. Returns the status.
    async fn post(&mut self, path: &str, body: &str) -> Result<u16> {
        self.request.clear();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body.as_bytes());
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "the server closed the connection");
            if let Some(head) = Head::parse(&self.answer)?
                && self.answer.len() >= head.end + head.body_len
            {
                return Ok(head.status);
            }
            ensure!(
                self.answer.len() < ANSWER_BYTES_MAX,
                "an answer is longer than {ANSWER_BYTES_MAX} bytes"
            );
        }
    }
}

/// What is asked of the head of an answer.
#[derive(PartialEq, Debug)]
struct Head {
    status: u16,
    /// Where the body begins.
    end: usize,
    body_len: usize,
}

impl Head {
    /// `None` while it is not all there.
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&bytes[..end]).context("the head of an answer is not UTF-8")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let status = status.context("an answer does not begin with its status")?;
        Ok(Some(Self { status, end: end + 4, body_len: length.context("an answer has no length")? }))
    }
}

impl driver::Client for Connection {
    async fn append(&mut self, stream: u64, revision: u64) -> Result<()> {
        let expected = revision.checked_sub(1).map_or("no_stream".to_owned(), |seen| seen.to_string());
        let path = format!("/stores/{STORE}/streams/account-{stream}/events?expected={expected}");
        let (id, data) = (self.clock.uuid_v7(), &self.data);
        let body = format!(r#"{{"id":"{id}","type":"MoneyDeposited","data":"{data}"}}"#);
        match self.post(&path, &body).await? {
            201 => Ok(()),
            status => bail!("status {status}: {}", String::from_utf8_lossy(&self.answer)),
        }
    }
}

pub(super) async fn append(options: Options) -> Result<Appended> {
    let mut first = Connection::open(&options.address).await?;
    match first.post("/stores", &format!(r#"{{"name":"{STORE}"}}"#)).await? {
        201 | 409 => {}
        status => bail!("cannot create a store: status {status}"),
    }
    let mut clients = Vec::new();
    for _ in 0..options.pace.in_flight {
        clients.push(Connection::open(&options.address).await?);
    }
    driver::run(clients, options.pace, options.filled).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end_and_not_further() {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        let head = Head::parse(answer).unwrap().unwrap();
        assert_eq!((head.status, head.body_len), (201, 2));
        assert_eq!(&answer[head.end..], b"{}");
        assert_eq!(Head::parse(b"HTTP/1.1 201 Created\r\nconte").unwrap(), None);
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(Head::parse(b"220 smtp\r\n\r\n").is_err());
    }
}
