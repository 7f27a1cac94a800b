//! An event as a record of the store's log: the layout of records in Kafka's batches, so that the log is a topic.
//!
//! The key is the stream's name. The headers are those of the CloudEvents Kafka binding in binary mode (`ce_id`,
//! `ce_type`, ..., `content-type`), then `annals-tag` once for each tag, and last `annals-revision` with the revision as
//! 20 decimal digits. The value is the event's data. The batch's timestamp is when the store recorded the event.
//!
//! Batches are never compressed. Length and place of the revision do not depend on its value, so an append is encoded
//! before its turn and only stamped in it.
//!
//! Source: Kafka protocol guide, "Record"; CloudEvents Kafka protocol binding 1.0.2.

mod read;
mod varint;
mod write;

pub use read::{RecordError, RecordedEvent, Records};
pub(crate) use write::RecordWriter;

/// The header that holds the revision.
pub const REVISION_HEADER: &str = "annals-revision";
/// The header that holds a tag; there is one for each.
pub const TAG_HEADER: &str = "annals-tag";
/// The header that says with which key the data is encrypted.
pub const KEY_HEADER: &str = "annals-key";

/// Digits of a revision.
const REVISION_DIGITS: usize = 20;

#[cfg(test)]
mod tests;
