//! Compaction: of the records with one key, the latest survives (`cleanup.policy=compact`).
//!
//! One pass has two halves. First an [`OffsetMap`] is filled from the part of the log that is new since the last pass:
//! for each key the offset of its latest record. Then every batch from the log start up to where the map is complete
//! goes through [`clean`], which drops what a later record has replaced.
//!
//! What the caller keeps to:
//! - A pass begins at [`cleanable_until`] and never reads beyond: not past the high watermark (or an open transaction),
//!   and not into records younger than `min.compaction.lag.ms`.
//! - Batches are cleaned in order of their offsets, from the log start on, all of them. Only then may the next pass
//!   take its new part from [`OffsetMap::complete_to`]. A pass that was cut short starts again where it started.
//!
//! What then holds: offsets, timestamps and headers of what survives stay as they were. A reader that starts at the
//! beginning ends with the same value for each key as one that read everything. A tombstone stays at least
//! `delete.retention.ms` after the pass that removed what it deletes, so such a reader sees the deletion (KIP-534: the
//! first pass dates the batch, a later one drops it). The last batch of each producer stays, if need be without
//! records, so that its sequence numbers are still known. Control batches stay.
//!
//! As in Kafka, a record without a key does not survive compaction.
//!
//! [`retain`] is the simple form for the program's own keyed logs, whose owner knows the latest offset of each key.

mod clean;
mod due;
mod offset_map;
mod rewrite;

pub use clean::{CleanError, CleanRules, Cleaned, clean, retain};
pub use due::{Dirt, cleanable_until};
pub use offset_map::OffsetMap;
