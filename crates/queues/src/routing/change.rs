//! Changes of the topology, and the keyed records by which they are stored.
//!
//! The log of definitions is compacted: the last record of a key is its state, one without a value removes it. The first
//! byte of a key is its kind (high four bits) and version (low four bits), that of a value its version. Numbers are
//! persisted and never reused.
//!
//! | key | value |
//! |---|---|
//! | `0x61`, virtual host | 1 |
//! | `0x71`, virtual host, exchange | 1, kind, flags, optional alternate, arguments; by flag: topic; source topic, its number |
//! | `0x81`, virtual host, queue | 1, number, durable, exclusive, auto-delete, arguments, options |
//! | `0x91`, virtual host, source, kind of destination, destination, routing key, arguments | 1 |
//! | `0xa1` | 1, the first number that no queue has been promised |

use bytes::Bytes;

use super::exchange::{ExchangeDefinition, ExchangeKind, TopicSource};
use super::{Binding, Destination};
use crate::Text;
use crate::codec::{DecodeError, Reader, Writer};
use crate::queue::Definition;

const KEY_VHOST: u8 = 0x61;
const KEY_EXCHANGE: u8 = 0x71;
const KEY_QUEUE: u8 = 0x81;
const KEY_BINDING: u8 = 0x91;
const KEY_NUMBERS: u8 = 0xa1;

const DURABLE: u8 = 1;
const AUTO_DELETE: u8 = 1 << 1;
const INTERNAL: u8 = 1 << 2;
const DELAYED: u8 = 1 << 3;
const TOPIC: u8 = 1 << 4;
const SOURCE: u8 = 1 << 5;

/// One change of the topology.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A virtual host is there.
    PutVhost(Text),
    /// A virtual host is gone, with all that lies in it.
    DropVhost(Text),
    /// An exchange is there.
    PutExchange {
        /// The virtual host.
        vhost: Text,
        /// Its name.
        name: Text,
        /// What it is.
        definition: ExchangeDefinition,
    },
    /// An exchange is gone, with its bindings.
    DropExchange {
        /// The virtual host.
        vhost: Text,
        /// Its name.
        name: Text,
    },
    /// A queue is there.
    PutQueue(Definition),
    /// A queue is gone, with its bindings.
    DropQueue {
        /// The virtual host.
        vhost: Text,
        /// Its name.
        name: Text,
    },
    /// A binding is there.
    PutBinding {
        /// The virtual host.
        vhost: Text,
        /// The binding.
        binding: Binding,
    },
    /// A binding is gone.
    DropBinding {
        /// The virtual host.
        vhost: Text,
        /// The binding.
        binding: Binding,
    },
    /// Queue numbers below this may be in use.
    Numbers(u64),
}

/// A keyed record of the log of definitions. Without a value it removes its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub key: Bytes,
    /// Its state from now on.
    pub value: Option<Bytes>,
}

impl Change {
    /// The record by which it is stored.
    pub fn encode(&self) -> Record {
        Record { key: self.key(), value: self.value() }
    }

    fn key(&self) -> Bytes {
        let named = |kind, vhost, name| Writer::start(kind).text(vhost).text(name).finish();
        match self {
            Self::PutVhost(name) | Self::DropVhost(name) => Writer::start(KEY_VHOST).text(name).finish(),
            Self::PutExchange { vhost, name, .. } | Self::DropExchange { vhost, name } => {
                named(KEY_EXCHANGE, vhost, name)
            }
            Self::PutQueue(definition) => named(KEY_QUEUE, &definition.vhost, &definition.name),
            Self::DropQueue { vhost, name } => named(KEY_QUEUE, vhost, name),
            Self::PutBinding { vhost, binding } | Self::DropBinding { vhost, binding } => {
                binding_key(vhost, binding)
            }
            Self::Numbers(_) => Writer::start(KEY_NUMBERS).finish(),
        }
    }

    fn value(&self) -> Option<Bytes> {
        match self {
            Self::DropVhost(_)
            | Self::DropExchange { .. }
            | Self::DropQueue { .. }
            | Self::DropBinding { .. } => None,
            Self::PutVhost(_) | Self::PutBinding { .. } => Some(Writer::start(1).finish()),
            Self::PutExchange { definition, .. } => Some(put_exchange(definition)),
            Self::PutQueue(definition) => Some(definition.encode()),
            Self::Numbers(next) => Some(Writer::start(1).number(*next).finish()),
        }
    }

    /// Reads a record of the log of definitions.
    ///
    /// # Errors
    /// [`DecodeError`] if it is damaged, or from a newer program.
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Self, DecodeError> {
        let kind = *key.first().ok_or(DecodeError::Malformed { what: "key" })?;
        let mut input = Reader::start(key, "key", kind)?;
        let change = match kind {
            KEY_VHOST => vhost(&mut input, value)?,
            KEY_EXCHANGE => exchange(&mut input, value)?,
            KEY_QUEUE => queue(&mut input, value)?,
            KEY_BINDING => binding(&mut input, value)?,
            KEY_NUMBERS => numbers(value)?,
            version => return Err(DecodeError::Version { what: "key", version }),
        };
        input.finish("key")?;
        Ok(change)
    }
}

/// What tells one binding from another.
pub(super) fn binding_key(vhost: &Text, binding: &Binding) -> Bytes {
    let (kind, name) = match &binding.destination {
        Destination::Queue(name) => (0, name),
        Destination::Exchange(name) => (1, name),
    };
    let mut out = Writer::start(KEY_BINDING);
    out.text(vhost).text(&binding.source).byte(kind).text(name);
    out.text(&binding.routing_key).headers(&binding.arguments).finish()
}

fn put_exchange(definition: &ExchangeDefinition) -> Bytes {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(definition.durable, DURABLE)
        | flag(definition.auto_delete, AUTO_DELETE)
        | flag(definition.internal, INTERNAL)
        | flag(definition.delayed, DELAYED)
        | flag(definition.topic.is_some(), TOPIC)
        | flag(definition.source.is_some(), SOURCE);
    let mut out = Writer::start(1);
    out.byte(definition.kind as u8).byte(flags);
    out.optional(definition.alternate.as_ref(), |out, name| {
        out.text(name);
    });
    out.headers(&definition.arguments);
    if let Some(topic) = &definition.topic {
        out.text(topic);
    }
    if let Some(source) = &definition.source {
        out.text(&source.topic).number(source.id);
    }
    out.finish()
}

fn check_version(value: Bytes, what: &'static str) -> Result<Reader, DecodeError> {
    Reader::start(value, what, 1)
}

fn vhost(key: &mut Reader, value: Option<Bytes>) -> Result<Change, DecodeError> {
    let name = key.text("virtual host")?;
    let Some(value) = value else { return Ok(Change::DropVhost(name)) };
    check_version(value, "virtual host")?.finish("virtual host")?;
    Ok(Change::PutVhost(name))
}

fn exchange(key: &mut Reader, value: Option<Bytes>) -> Result<Change, DecodeError> {
    const WHAT: &str = "exchange";
    let (vhost, name) = (key.text(WHAT)?, key.text(WHAT)?);
    let Some(value) = value else { return Ok(Change::DropExchange { vhost, name }) };
    let mut input = check_version(value, WHAT)?;
    let kind = ExchangeKind::from_stored(input.byte(WHAT)?);
    let flags = input.byte(WHAT)?;
    let definition = ExchangeDefinition {
        kind: kind.ok_or(DecodeError::Malformed { what: WHAT })?,
        durable: flags & DURABLE != 0,
        auto_delete: flags & AUTO_DELETE != 0,
        internal: flags & INTERNAL != 0,
        delayed: flags & DELAYED != 0,
        alternate: input.optional(WHAT, |input| input.text(WHAT))?,
        arguments: input.headers(WHAT)?,
        topic: if flags & TOPIC != 0 { Some(input.text(WHAT)?) } else { None },
        source: match flags & SOURCE {
            0 => None,
            _ => Some(TopicSource { topic: input.text(WHAT)?, id: input.number(WHAT)? }),
        },
    };
    input.finish(WHAT)?;
    Ok(Change::PutExchange { vhost, name, definition })
}

fn queue(key: &mut Reader, value: Option<Bytes>) -> Result<Change, DecodeError> {
    let (vhost, name) = (key.text("queue")?, key.text("queue")?);
    match value {
        None => Ok(Change::DropQueue { vhost, name }),
        Some(value) => Ok(Change::PutQueue(Definition::decode(vhost, name, value)?)),
    }
}

fn binding(key: &mut Reader, value: Option<Bytes>) -> Result<Change, DecodeError> {
    const WHAT: &str = "binding";
    let (vhost, source) = (key.text(WHAT)?, key.text(WHAT)?);
    let destination = match (key.byte(WHAT)?, key.text(WHAT)?) {
        (0, name) => Destination::Queue(name),
        (1, name) => Destination::Exchange(name),
        _ => return Err(DecodeError::Malformed { what: WHAT }),
    };
    let (routing_key, arguments) = (key.text(WHAT)?, key.headers(WHAT)?);
    let binding = Binding { source, destination, routing_key, arguments };
    let Some(value) = value else { return Ok(Change::DropBinding { vhost, binding }) };
    check_version(value, WHAT)?.finish(WHAT)?;
    Ok(Change::PutBinding { vhost, binding })
}

fn numbers(value: Option<Bytes>) -> Result<Change, DecodeError> {
    let value = value.ok_or(DecodeError::Malformed { what: "numbers" })?;
    let mut input = check_version(value, "numbers")?;
    let next = input.number("numbers")?;
    input.finish("numbers")?;
    Ok(Change::Numbers(next))
}
