//! The event store engine: streams of events with optimistic concurrency, over one log for each store.
//!
//! Nothing here does I/O, reads a clock or draws a random number. Decisions go out, what became durable comes in through
//! [`store::Store::apply_to`], live and in recovery the same way.
//!
//! - A *store* is one log. The [`Position`] of an event is its offset there: dense, and the order of everything.
//! - A *stream* is the events of one thing (`account-17`), numbered from zero by [`Revision`]s without gaps. What stands
//!   before the first `-` is its category.
//! - An *append* writes to one or more streams at once, or not at all. It may demand revisions of the streams that it
//!   writes to ([`Expected`]), of streams that it only read ([`append::Guard`]), and that nothing which a query finds came
//!   in since it was asked ([`query::Condition`], a dynamic consistency boundary).
//! - Everything else is derived from the log: which streams there are ([`store`]), and the [`index`] that finds the events
//!   of a stream, category, type or tag; [`lookup`] asks both as one.
//!
//! Around it: [`record`] is how an event stands in the log, [`metadata`] what a stream keeps of its events,
//! [`scavenge`] which of them may go, [`subscription`] consumers that share events.

pub mod append;
mod expected;
pub mod index;
pub mod lookup;
pub mod metadata;
mod name;
mod place;
pub mod query;
pub mod record;
pub mod scavenge;
pub mod store;
pub mod subscription;
mod term;

pub use expected::{Expected, StreamState};
pub use name::{
    NameError, STREAM_NAME_BYTES_MAX, StreamName, TAG_BYTES_MAX, TYPE_BYTES_MAX, category_of, is_internal,
};
pub use place::{Position, Revision};
pub use term::{TermKey, Terms};

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type TimestampMs = i64;
