//! Which record of a batch a timestamp points at (ListOffsets).

use super::frame::Frames;
use super::record::timestamp_of;
use super::{Batch, BatchError, ExpandLimits};
use crate::{Offset, TimestampMs};

/// A record that a lookup found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp_ms: TimestampMs,
}

/// The first record at or after `from` whose timestamp is `timestamp_ms` or later.
///
/// A batch whose largest timestamp is earlier is answered from its header alone.
///
/// # Errors
/// The errors of [`Batch::records`] and of a malformed record.
pub fn find_at_or_after(
    batch: &Batch,
    timestamp_ms: TimestampMs,
    from: Offset,
    limits: &ExpandLimits,
) -> Result<Option<Found>, BatchError> {
    if batch.header.max_timestamp < timestamp_ms || batch.header.last_offset() < from {
        return Ok(None);
    }
    find(batch, limits, |found| found.timestamp_ms >= timestamp_ms && found.offset >= from)
}

/// The first record with the largest timestamp among those of the batch at or after `from`.
///
/// # Errors
/// As [`find_at_or_after`].
pub fn find_max_timestamp(
    batch: &Batch,
    from: Offset,
    limits: &ExpandLimits,
) -> Result<Option<Found>, BatchError> {
    let mut largest: Option<Found> = None;
    // The search ends early only at a timestamp that no later record can exceed.
    let exact = find(batch, limits, |found| {
        let counts = found.offset >= from;
        if counts && largest.is_none_or(|largest| found.timestamp_ms > largest.timestamp_ms) {
            largest = Some(*found);
        }
        counts && found.timestamp_ms >= batch.header.max_timestamp
    })?;
    Ok(exact.or(largest))
}

fn find(
    batch: &Batch,
    limits: &ExpandLimits,
    mut wanted: impl FnMut(&Found) -> bool,
) -> Result<Option<Found>, BatchError> {
    let header = &batch.header;
    let body = batch.expanded_body(limits)?;
    for frame in Frames::new(&body, header.record_count) {
        let frame = frame?;
        let offset = header.base_offset.saturating_add(i64::from(frame.offset_delta));
        let found = Found { offset, timestamp_ms: timestamp_of(header, frame.timestamp_delta) };
        if wanted(&found) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
