//! The response to Fetch, encoded by hand: a general encoder would copy the records.
//!
//! Source: FetchResponse of the Kafka protocol guide, versions 4 to 18. A test compares every version with another
//! encoder, byte for byte.

use annals_broker::StoredRecords;
use annals_broker::api::fetch::{AbortedTransaction, Fetched};
use annals_broker::api::topics::{Isolation, TopicRef};
use bytes::{BufMut, BytesMut};
use kafka_protocol::ResponseError;

use crate::apis::values::NO_ERROR;
use crate::apis::{patch_size, put_head};
use crate::rope::{Rope, RopeBuilder};

use super::Outcome;
use super::memory::Sources;
use super::session::Wanted;

/// Compact lengths and tagged fields.
const FLEXIBLE_FROM: i16 = 12;

/// The fields in front of the partitions, and what decides about the others.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) error_code: i16,
    pub(super) session_id: i32,
    pub(super) isolation: Isolation,
}

/// Encodes a framed response. Neighbours of the same topic share its entry.
pub(super) fn response(head: &Head, partitions: &[(&Wanted, &Outcome)], sources: &impl Sources) -> Rope {
    let Head { version, isolation, .. } = *head;
    let mut writer = Writer { version, isolation, sources, out: RopeBuilder::default() };
    writer.put_body(head, partitions);
    let body = writer.out.finish();
    let mut frame = BytesMut::with_capacity(16);
    put_head(&mut frame, head.correlation_id, head.version >= FLEXIBLE_FROM);
    let size = frame.len() - size_of::<i32>() + body.len();
    patch_size(&mut frame, size);
    let mut rope = Rope::from(frame.freeze());
    rope.append(body);
    rope
}

struct Writer<'a, S> {
    version: i16,
    isolation: Isolation,
    sources: &'a S,
    out: RopeBuilder,
}

impl<S: Sources> Writer<'_, S> {
    fn put_body(&mut self, head: &Head, partitions: &[(&Wanted, &Outcome)]) {
        let buffer = self.out.buffer();
        buffer.reserve(64 * (partitions.len() + 1));
        buffer.put_i32(0);
        if head.version >= 7 {
            buffer.put_i16(head.error_code);
            buffer.put_i32(head.session_id);
        }
        let topics = || partitions.chunk_by(|(one, _), (other, _)| one.topic == other.topic);
        self.put_count(topics().count());
        for topic in topics() {
            self.put_topic(topic);
        }
        self.put_no_tags();
    }

    fn put_topic(&mut self, partitions: &[(&Wanted, &Outcome)]) {
        match &partitions[0].0.topic {
            TopicRef::Name(name) => self.put_name(name),
            TopicRef::Id(id) => self.out.buffer().put_slice(id.as_bytes()),
        }
        self.put_count(partitions.len());
        for (wanted, outcome) in partitions {
            match outcome {
                Ok(fetched) => self.put_fetched(wanted, fetched),
                Err(error) => self.put_error(wanted.partition, *error),
            }
        }
        self.put_no_tags();
    }

    fn put_fetched(&mut self, wanted: &Wanted, fetched: &Fetched) {
        let Fetched { high_watermark, last_stable_offset, log_start_offset, records, stored, aborted } =
            fetched;
        self.put_offsets(
            wanted.partition,
            NO_ERROR,
            [*high_watermark, *last_stable_offset, *log_start_offset],
        );
        match self.isolation {
            Isolation::ReadUncommitted => self.put_length(None),
            Isolation::ReadCommitted => self.put_aborted(aborted),
        }
        self.put_replica();
        self.put_length(Some(fetched.bytes()));
        match stored {
            Some(stored) => self.put_stored(wanted, stored),
            None => self.out.records(records, || self.sources.source(wanted)),
        }
        self.put_no_tags();
    }

    fn put_stored(&mut self, wanted: &Wanted, stored: &StoredRecords) {
        let Some((offset, _)) = stored.parts().next() else { return };
        self.out.unread(offset, stored.bytes(), self.sources.stored(wanted, stored));
    }

    fn put_error(&mut self, partition: i32, error: ResponseError) {
        self.put_offsets(partition, error.code(), [-1; 3]);
        self.put_count(0);
        self.put_replica();
        self.put_length(Some(0));
        self.put_no_tags();
    }

    fn put_offsets(&mut self, partition: i32, code: i16, [high, stable, start]: [i64; 3]) {
        let buffer = self.out.buffer();
        buffer.put_i32(partition);
        buffer.put_i16(code);
        buffer.put_i64(high);
        buffer.put_i64(stable);
        if self.version >= 5 {
            buffer.put_i64(start);
        }
    }

    fn put_aborted(&mut self, aborted: &[AbortedTransaction]) {
        self.put_count(aborted.len());
        for transaction in aborted {
            self.out.buffer().put_i64(transaction.producer_id);
            self.out.buffer().put_i64(transaction.first_offset);
            self.put_no_tags();
        }
    }

    /// There is no replica that would be better to read from.
    fn put_replica(&mut self) {
        if self.version >= 11 {
            self.out.buffer().put_i32(-1);
        }
    }

    fn put_name(&mut self, name: &str) {
        if self.is_flexible() {
            self.put_length(Some(name.len()));
        } else {
            // Names came with this length, or are at most 249 bytes long.
            self.out.buffer().put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        }
        self.out.buffer().put_slice(name.as_bytes());
    }

    fn put_count(&mut self, count: usize) {
        self.put_length(Some(count));
    }

    /// The length of an array or of bytes; `None` is null. All are far below 2 GiB: answers are limited.
    fn put_length(&mut self, length: Option<usize>) {
        if self.is_flexible() {
            let compact = length.map_or(0, |length| u32::try_from(length + 1).unwrap_or(u32::MAX));
            put_unsigned_varint(self.out.buffer(), compact);
        } else {
            let length = length.map_or(-1, |length| i32::try_from(length).unwrap_or(i32::MAX));
            self.out.buffer().put_i32(length);
        }
    }

    fn put_no_tags(&mut self) {
        if self.is_flexible() {
            self.out.buffer().put_u8(0);
        }
    }

    fn is_flexible(&self) -> bool {
        self.version >= FLEXIBLE_FROM
    }
}

fn put_unsigned_varint(buffer: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        buffer.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

#[cfg(test)]
mod tests;
