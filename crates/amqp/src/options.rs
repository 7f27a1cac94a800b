//! What an operator can choose about the AMQP port.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How the AMQP front-end listens and what it puts up with. The defaults are RabbitMQ's, where it has them.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen. Port 0 takes a free one. Default `127.0.0.1:5672`.
    pub address: SocketAddr,
    /// What clients have to agree to.
    pub limits: Limits,
    /// Connections served at the same time. More are closed at once. Default 10,000.
    pub connections_max: usize,
    /// The largest message. Default 16 MiB.
    pub message_bytes_max: usize,
    /// Memory for messages that have begun to come in and are not all there, over all connections. Default 128 MiB.
    pub memory_in_all: usize,
    /// How long a client may take to come in. Default 10 s.
    pub handshake_timeout: Duration,
    /// How long a message that has begun may take to come in without a byte of it. Default 30 s.
    pub receive_timeout: Duration,
    /// How long a client may refuse to take any byte. Default 60 s.
    pub write_stall_timeout: Duration,
    /// How long connections may take to end when the server stops. Default 3 s.
    pub drain_timeout: Duration,
}

/// What the server proposes to each client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest frame. Default 131072.
    pub frame_bytes_max: u32,
    /// Channels of a connection. Default 2047.
    pub channel_max: u16,
    /// Seconds within which each side has to say something; 0 turns it off. Default 60.
    pub heartbeat_s: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self { frame_bytes_max: 131_072, channel_max: 2047, heartbeat_s: 60 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 5672)),
            limits: Limits::default(),
            connections_max: 10_000,
            message_bytes_max: 16 << 20,
            memory_in_all: 128 << 20,
            handshake_timeout: Duration::from_secs(10),
            receive_timeout: Duration::from_secs(30),
            write_stall_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(3),
        }
    }
}
