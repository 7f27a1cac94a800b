//! The records of one batch, each a set of slices of the batch's own memory.

use bytes::Bytes;

use super::frame::Frame;
use super::varint::Reader;
use super::{BatchError, BatchHeader, TimestampType};
use crate::{Offset, TimestampMs};

/// One record. Key, value and headers share the memory of the (expanded) batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// The producer's timestamp, or the broker's if the batch says so. -1 for none.
    pub timestamp_ms: TimestampMs,
    /// The key, if any.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Headers in order. The same key may occur more than once.
    pub headers: Vec<RecordHeader>,
}

/// One header of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordHeader {
    /// The key: UTF-8.
    pub key: Bytes,
    /// The value, if any.
    pub value: Option<Bytes>,
}

/// Iterator over the records of one batch; see [`super::Batch::records`]. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    body: Bytes,
    index: i32,
}

impl Records {
    pub(super) fn new(header: BatchHeader, body: Bytes) -> Self {
        Self { header, body, index: 0 }
    }

    fn step(&mut self) -> Result<Record, BatchError> {
        let index = self.index;
        let mut reader = Reader::new(&self.body);
        let result = Frame::read(&mut reader).map(|frame| self.record(&frame));
        let used = self.body.len() - reader.rest().len();
        self.index += 1;
        let result = match result {
            Ok(_) if self.index == self.header.record_count && used < self.body.len() => {
                Err("bytes follow the last record")
            }
            other => other,
        };
        let record = result.map_err(|what| {
            self.index = self.header.record_count;
            BatchError::MalformedRecord { index, what }
        })?;
        drop(self.body.split_to(used));
        Ok(record)
    }

    fn record(&self, frame: &Frame<'_>) -> Record {
        let share = |part: &[u8]| self.body.slice_ref(part);
        Record {
            offset: self.header.base_offset.saturating_add(i64::from(frame.offset_delta)),
            timestamp_ms: timestamp_of(&self.header, frame.timestamp_delta),
            key: frame.key.map(share),
            value: frame.value.map(share),
            headers: read_headers(frame, share),
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.index < self.header.record_count).then(|| self.step())
    }
}

/// The timestamp of a record with this delta.
pub(crate) fn timestamp_of(header: &BatchHeader, delta: i64) -> TimestampMs {
    match header.attributes.timestamp_type() {
        TimestampType::LogAppend => header.max_timestamp,
        TimestampType::Create => header.base_timestamp.wrapping_add(delta),
    }
}

/// The frame's headers have been checked, so the loop stops early for none.
fn read_headers(frame: &Frame<'_>, share: impl Fn(&[u8]) -> Bytes) -> Vec<RecordHeader> {
    let mut reader = Reader::new(frame.headers);
    let mut headers = Vec::new();
    for _ in 0..frame.header_count {
        let (Some(Some(key)), Some(value)) = (reader.nullable_bytes(), reader.nullable_bytes()) else {
            break;
        };
        headers.push(RecordHeader { key: share(key), value: value.map(&share) });
    }
    headers
}
