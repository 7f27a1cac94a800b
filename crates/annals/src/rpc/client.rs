//! The handle from which requests are sent and responders are started.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::body::Body;
use super::failure::Failure;
use super::request::Request;
use super::responder::{Call, Respond};
use super::session::{Counters, Session};
use super::stats::ClientStats;
use super::transport::{Transport, TransportError};
use crate::Clock;

/// Requests of one client under way at a time. More wait for their turn, within their deadlines.
const REQUESTS_MAX: usize = 4096;

/// Sends requests and starts responders; cheap to clone. See the [module](super) for an example.
///
/// Clones share one place for replies, made with the first request and made again after a connection was lost.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn Transport>,
    clock: Clock,
    room: Semaphore,
    session: Mutex<Option<Opening>>,
    /// What opens sessions.
    tasks: Mutex<JoinSet<()>>,
    counters: Arc<Counters>,
}

/// A session that is being opened, is open, or could not be opened.
type Opening = watch::Receiver<Option<Result<Arc<Session>, TransportError>>>;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client over a transport of your own.
    pub fn over(transport: Arc<dyn Transport>, clock: Clock) -> Self {
        let (room, session, tasks) = (Semaphore::new(REQUESTS_MAX), Mutex::default(), Mutex::default());
        let inner = Inner { transport, clock, room, session, tasks, counters: Arc::default() };
        Self { inner: Arc::new(inner) }
    }

    /// A client of a server that speaks AMQP 0-9-1: Annals, or RabbitMQ. Connects now, and again when the connection is lost.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = annals::rpc::Client::connect("amqp://guest:guest@127.0.0.1:5672/%2f").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`TransportError`] if the address is none, nobody answers there, or the server does not let the user in.
    #[cfg(feature = "amqp")]
    pub async fn connect(uri: &str) -> Result<Self, TransportError> {
        let transport = super::amqp::Amqp::connect(uri).await?;
        Ok(Self::over(Arc::new(transport), Clock::system()))
    }

    /// Asks whoever responds to `subject` and waits for the reply, up to `deadline` from now. Nothing happens before it is
    /// awaited; the deadline counts from then.
    ///
    /// Dropping the future gives up: a request that is out stays out until its deadline, and its reply counts as late.
    pub fn request(&self, subject: impl Into<String>, body: impl Into<Body>, deadline: Duration) -> Request {
        Request::new(self.clone(), subject.into(), body.into(), deadline)
    }

    /// Answers the requests of `subject` with `handler`, together with all other responders of that subject. Await it to start.
    ///
    /// The handler's value is the reply; what implements `Into<Body>` will do. A panic of it is told to the requester as a
    /// [`Failure`] of the kind [`Bug`](crate::ErrorKind::Bug).
    pub fn respond<H, F, B>(&self, subject: impl Into<String>, handler: H) -> Respond
    where
        H: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Result<B, Failure>> + Send + 'static,
        B: Into<Body> + 'static,
    {
        let handler = move |call: Call| -> Pin<Box<dyn Future<Output = Result<Body, Failure>> + Send>> {
            let answer = handler(call);
            Box::pin(async move { Ok(answer.await?.into()) })
        };
        Respond::new(self.clone(), subject.into(), Arc::new(handler))
    }

    /// What happened to the requests of this client and its clones.
    pub fn stats(&self) -> ClientStats {
        let counters = &self.inner.counters;
        let session = self.inner.lock_session();
        let session = session.as_ref().and_then(|opening| opening.borrow().clone()?.ok());
        ClientStats {
            waiting: session.map_or(0, |session| session.waiting()),
            sent: counters.sent.get(),
            replied: counters.replied.get(),
            failed: counters.failed.get(),
            timed_out: counters.timed_out.get(),
            late_replies: counters.late_replies.get(),
        }
    }

    pub(super) fn transport(&self) -> &Arc<dyn Transport> {
        &self.inner.transport
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    pub(super) fn room(&self) -> &Semaphore {
        &self.inner.room
    }

    /// The session that is open, or a new one. Opening goes on for others when the caller gives up.
    pub(super) async fn session(&self) -> Result<Arc<Session>, TransportError> {
        let mut opening = self.inner.opening();
        let opened = opening.wait_for(Option::is_some).await;
        let lost = || TransportError::new("opening a connection was given up");
        opened.map_err(|_| lost())?.clone().unwrap_or_else(|| Err(lost()))
    }
}

impl Inner {
    fn lock_session(&self) -> std::sync::MutexGuard<'_, Option<Opening>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opening(&self) -> Opening {
        let mut session = self.lock_session();
        match session.as_ref().filter(|opening| is_of_use(opening)) {
            Some(opening) => opening.clone(),
            None => session.insert(self.open()).clone(),
        }
    }

    fn open(&self) -> Opening {
        let (sender, opening) = watch::channel(None);
        let (transport, counters) = (Arc::clone(&self.transport), Arc::clone(&self.counters));
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let session = Session::open(&*transport, counters).await;
            sender.send_replace(Some(session.map(Arc::new)));
        });
        opening
    }
}

/// Whether a session is open, or may be soon.
fn is_of_use(opening: &Opening) -> bool {
    match &*opening.borrow() {
        Some(Ok(session)) => session.is_up(),
        Some(Err(_)) => false,
        None => opening.has_changed().is_ok(),
    }
}
