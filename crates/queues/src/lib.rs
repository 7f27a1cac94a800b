//! The queues engine: exchanges that route, queues that deliver, as pure state machines over the journal.
//!
//! Nothing here does I/O, reads a clock or draws a random number. Time, and bytes that were stored, come in as arguments;
//! decisions, deliveries and encoded entries go out. So the same code runs live and in recovery, and a test owns every
//! input.
//!
//! - [`message`] is what is published, [`envelope`] how it is stored.
//! - [`routing`] finds the queues of a message: exchanges, bindings, virtual hosts ([`routing::Topology`]).
//! - [`positions`] says how far topics were read that are published through exchanges.
//! - [`queue`] is one delivery engine for all queue protocols: a message is ready, leased or done.
//!
//! How a queue lies in the journal is described in `docs/decisions/0014-a-queue-on-the-log.md`. Semantics follow RabbitMQ's
//! documentation for AMQP 0-9-1, where a module does not name another source.

mod codec;
pub mod envelope;
pub mod message;
pub mod positions;
pub mod queue;
pub mod routing;
mod text;
pub mod value;

pub use codec::DecodeError;
pub use message::{Death, DeathReason, Deaths, Message, Properties};
pub use text::Text;
pub use value::{Headers, Value};

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type TimestampMs = i64;
