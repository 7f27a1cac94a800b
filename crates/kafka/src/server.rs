//! The listener and its connections.
//!
//! Each connection is a task in a set that [`Server::run`] owns: when it returns, or is dropped, none is left.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use annals_broker::api::{Caller, Principal};
use annals_broker::{Broker, ProtocolMetrics};
use annals_clock::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use crate::Options;
use crate::apis::Context;
use crate::apis::fetch::Sessions;
use crate::close::Close;
use crate::connection::{Limits, serve};
use crate::dispatch::Dispatcher;
use crate::frame::FrameLimits;
use crate::memory::{ConnectionMemory, Memory};

/// How long to wait when the system has no more room for connections, for some to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that the system takes for a client beyond what it can send to it.
#[cfg(any(target_os = "linux", target_os = "macos"))]
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

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
    listener: TcpListener,
    local_addr: SocketAddr,
    peers: Arc<Peers>,
    shared: Shared,
}

/// What all connections have in common.
struct Shared {
    options: Arc<Options>,
    broker: Broker,
    clock: Clock,
    sessions: Arc<Sessions>,
    memory: Memory,
    answer_memory: Memory,
    metrics: ProtocolMetrics,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens. Connections wait in the system's queue until [`Server::run`].
    ///
    /// # Errors
    /// [`BindError`] if the address is in use, not ours or not permitted.
    pub async fn bind(options: Options, broker: Broker, clock: Clock) -> Result<Self, BindError> {
        let address = options.address;
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let peers = Arc::new(Peers::new(options.connections_max, options.connections_per_ip_max));
        Ok(Self { listener, local_addr, peers, shared: Shared::new(options, broker, clock) })
    }

    /// Where it listens, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` ends. Then it reads no further requests, answers those that wait for something to happen
    /// (records to come, other members to join) as if their time were up, and lets the others finish for
    /// [`Options::drain_timeout`].
    ///
    /// Dropping the future closes the listener and all connections at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let (stop, stopping) = watch::channel(false);
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => report(ended),
                (stream, peer) = self.accept() => {
                    if let Some(place) = self.admit(peer) {
                        connections.spawn(self.connection(stream, peer, place, stopping.clone()));
                    }
                }
            }
        }
        drop(self.listener);
        stop.send_replace(true);
        drain(connections, self.shared.options.drain_timeout).await;
    }

    async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a Kafka connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, peer: SocketAddr) -> Option<Place> {
        let place = self.peers.enter(peer.ip());
        if place.is_none() {
            self.shared.metrics.connection_refused("too_many");
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
        let metrics = self.shared.metrics.clone();
        let per_connection = self.shared.options.memory_per_connection;
        let memory = ConnectionMemory::new(per_connection, &self.shared.memory, metrics.clone());
        let context = prepare(&stream).map(|local| self.shared.context(peer, local, stopping.clone()));
        let limits = limits(&self.shared.options);
        async move {
            let _counted = (place, metrics.connection_opened());
            let why = match context {
                Ok(context) => {
                    let ends = (Arc::clone(&context.turns), stopping);
                    serve(stream.into_split(), Dispatcher::new(context), memory, limits, ends).await
                }
                Err(error) => Close::Io(error),
            };
            if let Some(kind) = why.kind() {
                metrics.error(kind);
            }
            log_end(peer, &why);
        }
    }
}

impl Shared {
    fn new(options: Options, broker: Broker, clock: Clock) -> Self {
        Self {
            sessions: Arc::new(Sessions::new(options.fetch_sessions_max, clock.clone())),
            memory: Memory::new(options.memory_in_all),
            answer_memory: Memory::new(options.answer_memory_in_all),
            metrics: broker.metrics().protocol("kafka"),
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

/// Acknowledgements are small and must not wait for more to send. Returns the address that the client reached.
fn prepare(stream: &TcpStream) -> io::Result<SocketAddr> {
    stream.set_nodelay(true)?;
    limit_unsent(stream)?;
    stream.local_addr()
}

/// What the system keeps for a client is memory too, megabytes for each; thousands who do not read would use up what all
/// connections of the machine share. What is on its way to a client that reads is not limited by this.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn limit_unsent(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)
}

/// Other systems have no such limit.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn limit_unsent(_: &TcpStream) -> io::Result<()> {
    Ok(())
}

fn log_end(peer: SocketAddr, why: &Close) {
    let source = std::error::Error::source(why).map(tracing::field::display);
    if why.is_notable() {
        tracing::warn!(%peer, source, "Kafka connection closed: {why}");
    } else {
        tracing::debug!(%peer, source, "Kafka connection closed: {why}");
    }
}

async fn drain(mut connections: JoinSet<()>, within: Duration) {
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if timeout(within, all).await.is_err() {
        tracing::info!(connections = connections.len(), "cutting off Kafka connections that do not finish");
        connections.shutdown().await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a Kafka connection failed");
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
