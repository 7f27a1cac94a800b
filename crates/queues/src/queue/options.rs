//! What a queue can be told, and what it was declared as.

use bytes::Bytes;

use crate::codec::{DecodeError, Reader, Writer};
use crate::routing::QueueId;
use crate::{Headers, Message, Text, TimestampMs};

/// How often a message may be dead-lettered in all. Beyond it, it is dropped: it went round in circles.
pub const HOPS_MAX: u64 = 64;

/// The number of the highest priority that a queue can tell apart.
pub const PRIORITY_MAX: u8 = 255;

/// What happens to a message for which there is no room. The numbers are stored: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Overflow {
    /// The oldest ready message makes room. It is dead-lettered, where the queue has somewhere to put it.
    #[default]
    DropHead = 1,
    /// The new message is refused.
    RejectPublish = 2,
    /// The new message is refused, and dead-lettered.
    DeadLetter = 3,
}

/// Where messages go that were not consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The exchange, in the queue's virtual host; empty for the default exchange.
    pub exchange: Text,
    /// The key in place of the message's own.
    pub routing_key: Option<Text>,
}

/// A queue that is a log: everybody reads the same messages, and reading takes none away.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StreamOptions {
    /// How long a message is kept.
    pub age_ms_max: Option<u64>,
    /// How many bytes are kept.
    pub bytes_max: Option<u64>,
    /// The log is a topic that was there before the queue, and stays when the queue goes. Decided when it is declared.
    pub adopts: bool,
}

/// The choices of one queue. The default is a plain first-in-first-out queue without limits.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// How long a message may wait. Its own limit counts where it is shorter.
    pub ttl_ms: Option<u64>,
    /// The queue goes when nobody has used it for so long.
    pub expires_ms: Option<u64>,
    /// The most ready messages.
    pub length_max: Option<u64>,
    /// The most bytes in bodies of ready messages.
    pub bytes_max: Option<u64>,
    /// What happens beyond a limit.
    pub overflow: Overflow,
    /// Where messages go that were not consumed.
    pub dead_letter: Option<DeadLetter>,
    /// The highest priority that is told apart; 0 for a queue without priorities.
    pub priority_max: u8,
    /// Only one consumer is served at a time; the next takes over when it goes.
    pub single_active_consumer: bool,
    /// A message that was returned more often than this leaves the queue.
    pub delivery_limit: Option<u32>,
    /// How long a consumer may keep a message before it is ready again. Without, as long as the consumer is there.
    pub lease_ms: Option<u64>,
    /// How long the identity of a message is remembered; a second one with it is dropped.
    pub duplicate_window_ms: Option<u64>,
    /// Messages with a group are delivered one after the other within the group, and a group has one holder at a time.
    pub groups: bool,
    /// So long every message waits before it is ready, unless it says when itself.
    pub delay_ms: Option<u64>,
    /// It is a log. Most of the other choices mean nothing then.
    pub stream: Option<StreamOptions>,
    /// Messages wait here for exchanges that hold them back; when they are due they are routed. Made by the server.
    pub holds_back: bool,
}

/// What [`Options`] are written with behind the rest, where there is something of it.
const STREAM: u8 = 1;
const ADOPTS: u8 = 1 << 1;
const HOLDS_BACK: u8 = 1 << 2;

impl Options {
    /// When a message that is published now stops waiting.
    pub(crate) fn expires_at(&self, published_ms: i64, ttl_ms: Option<u64>) -> Option<i64> {
        let ttl_ms = match (self.ttl_ms, ttl_ms) {
            (Some(queue), Some(message)) => queue.min(message),
            (queue, message) => queue.or(message)?,
        };
        Some(published_ms.saturating_add(i64::try_from(ttl_ms).unwrap_or(i64::MAX)))
    }

    /// When a message is due, if it is not now.
    pub(crate) fn due_ms(&self, message: &Message, now_ms: TimestampMs) -> Option<TimestampMs> {
        let delay = self.delay_ms.map(|ms| message.published_ms.saturating_add_unsigned(ms));
        message.due_ms.or(delay).filter(|due_ms| *due_ms > now_ms)
    }

    /// The lane that a message goes to.
    pub fn lane_for(&self, message: &Message, now_ms: TimestampMs) -> u16 {
        match self.due_ms(message, now_ms) {
            Some(_) => super::LANE_DELAYED,
            None => message.priority.min(self.priority_max).into(),
        }
    }

    /// Whether more has to be known of messages after a restart than where they lie.
    pub fn wants_messages(&self) -> bool {
        self.bytes_max.is_some() || self.groups
    }

    /// Whether a message may have to leave because of a limit.
    pub fn is_limited(&self) -> bool {
        self.length_max.is_some() || self.bytes_max.is_some()
    }

    fn put(&self, out: &mut Writer) {
        let numbers = [
            self.ttl_ms,
            self.expires_ms,
            self.length_max,
            self.bytes_max,
            self.delivery_limit.map(u64::from),
            self.lease_ms,
            self.duplicate_window_ms,
            self.delay_ms,
        ];
        for number in &numbers {
            out.optional(number.as_ref(), |out, &number| {
                out.number(number);
            });
        }
        out.byte(self.overflow as u8).byte(self.priority_max);
        out.bool(self.single_active_consumer).bool(self.groups);
        out.optional(self.dead_letter.as_ref(), |out, dead_letter| {
            out.text(&dead_letter.exchange);
            out.optional(dead_letter.routing_key.as_ref(), |out, key| {
                out.text(key);
            });
        });
        self.put_kind(out);
    }

    fn put_kind(&self, out: &mut Writer) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let adopts = self.stream.as_ref().is_some_and(|stream| stream.adopts);
        let flags =
            flag(self.stream.is_some(), STREAM) | flag(adopts, ADOPTS) | flag(self.holds_back, HOLDS_BACK);
        if flags > 0 {
            out.byte(flags);
        }
        if let Some(stream) = &self.stream {
            for limit in [stream.age_ms_max, stream.bytes_max] {
                out.optional(limit.as_ref(), |out, &limit| {
                    out.number(limit);
                });
            }
        }
    }

    fn get_kind(self, input: &mut Reader) -> Result<Self, DecodeError> {
        const WHAT: &str = "kind of queue";
        if input.is_empty() {
            return Ok(self);
        }
        let flags = input.byte(WHAT)?;
        if flags & !(STREAM | ADOPTS | HOLDS_BACK) != 0 {
            return Err(DecodeError::Malformed { what: WHAT });
        }
        let mut limit = || input.optional(WHAT, |input| input.number(WHAT));
        let stream = match flags & STREAM {
            0 => None,
            _ => {
                let (age_ms_max, bytes_max) = (limit()?, limit()?);
                Some(StreamOptions { age_ms_max, bytes_max, adopts: flags & ADOPTS != 0 })
            }
        };
        Ok(Self { stream, holds_back: flags & HOLDS_BACK != 0, ..self })
    }

    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        const WHAT: &str = "queue options";
        let mut number = || input.optional(WHAT, |input| input.number(WHAT));
        let (ttl_ms, expires_ms, length_max, bytes_max) = (number()?, number()?, number()?, number()?);
        let (delivery_limit, lease_ms, duplicate_window_ms, delay_ms) =
            (number()?, number()?, number()?, number()?);
        let overflow = match input.byte(WHAT)? {
            1 => Overflow::DropHead,
            2 => Overflow::RejectPublish,
            3 => Overflow::DeadLetter,
            _ => return Err(DecodeError::Malformed { what: WHAT }),
        };
        let plain = Self {
            ttl_ms,
            expires_ms,
            length_max,
            bytes_max,
            overflow,
            delivery_limit: delivery_limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
            lease_ms,
            duplicate_window_ms,
            delay_ms,
            priority_max: input.byte(WHAT)?,
            single_active_consumer: input.bool(WHAT)?,
            groups: input.bool(WHAT)?,
            dead_letter: input.optional(WHAT, |input| {
                let exchange = input.text(WHAT)?;
                let routing_key = input.optional(WHAT, |input| input.text(WHAT))?;
                Ok(DeadLetter { exchange, routing_key })
            })?,
            ..Self::default()
        };
        plain.get_kind(input)
    }
}

/// What a queue was declared as.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its number.
    pub id: QueueId,
    /// The virtual host that it lies in.
    pub vhost: Text,
    /// Its name.
    pub name: Text,
    /// Whether it survives a restart, with its persistent messages.
    pub durable: bool,
    /// Whether it belongs to one owner and goes with it.
    pub exclusive: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its choices.
    pub options: Options,
    /// As declared: for those who want to see them again.
    pub arguments: Headers,
}

impl Definition {
    /// Whether messages of it are journaled and it is there after a restart.
    pub fn survives(&self) -> bool {
        self.durable && !self.exclusive
    }

    /// Whether a message is journaled in it. Where order counts within groups, all are.
    pub fn journals(&self, message: &Message) -> bool {
        self.survives() && (message.persistent || self.options.groups)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::start(1);
        out.number(self.id.0).bool(self.durable).bool(self.exclusive).bool(self.auto_delete);
        out.headers(&self.arguments);
        self.options.put(&mut out);
        out.finish()
    }

    pub(crate) fn decode(vhost: Text, name: Text, value: Bytes) -> Result<Self, DecodeError> {
        let mut input = Reader::start(value, "queue", 1)?;
        let definition = Self {
            vhost,
            name,
            id: QueueId(input.number("queue")?),
            durable: input.bool("queue")?,
            exclusive: input.bool("queue")?,
            auto_delete: input.bool("queue")?,
            arguments: input.headers("queue")?,
            options: Options::get(&mut input)?,
        };
        input.finish("queue")?;
        Ok(definition)
    }
}
