//! What the handlers share: the way to the broker, the clock, and what is limited for all requests together.

use std::net::SocketAddr;
use std::sync::Arc;

use annals_broker::Broker;
use annals_broker::api::{Caller, Principal};
use annals_clock::Clock;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::body::Room;
use crate::management::Rates;
use crate::routes::metrics::Scrapes;
use crate::sessions::Sessions;
use crate::{Options, Problem, Status};

/// The state of all routes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

struct Shared {
    status: Arc<dyn Status>,
    clock: Clock,
    options: Options,
    bodies: Room,
    answers: Room,
    subscribers: Arc<Semaphore>,
    sessions: Sessions,
    rates: Rates,
    scrapes: Scrapes,
    stopping: watch::Receiver<bool>,
}

impl App {
    /// `stopping` becomes true when the server stops.
    pub(crate) fn new(
        options: Options,
        status: Arc<dyn Status>,
        clock: Clock,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let (bodies, answers) = (Room::new(options.bodies_bytes_max), Room::new(options.bodies_bytes_max));
        let subscribers = Arc::new(Semaphore::new(options.subscribers_max));
        let sessions = Sessions::new(clock.clone());
        let scrapes = Scrapes::new(Arc::clone(&status));
        Self(Arc::new(Shared {
            status,
            clock,
            options,
            bodies,
            answers,
            subscribers,
            sessions,
            rates: Rates::default(),
            scrapes,
            stopping,
        }))
    }

    /// The broker.
    ///
    /// # Errors
    /// 503 as long as it is not open.
    pub(crate) fn broker(&self) -> Result<&Broker, Problem> {
        self.0.status.broker().ok_or_else(Problem::recovering)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    /// Room for the bodies of requests.
    pub(crate) fn bodies(&self) -> &Room {
        &self.0.bodies
    }

    /// Room for the bodies of answers.
    pub(crate) fn answers(&self) -> &Room {
        &self.0.answers
    }

    /// A place for one more subscriber, if there is one.
    pub(crate) fn subscriber(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.subscribers).try_acquire_owned().ok()
    }

    /// The consumers of persistent subscriptions.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// How fast grows what the management API counts.
    pub(crate) fn rates(&self) -> &Rates {
        &self.0.rates
    }

    /// Returns when the server stops: what streams without an end has to end then.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.0.stopping.clone();
        // The sender going away ends the server too.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}

impl FromRef<App> for Arc<dyn Status> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.0.status)
    }
}

impl FromRef<App> for Scrapes {
    fn from_ref(app: &App) -> Self {
        app.0.scrapes.clone()
    }
}

/// The other end of the connection, put into each of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Who asks, for the broker.
pub(crate) struct Asker(pub(crate) Caller);

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<Peer>().map_or_else(|| Caller::internal().peer, |peer| peer.0);
        Ok(Self(Caller { principal: anonymous(), client_id: None, peer }))
    }
}

/// Nobody has to prove who they are here yet. Made once: a request should not cost an allocation for it.
fn anonymous() -> Principal {
    static ANONYMOUS: std::sync::LazyLock<Principal> = std::sync::LazyLock::new(Principal::anonymous);
    ANONYMOUS.clone()
}
