//! What an operator can choose about the Kafka port.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// How the Kafka front-end listens and what it puts up with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen. Port 0 takes a free one. Default `127.0.0.1:9092`.
    pub address: SocketAddr,
    /// The address that clients are told to connect to. `None` tells each client the address that it reached.
    /// Needed where a proxy or a container network stands between. Default `None`.
    pub advertised: Option<Address>,
    /// The id of this server as clients see it. Default 1.
    pub node_id: i32,
    /// Connections served at the same time. More are closed at once. Default 4096.
    pub connections_max: usize,
    /// Connections from one address. More are closed. Default 4096.
    pub connections_per_ip_max: usize,
    /// The largest request. Default 100 MiB, as in Apache Kafka.
    pub request_bytes_max: usize,
    /// The most record bytes in one answer to a fetch. More lets catching-up readers go faster, for more memory.
    /// Default 16 MiB.
    pub fetch_bytes_max: usize,
    /// Memory for the requests of one connection that are not answered yet; a single larger request is let through
    /// alone. Default 32 MiB.
    pub memory_per_connection: usize,
    /// Memory for all requests that are not answered yet. Default 128 MiB.
    pub memory_in_all: usize,
    /// Memory for all records that are being sent. While it is used up, answers are smaller, and the rest of an answer
    /// that its client does not read is dropped and read again when it does. Default 64 MiB.
    pub answer_memory_in_all: usize,
    /// Requests of one connection that may wait for their answers. Default 128.
    pub pipeline_max: usize,
    /// How long a connection may be silent. Default 10 min.
    pub idle_timeout: Duration,
    /// How long a request may take to arrive, beside one second for each 256 KiB of it that came. Default 30 s.
    pub receive_timeout: Duration,
    /// How long a client may refuse to take any byte of an answer. Default 60 s.
    pub write_stall_timeout: Duration,
    /// How long requests under way may take to end when the server stops. Default 3 s.
    pub drain_timeout: Duration,
    /// Fetch sessions that are remembered (KIP-227). Default 1000.
    pub fetch_sessions_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)),
            advertised: None,
            node_id: 1,
            connections_max: 4096,
            connections_per_ip_max: 4096,
            request_bytes_max: 100 << 20,
            fetch_bytes_max: 16 << 20,
            memory_per_connection: 32 << 20,
            memory_in_all: 128 << 20,
            answer_memory_in_all: 64 << 20,
            pipeline_max: 128,
            idle_timeout: Duration::from_secs(600),
            receive_timeout: Duration::from_secs(30),
            write_stall_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(3),
            fetch_sessions_max: 1000,
        }
    }
}

/// A host and a port that clients can connect to.
///
/// ```
/// use annals_kafka::Address;
///
/// let address: Address = "events.example.org:9092".parse()?;
/// assert_eq!((address.host.as_str(), address.port), ("events.example.org", 9092));
/// assert!("events.example.org".parse::<Address>().is_err());
/// # Ok::<(), annals_kafka::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address: write HOST:PORT")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| error())?;
        let is_host = !host.is_empty() && !host.contains(['/', ' ']);
        if is_host { Ok(Self { host: host.to_owned(), port }) } else { Err(error()) }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_canonical().to_string(), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
