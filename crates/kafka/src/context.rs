//! What an API's handler has at hand: the broker, who is asking, and what this server is called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use annals_broker::Broker;
use annals_broker::api::{Caller, Principal};
use annals_clock::Clock;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;

use crate::memory::Memory;
use crate::sessions::Sessions;
use crate::{Advertised, Metrics, Options};

/// The same for all connections of a listener.
pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) clock: Clock,
    pub(crate) sessions: Sessions,
    pub(crate) advertised: Option<Advertised>,
    pub(crate) node_id: i32,
    pub(crate) auto_create_topics: bool,
    pub(crate) fetch_bytes_max: usize,
    pub(crate) fetch_memory_bytes_max: usize,
    /// Bytes of fetch responses that have not been written yet.
    pub(crate) fetch_memory_bytes: Arc<AtomicUsize>,
    pub(crate) memory: Memory,
    pub(crate) metrics: Metrics,
}

impl Shared {
    pub(crate) fn new(broker: Broker, clock: Clock, options: &Options, memory: Memory, metrics: Metrics) -> Self {
        Self {
            broker,
            clock,
            sessions: Sessions::new(options.fetch_sessions_max),
            advertised: options.advertised.clone(),
            node_id: options.node_id,
            auto_create_topics: options.auto_create_topics,
            fetch_bytes_max: options.fetch_bytes_max,
            fetch_memory_bytes_max: options.fetch_memory_bytes_max,
            fetch_memory_bytes: Arc::default(),
            memory,
            metrics,
        }
    }
}

/// One connection.
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    /// Who is connected; the client id is that of the request at hand.
    pub(crate) caller: Caller,
    /// Whether the APIs that need a proven identity are open.
    pub(crate) is_authenticated: bool,
    /// This server's one node, as this client is to reach it.
    pub(crate) node: Node,
}

/// The one node of the cluster that clients see.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: BrokerId,
    pub(crate) host: StrBytes,
    pub(crate) port: i32,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>, peer: SocketAddr, local: SocketAddr) -> Self {
        let Advertised { host, port } = shared.advertised.clone().unwrap_or_else(|| local.into());
        let node = Node { id: shared.node_id.into(), host: host.into(), port: port.into() };
        let caller = Caller { principal: Principal::anonymous(), client_id: None, peer };
        Self { shared, caller, is_authenticated: true, node }
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.shared.broker
    }
}
