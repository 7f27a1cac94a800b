//! The front-end: who may connect, and what a connection gets.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use annals_broker::api::{Caller, Principal};
use annals_broker::{Broker, ProtocolMetrics};
use annals_clock::Clock;
use annals_listener::Listener;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

use crate::Options;
use crate::apis::Context;
use crate::apis::fetch::{Rotation, Sessions};
use crate::close::Close;
use crate::connection::{self, LONG_CLIENTS_MAX, Limits, serve};
use crate::dispatch::Dispatcher;
use crate::frame::FrameLimits;
use crate::memory::{ConnectionMemory, Memory};

/// Why the Kafka front-end cannot listen.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for Kafka clients on {address}: choose another with --kafka-addr, or end what uses this one"
)]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// The Kafka front-end, listening.
pub struct Server {
    listener: Listener,
    shared: Shared,
}

/// What all connections have in common.
struct Shared {
    options: Arc<Options>,
    peers: Arc<Peers>,
    broker: Broker,
    clock: Clock,
    sessions: Arc<Sessions>,
    memory: Memory,
    answer_memory: Memory,
    /// One for each connection of whose long answers the system may take more.
    long: Arc<Semaphore>,
    metrics: ProtocolMetrics,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr()).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens. Connections wait in the system's queue until [`Server::run`].
    ///
    /// # Errors
    /// [`BindError`] if the address is in use, not ours or not permitted.
    pub async fn bind(options: Options, broker: Broker, clock: Clock) -> Result<Self, BindError> {
        let address = options.address;
        let listener =
            Listener::bind(address, "Kafka").await.map_err(|source| BindError { address, source })?;
        Ok(Self { listener, shared: Shared::new(options, broker, clock) })
    }

    /// Where it listens, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` ends. Then it reads no further requests, answers those that wait for something to happen
    /// (records to come, other members to join) as if their time were up, and lets the others finish for
    /// [`Options::drain_timeout`].
    ///
    /// Dropping the future closes the listener and all connections at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, shared } = self;
        let begin = |stream, peer, stopping| {
            let place = shared.admit(peer)?;
            Some(shared.connection(stream, peer, place, stopping))
        };
        listener.serve(begin, shared.options.drain_timeout, shutdown).await;
    }
}

impl Shared {
    fn admit(&self, peer: SocketAddr) -> Option<Place> {
        let place = self.peers.enter(peer.ip());
        if place.is_none() {
            self.metrics.connection_refused("too_many");
            tracing::warn!(%peer, "refused a Kafka connection: too many are open");
        }
        place
    }

    /// The task of one connection.
    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        stopping: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let metrics = self.metrics.clone();
        let per_connection = self.options.memory_per_connection;
        let memory = ConnectionMemory::new(per_connection, &self.memory, metrics.clone());
        let context = prepare(&stream).map(|local| self.context(peer, local, stopping.clone()));
        let (limits, long) = (limits(&self.options), Arc::clone(&self.long));
        async move {
            let _counted = (place, metrics.connection_opened());
            let why = match context {
                Ok(context) => {
                    let turns = Arc::clone(&context.turns);
                    let shared = connection::Shared { turns, stopping, long };
                    serve(stream.into_split(), Dispatcher::new(context), memory, limits, shared).await
                }
                Err(error) => Close::Io(error),
            };
            if let Some(kind) = why.kind() {
                metrics.error(kind);
            }
            log_end(peer, &why);
        }
    }

    fn new(options: Options, broker: Broker, clock: Clock) -> Self {
        Self {
            sessions: Arc::new(Sessions::new(options.fetch_sessions_max, clock.clone())),
            memory: Memory::new(options.memory_in_all),
            long: Arc::new(Semaphore::new(LONG_CLIENTS_MAX)),
            answer_memory: Memory::new(options.answer_memory_in_all),
            metrics: broker.metrics().protocol("kafka"),
            peers: Arc::new(Peers::new(options.connections_max, options.connections_per_ip_max)),
            options: Arc::new(options),
            broker,
            clock,
        }
    }

    fn context(&self, peer: SocketAddr, local: SocketAddr, stopping: watch::Receiver<bool>) -> Context {
        Context {
            broker: self.broker.clone(),
            clock: self.clock.clone(),
            caller: Caller { principal: Principal::anonymous(), client_id: None, peer },
            advertised: self.options.advertised.clone().unwrap_or_else(|| local.into()),
            options: Arc::clone(&self.options),
            sessions: Arc::clone(&self.sessions),
            rotation: Rotation::default(),
            answer_memory: self.answer_memory.clone(),
            turns: Arc::new(Semaphore::new(turns(&self.options))),
            metrics: self.metrics.clone(),
            stopping,
        }
    }
}

/// How many requests of a connection may wait for their answers to be written.
pub(crate) fn turns(options: &Options) -> usize {
    options.pipeline_max.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize))
}

fn limits(options: &Options) -> Limits {
    let frame = FrameLimits {
        size_bytes_max: options.request_bytes_max,
        idle_timeout: options.idle_timeout,
        receive_timeout: options.receive_timeout,
    };
    Limits {
        frame,
        write_stall_timeout: options.write_stall_timeout,
        drain_timeout: options.drain_timeout,
        pipeline_max: options.pipeline_max,
    }
}

/// Returns the address that the client reached.
fn prepare(stream: &TcpStream) -> io::Result<SocketAddr> {
    annals_listener::prepare(stream)?;
    stream.local_addr()
}

fn log_end(peer: SocketAddr, why: &Close) {
    let source = std::error::Error::source(why).map(tracing::field::display);
    if why.is_notable() {
        tracing::warn!(%peer, source, "Kafka connection closed: {why}");
    } else {
        tracing::debug!(%peer, source, "Kafka connection closed: {why}");
    }
}

/// How many connections there are, in all and from each address.
struct Peers {
    open: Mutex<HashMap<IpAddr, usize>>,
    max: usize,
    per_ip_max: usize,
}

impl Peers {
    fn new(max: usize, per_ip_max: usize) -> Self {
        Self { open: Mutex::new(HashMap::new()), max, per_ip_max }
    }

    /// Counts a connection, if it may come in.
    fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, from_ip) = (open.values().sum::<usize>(), open.get(&ip).copied().unwrap_or(0));
        if all >= self.max || from_ip >= self.per_ip_max {
            return None;
        }
        open.insert(ip, from_ip + 1);
        Some(Place { peers: Arc::clone(self), ip })
    }
}

/// A connection's place. Dropping it makes room for another.
struct Place {
    peers: Arc<Peers>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.ip)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Peers;

    #[test]
    fn places_are_limited_per_address_and_in_all_and_come_back() {
        let peers = Arc::new(Peers::new(3, 2));
        let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = peers.enter(one).expect("room");
        let second = peers.enter(one).expect("room");
        assert!(peers.enter(one).is_none(), "two from one address");
        let _third = peers.enter(other).expect("room");
        assert!(peers.enter(other).is_none(), "three in all");
        drop((first, second));
        assert!(peers.enter(other).is_some());
    }
}
