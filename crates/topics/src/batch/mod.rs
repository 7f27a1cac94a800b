//! Kafka record batches, magic 2: read, check, build, compress.
//!
//! A batch is the unit of everything: it is produced, stored and fetched as one piece, and its payload is never copied
//! or re-encoded on the way. [`accept`] is the gate for bytes from a client; [`Batch::parse`] reads what is already
//! stored; [`BatchBuilder`] writes batches of our own; [`Batch::records`] looks inside.
//!
//! Source: Kafka protocol guide, "Record Batch"; KIP-98 (format), KIP-534 (delete horizon).
//!
//! ```
//! use annals_topics::batch::{Batch, BatchBuilder, ExpandLimits, NewRecord};
//!
//! let mut builder = BatchBuilder::new(Default::default());
//! builder.push(&NewRecord { key: Some(b"order-7"), value: Some(b"paid"), ..NewRecord::at(1_700_000_000_000) })?;
//! let stored = builder.build()?.encode();
//!
//! let batch = Batch::parse(stored)?;
//! let record = batch.records(&ExpandLimits::default())?.next().expect("one record")?;
//! assert_eq!((record.offset, record.key.as_deref()), (0, Some(&b"order-7"[..])));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accept;
mod builder;
mod checksum;
mod compression;
mod error;
mod frame;
mod header;
mod lookup;
mod record;
pub(crate) mod varint;

use bytes::Bytes;

pub use accept::{AcceptRules, CompressionPolicy, MISSING_KEYS_MAX, RecordCheck, TimestampRules, accept};
pub use builder::{BatchBuilder, BatchOptions, BuildError, Marker, NewRecord, Producer};
pub use checksum::{crc_of_both, stored_crc};
pub use compression::{Codec, Compression, ExpandLimits, compress, expand};
pub use error::{BatchError, CompressionError};
pub(crate) use frame::{Frame, Frames};
pub(crate) use header::sequence_plus;
pub use header::{
    Attributes, BatchHeader, HEADER_LEN, LENGTH_END, NO_PRODUCER_ID, NO_SEQUENCE, PREFIX_LEN, TimestampType,
};
pub use lookup::{Found, find_at_or_after, find_max_timestamp};
pub use record::{Record, RecordHeader, Records};

/// One record batch: its header as a value, its records as the bytes that they arrived in.
///
/// Cloning shares the records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The header.
    pub header: BatchHeader,
    /// The records, compressed or not: everything behind the header.
    pub body: Bytes,
}

impl Batch {
    /// Reads the one batch that `bytes` starts with, ignoring what follows it. The checksum is not verified: stored
    /// bytes have been, and [`Batch::verify`] does it again.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] and the errors of [`BatchHeader::parse`].
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let mut bytes = bytes;
        Self::split_off(&mut bytes)
    }

    /// Takes the first batch off the front of `bytes`.
    ///
    /// # Errors
    /// As [`Batch::parse`]; `bytes` is then left as it was.
    pub fn split_off(bytes: &mut Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let (needed, left) = (header.size_bytes(), bytes.len());
        if needed > left {
            return Err(BatchError::Truncated { needed, left });
        }
        let body = bytes.split_to(needed).slice(HEADER_LEN..);
        Ok(Self { header, body })
    }

    /// Computes the checksum and compares it with the header's.
    ///
    /// # Errors
    /// [`BatchError::ChecksumMismatch`].
    pub fn verify(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.header.crc, self.computed_crc());
        if stored == computed { Ok(()) } else { Err(BatchError::ChecksumMismatch { stored, computed }) }
    }

    fn computed_crc(&self) -> u32 {
        let head = crc32c::crc32c(&self.header.to_bytes()[PREFIX_LEN..]);
        crc32c::crc32c_append(head, &self.body)
    }

    /// The records, one after the other, expanded within `limits` if they are compressed.
    ///
    /// # Errors
    /// [`BatchError::Compression`] and [`BatchError::UnknownCompression`]. Malformed records show while iterating.
    pub fn records(&self, limits: &ExpandLimits) -> Result<Records, BatchError> {
        Ok(Records::new(self.header, self.expanded_body(limits)?))
    }

    /// The records' bytes, expanded. Shares the batch's bytes if they are not compressed.
    pub(crate) fn expanded_body(&self, limits: &ExpandLimits) -> Result<Bytes, BatchError> {
        match self.header.attributes.compression()? {
            Compression::None => Ok(self.body.clone()),
            compression => Ok(expand(compression, &self.body, limits)?.into()),
        }
    }

    /// The batch in one piece of memory. Copies the records.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.body.len());
        bytes.extend_from_slice(&self.header.to_bytes());
        bytes.extend_from_slice(&self.body);
        bytes.into()
    }

    /// Puts `body` behind `header` and makes length and checksum right.
    pub(crate) fn sealed(header: BatchHeader, body: Bytes) -> Result<Self, BuildError> {
        let mut batch = Self { header, body };
        let length = batch.body.len() + HEADER_LEN - LENGTH_END;
        batch.header.length = u32::try_from(length)
            .ok()
            .filter(|length| *length <= i32::MAX as u32)
            .ok_or(BuildError::TooLarge)?;
        batch.header.crc = batch.computed_crc();
        Ok(batch)
    }
}
