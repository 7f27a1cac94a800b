//! The HTTP API of a server as Rust calls, for what goes beyond an [`crate::EventStore`]: stores, streams and their metadata,
//! persistent subscriptions.
//!
//! What may pass is tried again, ever less often, until [`ClientOptions::retry_for`] is over: a server that starts anew, a full
//! disk, a broken connection. A request that may have been carried out is repeated only if repeating it changes nothing;
//! appends are among those, since events are known by their ids.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use annals::client::{Client, ClientOptions, NewSubscription, Selection};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:7117", ClientOptions::default())?;
//! let selection = Selection::Type("OrderPlaced".into());
//! let new = NewSubscription { name: "mailer".into(), selection, ..Default::default() };
//! client.create_subscription("shop", &new).await?;
//! let mut consumer = None;
//! loop {
//!     let fetched = client.fetch("shop", "mailer", consumer.as_deref(), 10, Duration::from_secs(20)).await?;
//!     let positions: Vec<_> = fetched.events.iter().map(|delivered| delivered.event.position).collect();
//!     // Do what there is to do, and then:
//!     client.ack("shop", "mailer", &fetched.consumer, &positions).await?;
//!     consumer = Some(fetched.consumer);
//! }
//! # }
//! ```

mod error;
mod event;
mod page;
mod stores;
mod streams;
mod subscriptions;
mod target;
mod transport;

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Clock, ErrorKind};

pub use error::{ClientError, Problem};
pub use event::{Append, Appended, AppendedStream, Condition, Event, Guard, NewEvent, Write};
pub use page::{EventPage, ReadRequest, StreamNow};
pub use stores::{Scavenged, StoreInfo};
pub use streams::{NamePage, Names, StreamInfo, StreamMetadata};
pub use subscriptions::{
    Delivered, Fetched, NackAction, NewSubscription, ParkedEvent, ParkedPage, Selection, Settled,
    SubscriptionInfo, SubscriptionOptions, SubscriptionStatus,
};
use target::Target;
use transport::{Answer, Failure, Request, Transport};

/// The first pause before a request is repeated; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How a server is talked to.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// How long to wait for a connection. 5 s unless said otherwise.
    pub connect_timeout: Duration,
    /// How long to wait for an answer, besides what a request waits by its nature. 30 s unless said otherwise.
    pub request_timeout: Duration,
    /// How long to repeat what may pass before giving up. 30 s unless said otherwise; zero: nothing is repeated.
    pub retry_for: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect_timeout: seconds(5), request_timeout: seconds(30), retry_for: seconds(30) }
    }
}

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// Doing it twice is doing it once.
    Always,
    /// Only while it is certain that nothing was done.
    Unsent,
}

/// A server; cheap to clone, with connections that are kept and shared.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    options: ClientOptions,
    clock: Clock,
}

impl Client {
    /// The server at `address`, such as `http://127.0.0.1:7117`. No connection is made before the first request.
    ///
    /// # Errors
    /// [`ClientError::Address`]
    pub fn new(address: &str, options: ClientOptions) -> Result<Self, ClientError> {
        Self::with_clock(address, options, Clock::system())
    }

    pub(crate) fn with_clock(
        address: &str,
        options: ClientOptions,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let transport = Transport::new(address, options.connect_timeout)?;
        Ok(Self { transport, options, clock })
    }

    /// The server's address.
    pub fn address(&self) -> &str {
        self.transport.address()
    }

    async fn get<T: DeserializeOwned>(&self, target: Target) -> Result<T, ClientError> {
        self.get_waiting(target, Duration::ZERO).await
    }

    /// Gets what takes `wait` by its nature.
    async fn get_waiting<T: DeserializeOwned>(
        &self,
        target: Target,
        wait: Duration,
    ) -> Result<T, ClientError> {
        let request = Request { method: Method::GET, target: target.into_text(), body: None };
        self.parse(&self.exchange(&request, Repeat::Always, wait).await?)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        target: Target,
        body: &impl Serialize,
        repeat: Repeat,
    ) -> Result<T, ClientError> {
        self.send_waiting(method, target, body, repeat, Duration::ZERO).await
    }

    async fn send_waiting<T: DeserializeOwned>(
        &self,
        method: Method,
        target: Target,
        body: &impl Serialize,
        repeat: Repeat,
        wait: Duration,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Input(error.to_string()))?;
        let request = Request { method, target: target.into_text(), body: Some(body.into()) };
        self.parse(&self.exchange(&request, repeat, wait).await?)
    }

    /// Asks for something without a body.
    async fn call(&self, method: Method, target: Target, repeat: Repeat) -> Result<Bytes, ClientError> {
        self.call_waiting(method, target, repeat, Duration::ZERO).await
    }

    async fn call_waiting(
        &self,
        method: Method,
        target: Target,
        repeat: Repeat,
        wait: Duration,
    ) -> Result<Bytes, ClientError> {
        let request = Request { method, target: target.into_text(), body: None };
        self.exchange(&request, repeat, wait).await
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| self.unexpected(&error))
    }

    fn unexpected(&self, reason: &dyn std::fmt::Display) -> ClientError {
        ClientError::Unexpected { address: self.address().to_owned(), reason: reason.to_string() }
    }

    /// Sends a request until there is an answer that counts.
    async fn exchange(
        &self,
        request: &Request,
        repeat: Repeat,
        wait: Duration,
    ) -> Result<Bytes, ClientError> {
        let timeout = self.options.request_timeout.saturating_add(wait);
        let begun = self.clock.monotonic();
        let (mut attempt, mut lost) = (0, None);
        loop {
            let (error, after) = match self.attempt(request, timeout).await {
                Ok(body) => return Ok(body),
                Err(failed) => failed,
            };
            let left = self.options.retry_for.saturating_sub(self.clock.monotonic() - begun);
            let is_lost = match &error {
                ClientError::Lost { .. } => true,
                ClientError::Refused(problem) => problem.is_unknown(),
                _ => false,
            };
            if !may_pass(&error) || left.is_zero() || (is_lost && repeat == Repeat::Unsent) {
                // What may have been done once may have been done, whatever came later.
                return Err(if may_pass(&error) { lost.unwrap_or(error) } else { error });
            }
            tracing::debug!(%error, attempt, "a request is repeated");
            if is_lost {
                lost = Some(error);
            }
            tokio::time::sleep(self.pause(attempt, after).min(left)).await;
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        request: &Request,
        timeout: Duration,
    ) -> Result<Bytes, (ClientError, Option<Duration>)> {
        let address = || self.address().to_owned();
        match self.transport.send(request, timeout).await {
            Ok(Answer { status: 200..=299, body, .. }) => Ok(body),
            Ok(Answer { status, retry_after, body }) => {
                Err((ClientError::Refused(Box::new(Problem::read(status, &body))), retry_after))
            }
            Err(Failure::NotSent(reason)) => {
                Err((ClientError::Unreachable { address: address(), reason }, None))
            }
            Err(Failure::Lost(reason)) => Err((ClientError::Lost { address: address(), reason }, None)),
        }
    }

    /// How long to wait before the next attempt: at random, so that those who failed together do not return together.
    fn pause(&self, attempt: u32, after: Option<Duration>) -> Duration {
        let most = PAUSE.saturating_mul(1 << attempt.min(10)).min(PAUSE_MAX).as_micros() as u64;
        let pause = Duration::from_micros(most / 2 + self.clock.random() % (most / 2 + 1));
        // Who says when it will be back says so in whole seconds; it may be back before.
        after.map_or(pause, |after| pause.min(after.max(PAUSE)))
    }
}

fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Lost { .. } => true,
        ClientError::Refused(problem) => problem.may_pass(),
        ClientError::Address { .. } | ClientError::Unexpected { .. } | ClientError::Input(_) => false,
    }
}

impl From<ClientError> for crate::store::ReadError {
    fn from(error: ClientError) -> Self {
        let reason = error.to_string();
        match error.kind() {
            ErrorKind::Input | ErrorKind::Conflict => Self::Invalid { reason },
            ErrorKind::Retry => Self::Busy { reason },
            ErrorKind::Corrupt => Self::Corrupt { reason },
            ErrorKind::Unavailable | ErrorKind::Bug => Self::Unavailable { reason },
        }
    }
}
