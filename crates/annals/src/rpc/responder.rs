//! The answering side: takes requests, as many at a time as it may, and sends what a handler makes of them.
//!
//! Order of one request: work, reply, and only then is it finished. So a responder that dies on the way gives it to another
//! one, and the requester may get the same answer twice, of which the second is late.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::IntoFuture;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::body::{Body, JsonError};
use super::client::Client;
use super::context::Context;
use super::error::RespondError;
use super::failure::Failure;
use super::stats::{Counter, ResponderStats};
use super::transport::{Incoming, Message, Serving, TransportError};
use super::{BODY_BYTES_MAX, TEXT_BYTES_MAX, is_subject};
use crate::Clock;

/// Requests that are worked on at a time, unless told otherwise.
const CONCURRENCY: u16 = 16;
/// Between attempts to serve again after an error.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// What the pause grows to.
const PAUSE_MAX: Duration = Duration::from_secs(5);

pub(super) type Handler =
    Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Result<Body, Failure>> + Send>> + Send + Sync>;

/// A request in the hands of a responder.
#[derive(Clone, Debug)]
pub struct Call {
    subject: Arc<str>,
    id: Option<String>,
    body: Body,
    context: Context,
    headers: BTreeMap<String, String>,
    redelivered: bool,
    ends: Option<Duration>,
    clock: Clock,
}

impl Call {
    fn new(subject: &Arc<str>, clock: &Clock, message: Message, redelivered: bool) -> Self {
        let context = Context::read(&message);
        let Message { id, correlation_id, content_type, expires, mut headers, body, .. } = message;
        headers.retain(|name, _| !Context::owns(name));
        Self {
            subject: Arc::clone(subject),
            id: id.or(correlation_id),
            body: Body::of(body, content_type),
            context,
            headers,
            redelivered,
            ends: expires.map(|left| clock.monotonic() + left),
            clock: clock.clone(),
        }
    }

    /// What it was sent to.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its id: the same when it is handed out again, so that work can be done once. Requesters that are not of this
    /// library may leave it out.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Its content.
    pub fn bytes(&self) -> &Bytes {
        self.body.bytes()
    }

    /// What its content is, if the requester says so.
    pub fn content_type(&self) -> Option<&str> {
        self.body.content_type()
    }

    /// Its content as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// Its content as a value.
    ///
    /// # Errors
    /// [`Failure`] with the code `bad-request`, which tells the requester that it is none.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        self.body.parse().map_err(|error: JsonError| Failure::input("bad-request", error.to_string()))
    }

    /// Its other headers.
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.headers
    }

    /// Whether it was handed out before, to a responder that did not finish it. That one may have done the work.
    pub fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// What it belongs to, as the requester said.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What anything belongs to that is done because of it: the same correlation and trace, and this as the cause.
    pub fn caused(&self) -> Context {
        let Context { correlation_id, trace_parent, trace_state, .. } = self.context.clone();
        let correlation_id = correlation_id.or_else(|| self.id.clone());
        Context { correlation_id, causation_id: self.id.clone(), trace_parent, trace_state }
    }

    /// How long the requester waits for the answer from now on, if it said so. Over AMQP this is the most that it can be,
    /// since the time in the queue is not known. Nothing is cut off when it is over; the answer is then late.
    pub fn time_left(&self) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_sub(self.clock.monotonic()))
    }
}

/// A responder to be started; see [`Client::respond`].
#[must_use = "a responder is started by awaiting this"]
pub struct Respond {
    client: Client,
    subject: String,
    handler: Handler,
    concurrency: u16,
}

impl fmt::Debug for Respond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Respond").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Respond {
    pub(super) fn new(client: Client, subject: String, handler: Handler) -> Self {
        Self { client, subject, handler, concurrency: CONCURRENCY }
    }

    /// How many requests it takes at a time, at least 1; 16 unless said otherwise. Others stay in the queue, where other
    /// responders find them.
    pub fn concurrency(mut self, concurrency: u16) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    async fn start(self) -> Result<Responder, RespondError> {
        let Self { client, subject, handler, concurrency } = self;
        if !is_subject(&subject) {
            return Err(RespondError::Subject { subject: subject.chars().take(40).collect() });
        }
        let serving = client.transport().serve(&subject, concurrency).await;
        let serving =
            serving.map_err(|reason| RespondError::Unavailable { subject: subject.clone(), reason })?;
        let state = Arc::<State>::default();
        let work = Arc::new(Work {
            subject: subject.into(),
            clock: client.clock().clone(),
            handler,
            state: Arc::clone(&state),
        });
        let (stop, stopped) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(Server { client, work, concurrency, stopped, handlers: JoinSet::new() }.run(serving));
        Ok(Responder { stop, task, state })
    }
}

impl IntoFuture for Respond {
    type Output = Result<Responder, RespondError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

/// A responder at work. It goes on after lost connections. Dropping it ends it at once: what it works on is given to others.
pub struct Responder {
    stop: watch::Sender<bool>,
    task: JoinSet<()>,
    state: Arc<State>,
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Responder {
    /// Takes no more requests, finishes those that it has, and ends.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.task.join_next().await.is_some() {}
    }

    /// What happened since it was started.
    pub fn stats(&self) -> ResponderStats {
        let state = &self.state;
        ResponderStats {
            working: state.working.load(Ordering::Relaxed),
            replied: state.replied.get(),
            failed: state.failed.get(),
            panicked: state.panicked.get(),
            one_way: state.one_way.get(),
            expired: state.expired.get(),
            redelivered: state.redelivered.get(),
            error: state.lock_error().clone(),
        }
    }
}

/// What a responder counts.
#[derive(Default)]
struct State {
    working: AtomicU64,
    replied: Counter,
    failed: Counter,
    panicked: Counter,
    one_way: Counter,
    expired: Counter,
    redelivered: Counter,
    error: Mutex<Option<String>>,
}

impl State {
    fn lock_error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes requests until it is told to stop.
struct Server {
    client: Client,
    work: Arc<Work>,
    concurrency: u16,
    stopped: watch::Receiver<bool>,
    handlers: JoinSet<()>,
}

impl Server {
    async fn run(mut self, first: Box<dyn Serving>) {
        let mut serving = first;
        loop {
            match self.serve(&mut *serving).await {
                Ok(()) => break,
                Err(error) => self.note(&error),
            }
            // What the broken connection had is handed out again by the server.
            drop(serving);
            match self.serve_again().await {
                Some(again) => serving = again,
                None => return,
            }
        }
        serving.stop().await;
        while self.handlers.join_next().await.is_some() {}
    }

    /// Returns `Ok` when it is told to stop.
    async fn serve(&mut self, serving: &mut dyn Serving) -> Result<(), TransportError> {
        loop {
            let has_room = self.handlers.len() < usize::from(self.concurrency);
            tokio::select! {
                biased;
                _ = self.stopped.wait_for(|stop| *stop) => return Ok(()),
                Some(_) = self.handlers.join_next() => {}
                incoming = serving.next(), if has_room => {
                    let (work, incoming) = (Arc::clone(&self.work), incoming?);
                    self.handlers.spawn(async move { work.answer(incoming).await });
                }
            }
        }
    }

    fn note(&self, error: &TransportError) {
        tracing::warn!(subject = &*self.work.subject, %error, "requests stopped coming; trying again");
        *self.work.state.lock_error() = Some(error.to_string());
    }

    /// Tries until it works, or until it is told to stop.
    async fn serve_again(&mut self) -> Option<Box<dyn Serving>> {
        let mut pause = PAUSE_MIN;
        loop {
            tokio::select! {
                _ = self.stopped.wait_for(|stop| *stop) => return None,
                () = tokio::time::sleep(pause) => {}
            }
            match self.client.transport().serve(&self.work.subject, self.concurrency).await {
                Ok(serving) => {
                    *self.work.state.lock_error() = None;
                    return Some(serving);
                }
                Err(error) => self.note(&error),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// What is done with each request.
struct Work {
    subject: Arc<str>,
    clock: Clock,
    handler: Handler,
    state: Arc<State>,
}

/// Counts who works now.
struct Working<'a>(&'a AtomicU64);

impl<'a> Working<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Work {
    async fn answer(&self, incoming: Incoming) {
        let Incoming { message, redelivered, receipt } = incoming;
        let state = &*self.state;
        let _working = Working::new(&state.working);
        if redelivered {
            state.redelivered.count();
        }
        let reply_to = message.reply_to.clone();
        let correlation_id = message.correlation_id.clone().or_else(|| message.id.clone());
        let mut answer = Message { correlation_id, ..Message::default() };
        let finished = if message.expires == Some(Duration::ZERO) {
            state.expired.count();
            receipt.finish(None).await
        } else {
            let call = Call::new(&self.subject, &self.clock, message, redelivered);
            call.caused().write(&mut answer);
            let body = self.work(call).await;
            (answer.body, answer.content_type) = body.into_parts();
            answer.id = Some(self.clock.uuid_v7().to_string());
            if reply_to.is_none() {
                state.one_way.count();
            }
            receipt.finish(reply_to.map(|reply_to| (reply_to, answer))).await
        };
        if let Err(error) = finished {
            tracing::warn!(subject = &*self.subject, %error, "a request was answered in vain");
        }
    }

    /// What the handler makes of it. A failure is an answer as well.
    async fn work(&self, call: Call) -> Body {
        let handler = Arc::clone(&self.handler);
        let answer = AssertUnwindSafe(async move { handler(call).await }).catch_unwind().await;
        let answer = answer.unwrap_or_else(|panic| {
            self.state.panicked.count();
            let what = panic_text(&*panic);
            tracing::error!(subject = &*self.subject, panic = what, "a handler panicked");
            Err(Failure::bug("panicked", what))
        });
        match answer.and_then(check) {
            Ok(body) => {
                self.state.replied.count();
                body
            }
            Err(failure) => {
                self.state.failed.count();
                failure.to_body()
            }
        }
    }
}

/// A reply that cannot be sent would end the connection, and be tried again for ever.
fn check(body: Body) -> Result<Body, Failure> {
    let bytes = body.bytes().len();
    if bytes > BODY_BYTES_MAX {
        let message = format!("a reply of {bytes} bytes is too large: {BODY_BYTES_MAX} are allowed");
        return Err(Failure::bug("reply-too-large", message));
    }
    if body.content_type().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(Failure::bug("content-type-too-long", "the content type of the reply is too long"));
    }
    Ok(body)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}
