//! Batches of our own: from records of other protocols, internal state, transaction markers, and what compaction
//! leaves.

use bytes::Bytes;

use super::{
    Attributes, Batch, BatchHeader, Codec, Compression, CompressionError, NO_PRODUCER_ID, NO_SEQUENCE,
    compress, varint,
};
use crate::{ErrorKind, NO_TIMESTAMP, Offset, TimestampMs};

/// The idempotent producer of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence number of the batch's first record.
    pub base_sequence: i32,
}

/// What a new batch says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BatchOptions {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// How to compress the records.
    pub codec: Codec,
    /// Who sent it, if it was an idempotent producer.
    pub producer: Option<Producer>,
    /// Whether it is part of a transaction.
    pub transactional: bool,
}

/// A record to write, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewRecord<'a> {
    /// Milliseconds since the epoch, or -1.
    pub timestamp_ms: TimestampMs,
    /// The key, if any.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Headers in order; the same key may occur more than once.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl NewRecord<'_> {
    /// A record without key, value and headers; fill in the rest with `..`.
    pub fn at(timestamp_ms: TimestampMs) -> Self {
        Self { timestamp_ms, key: None, value: None, headers: &[] }
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marker {
    /// Its records never count.
    Abort,
    /// Its records count.
    Commit,
}

/// Why a batch could not be built.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// Lengths in a batch are signed 32-bit numbers.
    #[error("record batch would pass 2 GiB, or 2^31 records or offsets")]
    TooLarge,
    /// Offsets only rise within a batch.
    #[error("offset {offset} does not come after the batch's last offset {last}")]
    OffsetNotRising {
        /// The offset asked for.
        offset: Offset,
        /// The batch's last so far, or the one before its base offset.
        last: Offset,
    },
    /// The codec failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

impl BuildError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge => ErrorKind::FixInput,
            Self::OffsetNotRising { .. } => ErrorKind::Bug,
            Self::Compression(error) => error.kind(),
        }
    }
}

/// Writes one batch, record by record.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    body: Vec<u8>,
    count: i32,
    next_offset: Offset,
    base_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
}

impl BatchBuilder {
    /// A batch without records yet.
    pub fn new(options: BatchOptions) -> Self {
        let next_offset = options.base_offset;
        let (base_timestamp, max_timestamp) = (NO_TIMESTAMP, NO_TIMESTAMP);
        Self { options, body: Vec::new(), count: 0, next_offset, base_timestamp, max_timestamp }
    }

    /// Adds a record at the next offset.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`].
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<(), BuildError> {
        self.push_at(self.next_offset, record)
    }

    /// Adds a record at `offset`, leaving a gap where that is further on than the next.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`], [`BuildError::OffsetNotRising`].
    pub fn push_at(&mut self, offset: Offset, record: &NewRecord<'_>) -> Result<(), BuildError> {
        if offset < self.next_offset {
            return Err(BuildError::OffsetNotRising { offset, last: self.next_offset - 1 });
        }
        let offset_delta =
            i32::try_from(offset - self.options.base_offset).map_err(|_| BuildError::TooLarge)?;
        let base_timestamp = if self.count == 0 { record.timestamp_ms } else { self.base_timestamp };
        let timestamp_delta = record.timestamp_ms.wrapping_sub(base_timestamp);
        let length = record_len(record, timestamp_delta, offset_delta);
        if self.body.len().saturating_add(length) > i32::MAX as usize / 2 || self.count == i32::MAX {
            return Err(BuildError::TooLarge);
        }
        put_record(&mut self.body, length, record, timestamp_delta, offset_delta);
        self.base_timestamp = base_timestamp;
        self.max_timestamp = self.max_timestamp.max(record.timestamp_ms);
        self.next_offset = offset + 1;
        self.count += 1;
        Ok(())
    }

    /// Records so far.
    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// Bytes of the records so far, before compression.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// The finished batch. One without a record is legal only in storage; see [`Batch::emptied`].
    ///
    /// # Errors
    /// [`BuildError::Compression`].
    pub fn build(self) -> Result<Batch, BuildError> {
        let header = self.header();
        let body = match self.options.codec.compression {
            Compression::None => self.body,
            _ => compress(self.options.codec, &self.body)?,
        };
        Batch::sealed(header, body.into())
    }

    fn header(&self) -> BatchHeader {
        let attributes = Attributes::default()
            .with_compression(self.options.codec.compression)
            .with_transactional(self.options.transactional);
        let none = Producer { id: NO_PRODUCER_ID, epoch: -1, base_sequence: NO_SEQUENCE };
        let producer = self.options.producer.unwrap_or(none);
        BatchHeader {
            base_offset: self.options.base_offset,
            length: 0,
            leader_epoch: crate::partition::LEADER_EPOCH,
            crc: 0,
            attributes,
            last_offset_delta: (self.next_offset - self.options.base_offset - 1).max(0) as i32,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.base_sequence,
            record_count: self.count,
        }
    }
}

impl Batch {
    /// A transaction marker: the control batch that ends `producer`'s transaction in one partition (KIP-98).
    ///
    /// # Errors
    /// [`BuildError::Compression`] never happens here; the type is that of [`BatchBuilder::build`].
    pub fn marker(
        base_offset: Offset,
        producer: Producer,
        marker: Marker,
        coordinator_epoch: i32,
        now_ms: TimestampMs,
    ) -> Result<Self, BuildError> {
        let producer = Producer { base_sequence: NO_SEQUENCE, ..producer };
        let options = BatchOptions {
            base_offset,
            codec: Codec::default(),
            producer: Some(producer),
            transactional: true,
        };
        let mut builder = BatchBuilder::new(options);
        let kind: i16 = if marker == Marker::Commit { 1 } else { 0 };
        let key = [0_i16.to_be_bytes(), kind.to_be_bytes()].concat();
        let value = [&0_i16.to_be_bytes()[..], &coordinator_epoch.to_be_bytes()].concat();
        builder.push(&NewRecord { key: Some(&key), value: Some(&value), ..NewRecord::at(now_ms) })?;
        let Self { mut header, body } = builder.build()?;
        header.attributes = header.attributes.with_control(true);
        Self::sealed(header, body)
    }

    /// The batch without its records: offsets, producer and largest timestamp stay, so that the sequence numbers of
    /// its producer are still known after compaction.
    pub fn emptied(&self) -> Self {
        let attributes =
            self.header.attributes.with_compression(Compression::None).with_delete_horizon(false);
        let header = BatchHeader {
            attributes,
            record_count: 0,
            base_timestamp: self.header.max_timestamp,
            ..self.header
        };
        match Self::sealed(header, Bytes::new()) {
            Ok(batch) => batch,
            Err(_) => unreachable!("a batch without records is 61 bytes long"),
        }
    }
}

/// Bytes of a record behind its length field.
fn record_len(record: &NewRecord<'_>, timestamp_delta: i64, offset_delta: i32) -> usize {
    let headers: usize =
        record.headers.iter().map(|(key, value)| bytes_len(Some(key.as_bytes())) + bytes_len(*value)).sum();
    1 + varint::len(timestamp_delta)
        + varint::len(i64::from(offset_delta))
        + bytes_len(record.key)
        + bytes_len(record.value)
        + varint::len(record.headers.len() as i64)
        + headers
}

fn bytes_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::len(bytes.len() as i64) + bytes.len())
}

fn put_record(
    buffer: &mut Vec<u8>,
    length: usize,
    record: &NewRecord<'_>,
    timestamp_delta: i64,
    offset_delta: i32,
) {
    buffer.reserve(length + varint::len(length as i64));
    varint::put(buffer, length as i64);
    buffer.push(0); // attributes: none are defined
    varint::put(buffer, timestamp_delta);
    varint::put(buffer, i64::from(offset_delta));
    put_bytes(buffer, record.key);
    put_bytes(buffer, record.value);
    varint::put(buffer, record.headers.len() as i64);
    for (key, value) in record.headers {
        put_bytes(buffer, Some(key.as_bytes()));
        put_bytes(buffer, *value);
    }
}

fn put_bytes(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put(buffer, -1),
        Some(bytes) => {
            varint::put(buffer, bytes.len() as i64);
            buffer.extend_from_slice(bytes);
        }
    }
}
