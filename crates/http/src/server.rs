//! The listener and its connections.
//!
//! Each connection is a task in a set that [`Server::run`] owns: when it returns, or is dropped, none is left. A place
//! is taken before a connection is accepted, so that those beyond the limit wait where they cost nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use annals_clock::Clock;
use annals_listener::Listener;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::interval;

use crate::app::{App, Peer};
use crate::stall::StallGuard;
use crate::{Metrics, Options, Status, routes};

/// Header lines of a request.
const HEADERS_MAX: usize = 64;

/// How often consumers are looked for that do not come back.
const SWEEP: Duration = Duration::from_secs(5);

/// Why the HTTP front-end cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {address}: choose another with --http-addr, or end what uses this one")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// The HTTP front-end, listening.
pub struct Server {
    listener: Listener,
    options: Options,
    metrics: Metrics,
    app: App,
    router: Router,
    places: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Listens. Connections wait in the system's queue until [`Server::run`].
    ///
    /// # Errors
    /// [`BindError`] if the address is in use, not ours or not permitted.
    pub async fn bind(
        options: Options,
        status: Arc<dyn Status>,
        metrics: Metrics,
        clock: Clock,
    ) -> Result<Self, BindError> {
        let address = options.address;
        let listener =
            Listener::bind(address, "HTTP").await.map_err(|source| BindError { address, source })?;
        let (stop, stopping) = watch::channel(false);
        let app = App::new(options.clone(), status, clock, stopping);
        let router = routes::router(&options, app.clone(), metrics.clone());
        let places = Arc::new(Semaphore::new(options.connections_max));
        Ok(Self { listener, options, metrics, app, router, places, stop })
    }

    /// Where it listens, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` ends, then lets requests under way finish for [`Options::drain_timeout`].
    ///
    /// Dropping the future closes the listener and all connections at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut connections = self.listener.connections();
        let mut shutdown = pin!(shutdown);
        let mut ticks = interval(SWEEP);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = ticks.tick() => self.app.sessions().sweep(),
                () = connections.one_ended() => {}
                (stream, peer, place) = self.accept() => {
                    connections.spawn(self.serve(stream, peer, place));
                }
            }
        }
        let Self { listener, options, stop, .. } = self;
        drop(listener);
        stop.send_replace(true);
        connections.drain(options.drain_timeout).await;
    }

    /// Waits for a place and then for a connection. Cancel safe: what is not returned is not taken.
    async fn accept(&self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            // Nobody closes the semaphore.
            return std::future::pending().await;
        };
        let (stream, peer) = self.listener.accept().await;
        (stream, peer, place)
    }

    /// The task of one connection.
    fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + 'static {
        let counted = self.metrics.connection();
        let builder = connection_builder(&self.options);
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            router.call(request)
        });
        let mut stopping = self.stop.subscribe();
        let write_stall_timeout = self.options.write_stall_timeout;
        async move {
            let _held = (place, counted);
            let _ = stream.set_nodelay(true);
            let io = TokioIo::new(StallGuard::new(stream, write_stall_timeout));
            let mut connection = pin!(builder.serve_connection(io, service));
            let stop = async { stopping.wait_for(|stop| *stop).await.map(drop).unwrap_or_default() };
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr()).finish_non_exhaustive()
    }
}

fn connection_builder(options: &Options) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_header_size(options.header_bytes_max)
        .max_headers(HEADERS_MAX)
        .max_buf_size(options.header_bytes_max.max(MIN_BUFFER_BYTES));
    builder
}

/// The smallest buffer that the HTTP library accepts.
const MIN_BUFFER_BYTES: usize = 8 * 1024;
