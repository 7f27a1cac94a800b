//! A message: where it was published to, what it says about itself, and its body.
//!
//! The types are those of all queue protocols together; a front-end fills in what its own has. What the broker acts upon
//! (time to live, priority, group, identity, due time) stands in fields of its own, apart from what it only carries.

use bytes::Bytes;

use crate::{Headers, Text, TimestampMs};

/// One published message. Shared by all queues that hold it.
///
/// ```
/// use annals_queues::{Message, Text};
/// let message = Message {
///     routing_key: Text::from("orders.new"),
///     body: "order 1".into(),
///     persistent: true,
///     ..Message::default()
/// };
/// assert_eq!(message.size(), 7);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// The exchange that it was published to; empty for the default exchange.
    pub exchange: Text,
    /// The key that it was published with.
    pub routing_key: Text,
    /// What it carries beside its body.
    pub properties: Option<Box<Properties>>,
    /// Why and where it was dead-lettered before.
    pub deaths: Option<Box<Deaths>>,
    /// The content.
    pub body: Bytes,
    /// Whether it is to survive a restart. In a queue that does not survive one itself, it does not either.
    pub persistent: bool,
    /// How urgent it is: a higher number is delivered first. Queues without priorities ignore it.
    pub priority: u8,
    /// When it was published.
    pub published_ms: TimestampMs,
    /// How long it may wait in a queue, if its publisher limits that.
    pub ttl_ms: Option<u64>,
    /// Not to be delivered before.
    pub due_ms: Option<TimestampMs>,
    /// The FIFO group or session that it belongs to.
    pub group: Option<Text>,
    /// Its identity, by which a queue with a duplicate window knows it again.
    pub identity: Option<Text>,
}

impl Message {
    /// The bytes that length limits count: those of the body.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// Roughly the memory that it takes.
    pub fn footprint(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| properties.footprint());
        let deaths = self.deaths.as_ref().map_or(0, |deaths| 128 * deaths.entries.len());
        size_of::<Self>() + 32 + self.routing_key.len() + self.body.len() + properties + deaths
    }

    /// Its headers, if it has any.
    pub fn headers(&self) -> Option<&Headers> {
        self.properties.as_ref().map(|properties| &properties.headers)
    }
}

/// What a message carries for its receivers. Nothing here is acted upon by a queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// The media type of the body.
    pub content_type: Option<Text>,
    /// How the body is encoded.
    pub content_encoding: Option<Text>,
    /// The application's own. Headers exchanges look at them.
    pub headers: Headers,
    /// Whether there are headers although there is none among them: receivers tell an empty table from no table.
    pub empty_headers: bool,
    /// Delivery mode as the client wrote it; [`Message::persistent`] is what counts.
    pub delivery_mode: Option<u8>,
    /// Priority as the client wrote it; [`Message::priority`] is what counts.
    pub priority: Option<u8>,
    /// What a reply is matched by.
    pub correlation_id: Option<Text>,
    /// Where replies go.
    pub reply_to: Option<Text>,
    /// Time to live as the client wrote it; [`Message::ttl_ms`] is what counts.
    pub expiration: Option<Text>,
    /// The application's identity of the message.
    pub message_id: Option<Text>,
    /// The application's time, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// What kind of message it is.
    pub kind: Option<Text>,
    /// Who published it.
    pub user_id: Option<Text>,
    /// Which application published it.
    pub app_id: Option<Text>,
    /// A field that AMQP 0-9-1 keeps for itself.
    pub cluster_id: Option<Text>,
    /// What the message is about (AMQP 1.0, CloudEvents).
    pub subject: Option<Text>,
}

impl Properties {
    fn footprint(&self) -> usize {
        let headers = self.headers.iter().map(|(name, _)| 64 + name.len());
        size_of::<Self>() + headers.sum::<usize>()
    }
}

/// Why a message left a queue without being consumed. The numbers are stored: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DeathReason {
    /// A consumer rejected it.
    Rejected = 1,
    /// Its time to live ran out.
    Expired = 2,
    /// The queue was full.
    MaxLength = 3,
    /// It was delivered too often.
    DeliveryLimit = 4,
}

impl DeathReason {
    /// As RabbitMQ writes it in `x-death`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }

    pub(crate) fn from_stored(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Rejected),
            2 => Some(Self::Expired),
            3 => Some(Self::MaxLength),
            4 => Some(Self::DeliveryLimit),
            _ => None,
        }
    }
}

/// A message's death in one queue for one reason, however often.
#[derive(Clone, Debug, PartialEq)]
pub struct Death {
    /// The queue.
    pub queue: Text,
    /// Why.
    pub reason: DeathReason,
    /// How often.
    pub count: u64,
    /// The exchange that it had been published to.
    pub exchange: Text,
    /// The keys that it had been published with.
    pub routing_keys: Vec<Text>,
    /// When it happened first.
    pub time_ms: TimestampMs,
    /// The time to live that it had and lost.
    pub original_expiration: Option<Text>,
}

/// The history of dead-lettering: RabbitMQ's `x-death`.
#[derive(Clone, Debug, PartialEq)]
pub struct Deaths {
    /// The queue, reason and exchange of the very first death.
    pub first: (Text, DeathReason, Text),
    /// One entry for each queue and reason, the latest first.
    pub entries: Vec<Death>,
}

impl Deaths {
    /// Notes a death in front of what `before` says; of one that is known already, only the count rises.
    pub fn record(before: Option<&Self>, death: Death) -> Self {
        let first = before.map_or_else(
            || (death.queue.clone(), death.reason, death.exchange.clone()),
            |before| before.first.clone(),
        );
        let mut entries = before.map(|before| before.entries.clone()).unwrap_or_default();
        let same = |entry: &Death| entry.queue == death.queue && entry.reason == death.reason;
        let latest = match entries.iter().position(same) {
            Some(place) => {
                let known = entries.remove(place);
                Death { count: known.count + 1, ..known }
            }
            None => death,
        };
        entries.insert(0, latest);
        Self { first, entries }
    }

    /// Whether it has been in `queue` before and nobody rejected it since: routing it there again would go round for
    /// ever (RabbitMQ's documentation, "Dead-Lettering Effects on Messages").
    pub fn is_cycle(&self, queue: &Text) -> bool {
        let since = self.entries.iter().position(|death| death.queue == *queue);
        let rejected = |death: &Death| death.reason == DeathReason::Rejected;
        since.is_some_and(|place| !self.entries[..=place].iter().any(rejected))
    }

    /// How often it died in all.
    pub fn hops(&self) -> u64 {
        self.entries.iter().map(|death| death.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(queue: &str, reason: DeathReason) -> Death {
        Death {
            queue: queue.into(),
            reason,
            count: 1,
            exchange: "x".into(),
            routing_keys: vec!["k".into()],
            time_ms: 5,
            original_expiration: None,
        }
    }

    #[test]
    fn history_counts_and_keeps_the_first() {
        let once = Deaths::record(None, death("a", DeathReason::Expired));
        let twice = Deaths::record(Some(&once), death("b", DeathReason::Rejected));
        let again = Deaths::record(Some(&twice), death("a", DeathReason::Expired));
        let seen: Vec<_> = again.entries.iter().map(|death| (death.queue.to_string(), death.count)).collect();
        assert_eq!(seen, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(again.first.0, "a");
        assert_eq!(again.hops(), 3);
    }

    #[test]
    fn a_cycle_without_a_rejection_is_known() {
        let expired = Deaths::record(None, death("a", DeathReason::Expired));
        assert!(expired.is_cycle(&"a".into()) && !expired.is_cycle(&"b".into()));
        let rejected = Deaths::record(Some(&expired), death("b", DeathReason::Rejected));
        assert!(!rejected.is_cycle(&"a".into()));
    }
}
