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
    /// Connections served at the same time. More wait in the system's queue until one ends. Default 1,024.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request, and how long a connection may idle between two.
    /// Longer is kinder to slow networks, and lets silent clients hold their place longer. Default 60 s:
    /// clients keep connections for their next request, and a request that meets a closing one may have to be sent again.
    pub header_timeout: Duration,
    /// Bytes of a request's head. Default 16 KiB.
    pub header_bytes_max: usize,
    /// Bytes of a request's body. Default 24 MiB: the largest append, 16 MiB, with its data in Base64.
    pub body_bytes_max: usize,
    /// Bytes of all bodies together that are larger than 16 KiB, of requests and of answers each. Who comes when there is no
    /// room waits. Default 128 MiB.
    pub bodies_bytes_max: usize,
    /// Subscribers at the same time, each of which is given up to about 1 MiB of events at once. Default 256.
    pub subscribers_max: usize,
    /// After how long a subscriber that is given nothing is told that the connection is fine. Default 15 s.
    pub keep_alive: Duration,
    /// How long a request may take from its head to its answer; those that ask to wait have that time on top,
    /// and what reads or writes all of a store has a day. Default 30 s.
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
            connections_max: 1024,
            header_timeout: Duration::from_secs(60),
            header_bytes_max: 16 * 1024,
            body_bytes_max: 24 << 20,
            bodies_bytes_max: 128 << 20,
            subscribers_max: 256,
            keep_alive: Duration::from_secs(15),
            request_timeout: Duration::from_secs(30),
            write_stall_timeout: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(2),
        }
    }
}
