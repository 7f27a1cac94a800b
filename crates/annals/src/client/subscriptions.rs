//! Persistent subscriptions: consumers that share events, each event given to one of them until it is acknowledged.

use std::time::Duration;

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::target::Target;
use super::{Client, ClientError, Repeat};
use crate::store::{Position, Query};

/// Which events of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// All.
    All(bool),
    /// Those of one stream.
    Stream(String),
    /// Those of all streams whose names start so.
    StreamPrefix(String),
    /// Those of all streams of a category.
    Category(String),
    /// Those of one type.
    Type(String),
    /// Those whose types start so.
    TypePrefix(String),
    /// Those with one tag.
    Tag(String),
    /// Those that a query describes.
    Query(Query),
}

impl Default for Selection {
    fn default() -> Self {
        Self::All(true)
    }
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All(_) => f.write_str("all"),
            Self::Stream(name) => write!(f, "stream={name}"),
            Self::StreamPrefix(prefix) => write!(f, "stream={prefix}*"),
            Self::Category(name) => write!(f, "category={name}"),
            Self::Type(name) => write!(f, "type={name}"),
            Self::TypePrefix(prefix) => write!(f, "type={prefix}*"),
            Self::Tag(tag) => write!(f, "tag={tag}"),
            Self::Query(query) => write!(f, "query of {} items", query.items.len()),
        }
    }
}

/// The choices of a subscription. What is not given is left as it is, or at its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionOptions {
    /// How long a consumer has for an event, in milliseconds. Default 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack_timeout_ms: Option<u64>,
    /// How often an event is given before it is parked; 0 for without end. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries_max: Option<u32>,
    /// Events that one consumer may have at a time. Default 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_max: Option<usize>,
    /// Events that are read ahead of the consumers. Default 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_max: Option<usize>,
    /// Gives the events of one stream to one consumer at a time, in order. Default no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_by_stream: Option<bool>,
}

/// A subscription to make.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NewSubscription {
    /// Its name within the store.
    pub name: String,
    /// Which events.
    pub selection: Selection,
    /// The last event that is left out, by position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Position>,
    /// Leaves out what was recorded up to then. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_time: Option<String>,
    /// `start` or `end`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'static str>,
    /// Gives the events of Annals' own as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    /// Its choices.
    pub options: SubscriptionOptions,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionInfo {
    /// Its name within the store.
    pub name: String,
    /// Which events.
    pub selection: Selection,
    /// Its choices.
    pub options: SubscriptionOptions,
    /// How it does.
    pub status: SubscriptionStatus,
}

/// How a subscription does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionStatus {
    /// The store was looked through up to here.
    pub looked_to: u64,
    /// Everything below is acknowledged, skipped or parked.
    pub checkpoint: u64,
    /// Events that wait for a consumer.
    pub waiting: u64,
    /// Events that consumers have.
    pub leased: u64,
    /// Events that were put aside.
    pub parked: u64,
    /// How many consumers there are.
    pub consumers: u64,
}

/// What a consumer is given.
#[derive(Clone, Debug, Deserialize)]
pub struct Fetched {
    /// The consumer's session.
    pub consumer: String,
    /// The events.
    pub events: Vec<Delivered>,
}

/// An event that a consumer is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delivered {
    /// How often it was given, this time included.
    pub delivery: u32,
    /// The event.
    pub event: Event,
}

/// What to do with an event that a consumer could not handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NackAction {
    /// Give it again after a while.
    Retry {
        /// The wait.
        delay: Duration,
    },
    /// Put it aside.
    Park {
        /// Why.
        reason: String,
    },
    /// Do not give it again.
    Skip,
}

/// What came of acknowledging.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Settled {
    /// How many are done with.
    #[serde(alias = "acknowledged")]
    pub settled: u64,
    /// Those that the consumer did not have any more.
    pub not_leased: Vec<Position>,
}

/// An event that was put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedEvent {
    /// Where it is in the store.
    pub position: Position,
    /// Why it was put aside.
    pub reason: String,
    /// How often it was given.
    pub deliveries: u32,
    /// Since when. RFC 3339.
    pub since: String,
}

/// Some parked events, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ParkedPage {
    /// The events.
    pub parked: Vec<ParkedEvent>,
    /// From which position to go on; none at the end.
    pub next: Option<Position>,
}

#[derive(Deserialize)]
struct Subscriptions {
    subscriptions: Vec<SubscriptionInfo>,
}

#[derive(Serialize)]
struct Fetch<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<&'a str>,
    limit: usize,
    wait_ms: u64,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

fn path(store: &str, name: &str, rest: &[&str]) -> Target {
    let mut segments = vec!["stores", store, "subscriptions", name];
    segments.extend_from_slice(rest);
    Target::of(&segments)
}

impl Client {
    /// The subscriptions of a store, by name.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn subscriptions(&self, store: &str) -> Result<Vec<SubscriptionInfo>, ClientError> {
        let found: Subscriptions = self.get(Target::of(&["stores", store, "subscriptions"])).await?;
        Ok(found.subscriptions)
    }

    /// One subscription.
    ///
    /// # Errors
    /// [`ClientError`], with the problem `unknown-subscription` if there is none.
    pub async fn subscription(&self, store: &str, name: &str) -> Result<SubscriptionInfo, ClientError> {
        self.get(path(store, name, &[])).await
    }

    /// Makes a subscription.
    ///
    /// # Errors
    /// [`ClientError`], with the problem `already-exists` if there is one of that name.
    pub async fn create_subscription(
        &self,
        store: &str,
        new: &NewSubscription,
    ) -> Result<SubscriptionInfo, ClientError> {
        self.send(Method::POST, Target::of(&["stores", store, "subscriptions"]), new, Repeat::Unsent).await
    }

    /// Changes the choices of a subscription.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn alter_subscription(
        &self,
        store: &str,
        name: &str,
        options: SubscriptionOptions,
    ) -> Result<SubscriptionInfo, ClientError> {
        self.send(Method::PATCH, path(store, name, &[]), &options, Repeat::Always).await
    }

    /// Deletes a subscription.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn delete_subscription(&self, store: &str, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, path(store, name, &[]), Repeat::Unsent).await.map(drop)
    }

    /// Fetches events for a consumer; waits at most `wait`, at most a minute, for the first. Without a consumer a session
    /// begins; name it from then on.
    ///
    /// # Errors
    /// [`ClientError`]. Events whose answer was lost are given again when their time is up.
    pub async fn fetch(
        &self,
        store: &str,
        name: &str,
        consumer: Option<&str>,
        limit: usize,
        wait: Duration,
    ) -> Result<Fetched, ClientError> {
        let body = Fetch { consumer, limit, wait_ms: wait.as_millis() as u64 };
        self.send_waiting(Method::POST, path(store, name, &["fetch"]), &body, Repeat::Unsent, wait).await
    }

    /// Acknowledges events.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn ack(
        &self,
        store: &str,
        name: &str,
        consumer: &str,
        positions: &[Position],
    ) -> Result<Settled, ClientError> {
        let body = serde_json::json!({ "consumer": consumer, "positions": positions });
        self.send(Method::POST, path(store, name, &["ack"]), &body, Repeat::Always).await
    }

    /// Says that events could not be handled.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn nack(
        &self,
        store: &str,
        name: &str,
        consumer: &str,
        positions: &[Position],
        action: &NackAction,
    ) -> Result<Settled, ClientError> {
        let mut body = serde_json::json!({ "consumer": consumer, "positions": positions });
        match action {
            NackAction::Retry { delay } => {
                body["action"] = "retry".into();
                body["delay_ms"] = (delay.as_millis() as u64).into();
            }
            NackAction::Park { reason } => {
                body["action"] = "park".into();
                body["reason"] = reason.as_str().into();
            }
            NackAction::Skip => body["action"] = "skip".into(),
        }
        self.send(Method::POST, path(store, name, &["nack"]), &body, Repeat::Always).await
    }

    /// Ends a consumer's session: what it has is given to others.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn end_consumer(&self, store: &str, name: &str, consumer: &str) -> Result<(), ClientError> {
        let target = path(store, name, &["consumers", consumer]);
        self.call(Method::DELETE, target, Repeat::Unsent).await.map(drop)
    }

    /// Events that were put aside, from a position on.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn parked(
        &self,
        store: &str,
        name: &str,
        from: Option<Position>,
        limit: usize,
    ) -> Result<ParkedPage, ClientError> {
        self.get(path(store, name, &["parked"]).with_some("from", from).with("limit", limit)).await
    }

    /// Gives parked events again: those at `positions`, or all. Says how many.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn replay_parked(
        &self,
        store: &str,
        name: &str,
        positions: Option<&[Position]>,
    ) -> Result<u64, ClientError> {
        self.parked_to(store, name, "replay", positions).await
    }

    /// Forgets parked events: those at `positions`, or all. Says how many.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn discard_parked(
        &self,
        store: &str,
        name: &str,
        positions: Option<&[Position]>,
    ) -> Result<u64, ClientError> {
        self.parked_to(store, name, "discard", positions).await
    }

    async fn parked_to(
        &self,
        store: &str,
        name: &str,
        action: &str,
        positions: Option<&[Position]>,
    ) -> Result<u64, ClientError> {
        let body =
            positions.map_or_else(|| serde_json::json!({}), |only| serde_json::json!({ "positions": only }));
        let target = path(store, name, &["parked", action]);
        let done: Count = self.send(Method::POST, target, &body, Repeat::Unsent).await?;
        Ok(done.count)
    }
}
