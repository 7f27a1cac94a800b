//! The topics engine: partitions of Kafka record batches, their producers, configuration and clean-up, as pure state
//! machines over the journal.
//!
//! Nothing here does I/O, reads a clock or draws a random number: time, ids and stored bytes come in as arguments;
//! decisions and encoded entries go out. So the same code runs live and in recovery, and a test can own every input.
//! Semantics follow Apache Kafka 4; where a module follows one document it names it.
//!
//! The way of a produced batch: [`batch::accept`] checks the bytes of one request (any thread, in parallel);
//! [`partition::Partition::append`] assigns offsets and judges sequence numbers (the partition's owner); the caller
//! journals the entries; [`partition::Partition::apply`] makes them visible once they are durable, and is the same
//! call that recovery makes for every stored batch.
//!
//! Around it: [`catalogue`] knows which topics exist, [`config`] how each is configured, [`partition::retention`] and
//! [`compaction`] which old records may go, [`group`] and [`offsets`] who reads what and how far.

pub mod batch;
pub mod catalogue;
pub mod compaction;
pub mod config;
mod error;
pub mod group;
pub mod offsets;
pub mod partition;

pub use error::ErrorKind;

/// The place of a record in its partition. Offsets are dense at append; compaction leaves gaps. `-1` means none.
pub type Offset = i64;

/// Milliseconds since 1970-01-01T00:00:00Z. `-1` means that a record carries no timestamp.
pub type TimestampMs = i64;

/// The timestamp of a record that carries none.
pub const NO_TIMESTAMP: TimestampMs = -1;
