//! A batch with some of its records, everything about them as it was.
//!
//! Records are copied as bytes. Only a new base timestamp, which is where a delete horizon is stored (KIP-534), makes
//! their timestamp deltas be written anew; the timestamps themselves stay.

use crate::batch::{
    Batch, BatchError, BatchHeader, BuildError, Compression, Frame, Frames, TimestampType, compress, varint,
};
use crate::{NO_TIMESTAMP, Offset, TimestampMs};

/// Which records of a batch stay.
pub(super) struct Survey {
    pub(super) kept: Vec<bool>,
    pub(super) kept_count: usize,
    /// Whether a tombstone is among those that stay.
    pub(super) kept_tombstone: bool,
}

impl Survey {
    pub(super) fn of(
        header: &BatchHeader,
        body: &[u8],
        mut keep: impl FnMut(Offset, &Frame<'_>) -> bool,
    ) -> Result<Self, BatchError> {
        let mut survey = Self { kept: Vec::new(), kept_count: 0, kept_tombstone: false };
        for frame in Frames::new(body, header.record_count) {
            let frame = frame?;
            let kept = keep(header.base_offset + i64::from(frame.offset_delta), &frame);
            survey.kept.push(kept);
            survey.kept_count += usize::from(kept);
            survey.kept_tombstone |= kept && frame.value.is_none();
        }
        Ok(survey)
    }
}

/// The batch with what stays. `horizon` is a new time from which its tombstones may go.
pub(super) fn rebuild(
    batch: &Batch,
    body: &[u8],
    survey: &Survey,
    horizon: Option<TimestampMs>,
) -> Result<Batch, BuildError> {
    let old = &batch.header;
    let base_timestamp = horizon.unwrap_or(old.base_timestamp);
    let moved_by = old.base_timestamp.wrapping_sub(base_timestamp);
    let mut records = Vec::with_capacity(body.len());
    let mut max_timestamp = NO_TIMESTAMP;
    for frame in kept_frames(old, body, survey) {
        max_timestamp = max_timestamp.max(old.base_timestamp.wrapping_add(frame.timestamp_delta));
        put(&mut records, &frame, moved_by);
    }
    if old.attributes.timestamp_type() == TimestampType::LogAppend {
        max_timestamp = old.max_timestamp;
    }
    let attributes =
        old.attributes.with_delete_horizon(horizon.is_some() || old.attributes.has_delete_horizon());
    let record_count = survey.kept_count as i32;
    let header = BatchHeader { attributes, base_timestamp, max_timestamp, record_count, ..*old };
    let compression = attributes.compression().unwrap_or_default();
    let body =
        if compression == Compression::None { records } else { compress(compression.into(), &records)? };
    Batch::sealed(header, body.into())
}

/// The survey has read all frames, so none is an error now.
fn kept_frames<'a>(
    header: &BatchHeader,
    body: &'a [u8],
    survey: &'a Survey,
) -> impl Iterator<Item = Frame<'a>> {
    let frames = Frames::new(body, header.record_count).map_while(Result::ok);
    frames.zip(&survey.kept).filter_map(|(frame, kept)| kept.then_some(frame))
}

fn put(records: &mut Vec<u8>, frame: &Frame<'_>, moved_by: i64) {
    if moved_by == 0 {
        records.extend_from_slice(frame.raw);
        return;
    }
    let timestamp_delta = frame.timestamp_delta.wrapping_add(moved_by);
    let length = 1 + varint::len(timestamp_delta) + frame.after_timestamp.len();
    varint::put(records, length as i64);
    records.push(0); // attributes: none are defined
    varint::put(records, timestamp_delta);
    records.extend_from_slice(frame.after_timestamp);
}
