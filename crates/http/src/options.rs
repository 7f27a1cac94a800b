//! What an operator can choose.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How the HTTP front-end listens and what it puts up with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen. Port 0 takes a free one. Default `127.0.0.1:7117`.
    pub address: SocketAddr,
    /// Names under which clients may call, besides `localhost` and any IP address. Default: none.
    ///
    /// A web page in a browser on this machine can make its own name resolve to the loopback address and then read
    /// what is served there (DNS rebinding). Such a request carries the page's name in `Host`, so a name that is not
    /// listed here is refused. Listing a name costs nothing if it is yours, as behind a proxy or in a container network.
    pub allowed_hosts: Vec<String>,
    /// Connections served at the same time. More wait in the system's queue until one ends. Default 256.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request, and how long a connection may idle between two.
    /// Longer is kinder to slow networks, and lets silent clients hold their place longer. Default 15 s.
    pub header_timeout: Duration,
    /// Bytes of a request's head. Default 16 KiB.
    pub header_bytes_max: usize,
    /// Bytes of a request's body. Default 64 KiB.
    pub body_bytes_max: usize,
    /// How long a request may take from its head to its answer. Default 30 s.
    pub request_timeout: Duration,
    /// How long a client may refuse to take any byte of an answer. Default 15 s.
    pub write_stall_timeout: Duration,
    /// How long requests under way may take to end when the server stops. Default 2 s.
    pub drain_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7117)),
            allowed_hosts: Vec::new(),
            connections_max: 256,
            header_timeout: Duration::from_secs(15),
            header_bytes_max: 16 * 1024,
            body_bytes_max: 64 * 1024,
            request_timeout: Duration::from_secs(30),
            write_stall_timeout: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(2),
        }
    }
}
