//! Accepting connections, for every protocol in the same way.
//!
//! Problem: each front-end listens, gives each connection a task of its own, and at the end lets those under way finish for a
//! while. Solution: a [`Listener`] accepts, and [`Connections`] owns the tasks, so that none is left when it is dropped. What a
//! connection does, and whether it may come in, is the front-end's business.
//!
//! ```
//! use std::time::Duration;
//! use annals_listener::Listener;
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let listener = Listener::bind("127.0.0.1:0".parse()?, "echo").await?;
//! let address = listener.local_addr();
//! let shutdown = tokio::time::sleep(Duration::from_millis(10));
//! listener.serve(|stream, peer, stopping| Some(async move { drop((stream, peer, stopping)) }), Duration::from_secs(1), shutdown).await;
//! assert_ne!(address.port(), 0);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

/// How long to wait when the system has no more room for connections, for some to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Of so many failures in a row one is told: every ten seconds.
const FAILURES_A_LINE: u32 = 100;

/// Bytes that the system takes for a client beyond what it can send to it, unless more is asked for ([`limit_unsent`]).
pub const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// Where clients of one protocol come in.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    local_addr: SocketAddr,
    /// For the log.
    protocol: &'static str,
    /// How often in a row no connection could be accepted.
    failures: AtomicU32,
}

impl Listener {
    /// Listens. Connections wait in the system's queue until they are accepted. `protocol` names them in the log.
    ///
    /// # Errors
    /// As the operating system gives them: the address is in use, not ours or not permitted.
    pub async fn bind(address: SocketAddr, protocol: &'static str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr, protocol, failures: AtomicU32::new(0) })
    }

    /// Where it listens, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The connections of this listener: none yet.
    pub fn connections(&self) -> Connections {
        Connections { tasks: JoinSet::new(), protocol: self.protocol }
    }

    /// The next connection. Waits where the system has no room for one. Cancel safe.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    self.failures.store(0, Ordering::Relaxed);
                    return accepted;
                }
                Err(error) => {
                    let failures = self.failures.fetch_add(1, Ordering::Relaxed);
                    if failures.is_multiple_of(FAILURES_A_LINE) {
                        tracing::warn!(%error, failures, protocol = self.protocol, "cannot accept a connection");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves until `shutdown` ends. Then every connection is told so (its receiver turns `true`), and has `drain_timeout`
    /// to end.
    ///
    /// `begin` makes the task of a connection, or refuses it. Dropping the future closes the listener and all connections
    /// at once.
    pub async fn serve<C>(
        self,
        mut begin: impl FnMut(TcpStream, SocketAddr, watch::Receiver<bool>) -> Option<C>,
        drain_timeout: Duration,
        shutdown: impl Future<Output = ()>,
    ) where
        C: Future<Output = ()> + Send + 'static,
    {
        let mut connections = self.connections();
        let (stop, stopping) = watch::channel(false);
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = connections.one_ended() => {}
                (stream, peer) = self.accept() => {
                    if let Some(connection) = begin(stream, peer, stopping.clone()) {
                        connections.spawn(connection);
                    }
                }
            }
        }
        drop(self.listener);
        stop.send_replace(true);
        connections.drain(drain_timeout).await;
    }
}

/// The tasks of connections. Dropping it ends them at once.
#[derive(Debug)]
pub struct Connections {
    tasks: JoinSet<()>,
    protocol: &'static str,
}

impl Connections {
    /// Adds a connection.
    pub fn spawn(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(connection);
    }

    /// Waits until one of them has ended; while there is none, for ever. Cancel safe.
    pub async fn one_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => self.report(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits for all of them to end, and cuts off those that do not in time.
    pub async fn drain(mut self, within: Duration) {
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                self.report(ended);
            }
        };
        if timeout(within, all).await.is_err() {
            let (connections, protocol) = (self.tasks.len(), self.protocol);
            tracing::info!(connections, protocol, "cutting off connections that do not finish");
            self.tasks.shutdown().await;
        }
    }

    fn report(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended {
            tracing::error!(%error, protocol = self.protocol, "a connection failed");
        }
    }
}

/// For answers that are small and must not wait for more to send, to clients that may not read them: the system sends at once,
/// and keeps little for a client.
///
/// What the system keeps is memory too, megabytes for each; thousands who do not read would use up what all connections of
/// the machine share. What is on its way to a client that reads is not limited by this.
///
/// # Errors
/// As the operating system gives them, mostly since the client has gone.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    limit_unsent(stream, UNSENT_BYTES_MAX)
}

/// Has the system take so many bytes for a client beyond what it can send to it, and no more. With little, whoever sends much is
/// woken often; what is given already stays.
///
/// # Errors
/// As the operating system gives them, mostly since the client has gone.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub fn limit_unsent(stream: &TcpStream, bytes_max: u32) -> io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes_max)
}

/// Other systems have no such limit.
///
/// # Errors
/// None.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn limit_unsent(_: &TcpStream, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::sync::oneshot;

    use super::*;

    /// Long enough to fail for whoever waits for it.
    const LONG: Duration = Duration::from_secs(60);

    async fn listener() -> (Listener, SocketAddr) {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), "test").await.unwrap();
        let address = listener.local_addr();
        (listener, address)
    }

    async fn is_closed(stream: &mut TcpStream) -> bool {
        matches!(timeout(LONG, stream.read(&mut [0])).await.unwrap(), Ok(0) | Err(_))
    }

    #[tokio::test]
    async fn connections_are_told_of_the_end_and_may_finish() {
        let (listener, address) = listener().await;
        let (end, ended) = oneshot::channel::<()>();
        let begin = |stream: TcpStream, _, mut stopping: watch::Receiver<bool>| {
            Some(async move {
                prepare(&stream).unwrap();
                stopping.wait_for(|stop| *stop).await.unwrap();
            })
        };
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert!(timeout(Duration::from_millis(30), stream.read(&mut [0])).await.is_err(), "it goes on");
            end.send(()).unwrap();
            assert!(is_closed(&mut stream).await);
            assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
        };
        let serving = listener.serve(begin, LONG, async { drop(ended.await) });
        timeout(LONG, async { tokio::join!(serving, client) }).await.unwrap();
    }

    #[tokio::test]
    async fn who_does_not_finish_is_cut_off_and_who_is_refused_is_closed() {
        let (listener, address) = listener().await;
        let (end, ended) = oneshot::channel::<()>();
        let mut places = 1;
        let begin = move |stream: TcpStream, _, _| {
            places -= 1;
            let stays = async move {
                std::future::pending::<()>().await;
                drop(stream);
            };
            (places >= 0).then_some(stays)
        };
        let client = async {
            let mut admitted = TcpStream::connect(address).await.unwrap();
            let mut refused = TcpStream::connect(address).await.unwrap();
            assert!(is_closed(&mut refused).await);
            end.send(()).unwrap();
            assert!(is_closed(&mut admitted).await);
        };
        let serving = listener.serve(begin, Duration::from_millis(20), async { drop(ended.await) });
        timeout(LONG, async { tokio::join!(serving, client) }).await.unwrap();
    }

    #[tokio::test]
    async fn an_address_in_use_is_an_error() {
        let (_listener, address) = listener().await;
        let error = Listener::bind(address, "test").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
