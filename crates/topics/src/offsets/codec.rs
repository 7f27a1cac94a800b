//! The byte-level encoding that group and offset records share: LEB128 numbers and length-prefixed fields.
//!
//! Invariant: nothing is allocated for a length or a count before it has been checked against the bytes that are
//! left, so that damaged or hostile input costs no more memory than its own size. A decoder that succeeds has
//! consumed every byte.

use bytes::{BufMut, Bytes};
use uuid::Uuid;

/// Why bytes could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record ends in the middle of a field, or a length says more than there is.
    #[error("the record ends before its {field}")]
    Truncated {
        /// The field that was being read.
        field: &'static str,
    },
    /// A field has a value that no encoder writes.
    #[error("the record has an invalid {field}")]
    Invalid {
        /// The field that was being read.
        field: &'static str,
    },
    /// The record was written by a later version, or is no record of this kind.
    #[error("the record has version {version}, which this server does not know")]
    UnknownVersion {
        /// The version found.
        version: u8,
    },
}

/// Reads the fields of one record from front to back.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let (&first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(first)
    }

    /// Reads the version that a record opens with.
    pub(crate) fn version(&mut self, known: u8) -> Result<(), DecodeError> {
        match self.byte("version")? {
            version if version == known => Ok(()),
            version => Err(DecodeError::UnknownVersion { version }),
        }
    }

    fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn unsigned(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                return Err(DecodeError::Invalid { field });
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid { field })
    }

    pub(crate) fn signed(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        let raw = self.unsigned(field)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    pub(crate) fn signed_32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        i32::try_from(self.signed(field)?).map_err(|_| DecodeError::Invalid { field })
    }

    pub(crate) fn uuid(&mut self, field: &'static str) -> Result<Uuid, DecodeError> {
        let bytes = self.take(16, field)?;
        Uuid::from_slice(bytes).map_err(|_| DecodeError::Invalid { field })
    }

    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.unsigned(field)?;
        let length = usize::try_from(length).map_err(|_| DecodeError::Truncated { field })?;
        self.take(length, field)
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| DecodeError::Invalid { field })
    }

    /// Reads how many elements follow, each of which takes at least one byte.
    pub(crate) fn count(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        match usize::try_from(self.unsigned(field)?) {
            Ok(count) if count <= self.rest.len() => Ok(count),
            _ => Err(DecodeError::Truncated { field }),
        }
    }

    /// What has not been read, as text: for a last field that needs no length.
    pub(crate) fn rest_as_text(self, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.rest).map_err(|_| DecodeError::Invalid { field })
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Invalid { field: "length" }) }
    }
}

/// Writes the fields of one record from front to back.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn start(first: u8) -> Self {
        Self(vec![first])
    }

    pub(crate) fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.put_u8(byte);
        self
    }

    pub(crate) fn unsigned(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8)
    }

    pub(crate) fn signed(&mut self, value: i64) -> &mut Self {
        self.unsigned((value << 1 ^ value >> 63) as u64)
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.put_slice(bytes);
        self
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.unsigned(bytes.len() as u64).raw(bytes)
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn finish(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DecodeError, Reader, Writer};

    #[test]
    fn numbers_are_leb128_with_zigzag() {
        assert_eq!(Writer::default().unsigned(300).finish().as_ref(), [0xac, 0x02]);
        assert_eq!(Writer::default().signed(-1).finish().as_ref(), [0x01]);
        assert_eq!(Writer::default().signed(64).finish().as_ref(), [0x80, 0x01]);
    }

    #[test]
    fn a_number_that_overflows_is_refused() {
        let mut reader = Reader::new(&[0xff; 11]);
        assert_eq!(reader.unsigned("n"), Err(DecodeError::Invalid { field: "n" }));
        let mut eleven_bits = [0xff_u8; 10];
        eleven_bits[9] = 0x02;
        assert_eq!(Reader::new(&eleven_bits).unsigned("n"), Err(DecodeError::Invalid { field: "n" }));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_before_anything_is_allocated() {
        let huge = Writer::default().unsigned(u64::MAX).finish();
        assert_eq!(Reader::new(&huge).bytes("f"), Err(DecodeError::Truncated { field: "f" }));
        assert_eq!(Reader::new(&huge).count("f"), Err(DecodeError::Truncated { field: "f" }));
    }

    proptest! {
        #[test]
        fn numbers_round_trip(unsigned: u64, signed: i64) {
            let bytes = Writer::default().unsigned(unsigned).signed(signed).finish();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.unsigned("a"), Ok(unsigned));
            prop_assert_eq!(reader.signed("b"), Ok(signed));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}
