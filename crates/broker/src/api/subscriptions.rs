//! Persistent subscriptions: consumers that share the events of a selection; see `Broker::create_subscription`.

use std::sync::Arc;

use annals_clock::TimestampMs;
pub use annals_eventstore::subscription::{Nack, NotLeased, Options, Parked, Status};

use super::stores::{Place, Position, RecordedEvent, Selection};

/// A subscription to create; see `Broker::create_subscription`.
#[derive(Clone, Debug)]
pub struct NewSubscription {
    /// The store.
    pub store: Arc<str>,
    /// Its name within the store: 1 to 200 bytes.
    pub name: Arc<str>,
    /// Which events.
    pub selection: Selection,
    /// The last event that is left out; the subscription begins behind it. `None` begins with the first.
    pub after: Option<Place>,
    /// Gives the store's own events as well.
    pub with_system: bool,
    /// Its choices.
    pub options: Options,
}

/// A subscription; see `Broker::subscriptions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionDescription {
    /// Its name within the store.
    pub name: Arc<str>,
    /// Which events.
    pub selection: Selection,
    /// Its choices.
    pub options: Options,
    /// How it does.
    pub status: Status,
}

/// Why a subscription was not created, changed or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// No such store.
    #[error("store {0} does not exist")]
    UnknownStore(Arc<str>),
    /// No such subscription.
    #[error("store {store} has no subscription {name}")]
    UnknownSubscription {
        /// The store.
        store: Arc<str>,
        /// The subscription.
        name: Arc<str>,
    },
    /// The name is taken.
    #[error("store {store} has a subscription {name} already")]
    AlreadyExists {
        /// The store.
        store: Arc<str>,
        /// The subscription.
        name: Arc<str>,
    },
    /// The request makes no sense.
    #[error("the request is not possible: {reason}")]
    Invalid {
        /// The path of what is wrong: `name`, `after_revision`; of a selection as in
        /// [`ReadEventsError::Invalid`](crate::api::stores::ReadEventsError::Invalid).
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The caller may not use it.
    #[error("not authorized for subscriptions of store {0}")]
    NotAuthorized(Arc<str>),
    /// The events cannot be read.
    #[error("events cannot be read: {0}")]
    Storage(String),
    /// The server takes no writes at present.
    #[error("the server takes no writes: {0}")]
    Unavailable(String),
}

/// An event that a consumer is given.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The event.
    pub event: RecordedEvent,
    /// How often it was given, this time included.
    pub delivery: u32,
}

/// An event that was put aside; see `Broker::parked_events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Where it is in the store.
    pub position: Position,
    /// Why it was put aside.
    pub reason: Arc<str>,
    /// How often it was given.
    pub deliveries: u32,
    /// Since when.
    pub since_ms: TimestampMs,
}
