//! A partition's applied state as bytes, so that a restart need not read the whole log.
//!
//! Derived state: a snapshot may be deleted at any time. It holds nothing that is in flight. Decoding is bounded by the
//! bytes at hand and refuses what does not add up.
//!
//! Version 1, big-endian: version (1 byte), log start, high watermark, applied bytes, offset and timestamp of the
//! largest timestamp (-1 and -1 for none), number of producers (4 bytes); for each its id, last activity, number of
//! batches (1 byte) and for each batch epoch, first and last sequence number, first and last offset, timestamp; at
//! last the CRC-32C of all this.

use std::collections::VecDeque;

use super::Partition;
use super::producer::{BATCHES_KEPT, PRODUCERS_MAX, Producer, Sequenced};
use crate::batch::Found;
use crate::{ErrorKind, Offset};

const VERSION: u8 = 1;

/// Why bytes are not a snapshot. The remedy is always to drop it and replay the log.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotError {
    /// Written by a version that this one does not know.
    #[error("partition snapshot has version {version}; this program reads version {VERSION}")]
    UnknownVersion {
        /// The version found.
        version: u8,
    },
    /// Damaged, cut short or contradictory.
    #[error("partition snapshot is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
}

impl SnapshotError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownVersion { .. } => ErrorKind::Unavailable,
            Self::Damaged { .. } => ErrorKind::Corrupt,
        }
    }
}

impl Partition {
    /// The applied state. What is in flight is left out.
    pub fn snapshot(&self) -> Vec<u8> {
        let max = self.max_timestamp.unwrap_or(Found { offset: -1, timestamp_ms: -1 });
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.log_start.to_be_bytes());
        out.extend_from_slice(&self.high_watermark.to_be_bytes());
        out.extend_from_slice(&self.applied_bytes.to_be_bytes());
        out.extend_from_slice(&max.offset.to_be_bytes());
        out.extend_from_slice(&max.timestamp_ms.to_be_bytes());
        let mut producers: Vec<_> =
            self.producers.by_id.iter().map(|(id, producer)| (*id, producer)).collect();
        producers.retain(|(_, producer)| self.durable(producer).next().is_some());
        producers.sort_unstable_by_key(|(id, _)| *id);
        out.extend_from_slice(&(producers.len() as u32).to_be_bytes());
        for (id, producer) in producers {
            self.put_producer(&mut out, id, producer);
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    fn durable<'a>(&self, producer: &'a Producer) -> impl Iterator<Item = &'a Sequenced> + use<'a> {
        let high_watermark = self.high_watermark;
        producer.batches.iter().filter(move |batch| batch.last_offset < high_watermark)
    }

    fn put_producer(&self, out: &mut Vec<u8>, id: i64, producer: &Producer) {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&producer.last_active_ms.to_be_bytes());
        out.push(self.durable(producer).count() as u8);
        for batch in self.durable(producer) {
            out.extend_from_slice(&batch.epoch.to_be_bytes());
            out.extend_from_slice(&batch.base_sequence.to_be_bytes());
            out.extend_from_slice(&batch.last_sequence.to_be_bytes());
            out.extend_from_slice(&batch.base_offset.to_be_bytes());
            out.extend_from_slice(&batch.last_offset.to_be_bytes());
            out.extend_from_slice(&batch.timestamp_ms.to_be_bytes());
        }
    }

    /// The state that [`Partition::snapshot`] wrote.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn restore(snapshot: &[u8]) -> Result<Self, SnapshotError> {
        let (bytes, crc) = snapshot.split_last_chunk::<4>().ok_or(damaged("it is cut short"))?;
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&version) => return Err(SnapshotError::UnknownVersion { version }),
            None => return Err(damaged("it is cut short")),
        }
        if crc32c::crc32c(bytes) != u32::from_be_bytes(*crc) {
            return Err(damaged("its checksum is wrong"));
        }
        read(&mut Fields(&bytes[1..])).ok_or(damaged("its fields contradict each other"))
    }
}

fn damaged(what: &'static str) -> SnapshotError {
    SnapshotError::Damaged { what }
}

fn read(fields: &mut Fields<'_>) -> Option<Partition> {
    let mut partition = Partition::starting_at(fields.i64()?);
    partition.advance_to(fields.i64()?);
    partition.applied_bytes = fields.i64()? as u64;
    let max = Found { offset: fields.i64()?, timestamp_ms: fields.i64()? };
    partition.max_timestamp = Some(max).filter(|max| max.offset >= 0);
    let count = fields.i32()?;
    // A producer takes 17 bytes and more, so the count is bounded by the bytes before anything is reserved.
    if usize::try_from(count).ok()? > (fields.0.len() / 17).min(2 * PRODUCERS_MAX) {
        return None;
    }
    for _ in 0..count {
        let (id, producer) = read_producer(fields, partition.high_watermark)?;
        partition.producers.by_id.insert(id, producer);
    }
    fields.0.is_empty().then_some(partition)
}

fn read_producer(fields: &mut Fields<'_>, high_watermark: Offset) -> Option<(i64, Producer)> {
    let (id, last_active_ms) = (fields.i64()?, fields.i64()?);
    let count = usize::from(fields.u8()?);
    if !(1..=BATCHES_KEPT).contains(&count) {
        return None;
    }
    let batches: VecDeque<_> = (0..count).map(|_| read_batch(fields)).collect::<Option<_>>()?;
    let in_order = batches.iter().zip(batches.iter().skip(1)).all(|(a, b)| a.last_offset < b.base_offset);
    let durable = batches
        .iter()
        .all(|batch| batch.base_offset <= batch.last_offset && batch.last_offset < high_watermark);
    (in_order && durable).then_some((id, Producer { last_active_ms, batches }))
}

fn read_batch(fields: &mut Fields<'_>) -> Option<Sequenced> {
    Some(Sequenced {
        epoch: i16::from_be_bytes(fields.take()?),
        base_sequence: fields.i32()?,
        last_sequence: fields.i32()?,
        base_offset: fields.i64()?,
        last_offset: fields.i64()?,
        timestamp_ms: fields.i64()?,
    })
}

/// Bytes left to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }
}
