//! The front-end: who may connect, and what a connection gets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use annals_broker::api::queues::topology::VhostError;
use annals_broker::api::{Caller, Principal};
use annals_broker::{Broker, ProtocolMetrics};
use annals_clock::Clock;
use annals_listener::{Listener, prepare};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::Options;
use crate::backend::broker::BrokerBackend;
use crate::close::Close;
use crate::connection::{Client, Ends, Shared, serve};
use crate::rights::Rights;

/// Why the AMQP front-end cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is not to be had.
    #[error(
        "cannot listen for AMQP clients on {address}: choose another with --amqp-addr, or end what uses this one"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A virtual host could not be made.
    #[error("cannot make a virtual host")]
    Vhost(#[from] VhostError),
}

/// The AMQP front-end, listening.
pub struct Server {
    listener: Listener,
    door: Door,
}

/// Where connections come in.
struct Door {
    places: Arc<Semaphore>,
    metrics: ProtocolMetrics,
    shared: Arc<Shared>,
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
        let failed = |source| BindError::Listen { address, source };
        make_vhosts(&broker).await?;
        let listener = Listener::bind(address, "AMQP").await.map_err(failed)?;
        let places = Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS)));
        let metrics = broker.metrics().protocol("amqp");
        let shared = Arc::new(Shared::new(options, broker, clock));
        Ok(Self { listener, door: Door { places, metrics, shared } })
    }

    /// Where it listens, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` ends. Then it tells every client so (`CONNECTION_FORCED`), confirms what becomes safe, and
    /// waits for them to go for [`Options::drain_timeout`].
    ///
    /// Dropping the future closes the listener and all connections at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, door } = self;
        let begin = |stream, peer, stopping| {
            let place = door.admit(peer)?;
            Some(door.connection(stream, peer, place, stopping))
        };
        listener.serve(begin, door.shared.options.drain_timeout, shutdown).await;
    }
}

impl Door {
    fn admit(&self, peer: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        if place.is_none() {
            self.metrics.connection_refused("too_many");
            tracing::warn!(%peer, "refused an AMQP connection: too many are open");
        }
        place
    }

    /// The task of one connection.
    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
        stopping: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (metrics, shared) = (self.metrics.clone(), Arc::clone(&self.shared));
        async move {
            let _counted = (place, metrics.connection_opened());
            let why = match prepare(&stream) {
                Ok(()) => {
                    let (broker, clock) = (shared.broker.clone(), shared.clock.clone());
                    let streams = stream.into_split();
                    let begin = |rights: &Rights, client: &Client| {
                        BrokerBackend::new(broker, clock, caller(rights, client, peer), &rights.vhost)
                    };
                    let local = streams.0.local_addr().unwrap_or(shared.options.address);
                    serve(streams, Ends { peer, local }, shared, stopping, begin).await
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

/// Has all virtual hosts that users may enter be there.
async fn make_vhosts(broker: &Broker) -> Result<(), VhostError> {
    for vhost in &broker.access().vhosts {
        broker.create_vhost(&Caller::internal(), vhost.as_str().into()).await?;
    }
    Ok(())
}

fn caller(rights: &Rights, client: &Client, peer: SocketAddr) -> Caller {
    Caller { principal: Principal::user(&rights.user), client_id: client.name().map(Into::into), peer }
}

fn log_end(peer: SocketAddr, why: &Close) {
    let source = std::error::Error::source(why).map(tracing::field::display);
    if why.is_notable() {
        tracing::warn!(%peer, source, "AMQP connection closed: {why}");
    } else {
        tracing::debug!(%peer, source, "AMQP connection closed: {why}");
    }
}
