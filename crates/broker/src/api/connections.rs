//! Connections of clients and their channels, as operators see them.

use std::net::SocketAddr;
use std::sync::Arc;

use annals_clock::TimestampMs;
use annals_queues::{Headers, Text};

use super::queues::OwnerId;

/// What is known of a connection once it has come in. Nothing of it changes.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Its number: what is exclusive belongs to it.
    pub owner: OwnerId,
    /// The protocol, as people write it.
    pub protocol: &'static str,
    /// The user.
    pub user: String,
    /// The virtual host.
    pub vhost: Text,
    /// The address of the client.
    pub peer: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
    /// When it came in.
    pub connected_ms: TimestampMs,
    /// How it proved who it is.
    pub mechanism: String,
    /// What the client tells about itself.
    pub client_properties: Headers,
    /// The most channels.
    pub channel_max: u16,
    /// The largest frame, in bytes.
    pub frame_bytes_max: u32,
    /// Seconds within which each side says something; 0 for no limit.
    pub heartbeat_s: u16,
}

impl ConnectionInfo {
    /// What it is called, in RabbitMQ's form: from where to where.
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }

    /// What the client wants it to be called.
    pub fn client_name(&self) -> Option<String> {
        Some(self.client_properties.get("connection_name")?.as_text()?.to_string())
    }
}

/// How a connection is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionReport {
    /// Bytes that came from the client.
    pub received_bytes: u64,
    /// Bytes that went to it.
    pub sent_bytes: u64,
    /// Whether its publishing has to wait.
    pub is_blocked: bool,
    /// Its channels, by number.
    pub channels: Vec<ChannelReport>,
}

/// How a channel of a connection is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelReport {
    /// Its number.
    pub number: u16,
    /// Its consumers.
    pub consumers: u32,
    /// Messages that it was given and has not settled.
    pub unacknowledged: u64,
    /// Publishes that it has not been told the end of.
    pub unconfirmed: u64,
    /// Publishes that wait for a commit.
    pub uncommitted: u64,
    /// Settlements that wait for a commit.
    pub uncommitted_settlements: u64,
    /// The most unsettled messages of each consumer to come; 0 for no limit.
    pub prefetch: u32,
    /// The most unsettled messages of all its consumers together; 0 for no limit.
    pub prefetch_in_all: u32,
    /// Whether publishes are confirmed.
    pub confirms: bool,
    /// Whether it works in transactions.
    pub is_transactional: bool,
}

/// A connection, and how it is doing.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What is known of it.
    pub info: Arc<ConnectionInfo>,
    /// `None` if it did not say in time.
    pub report: Option<ConnectionReport>,
}
