//! Fields of a flexible version, for the versions of requests that the codec does not know.
//!
//! Made for bodies that have passed the shape check, so that their counts can be trusted. Unknown tagged fields are
//! skipped. Source: the Kafka protocol guide, "Protocol primitive types"; KIP-482 (tagged fields).

use annals_clock::Uuid;
use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use crate::cursor::{Cursor, Truncated};

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field is cut short, null where it must not be, or not UTF-8")]
pub(crate) struct Malformed;

impl From<Truncated> for Malformed {
    fn from(_: Truncated) -> Self {
        Self
    }
}

/// Reads fields one after the other.
pub(crate) struct Fields<'a>(Cursor<'a>);

impl<'a> Fields<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self(Cursor::new(body))
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.0.i8()? != 0)
    }

    pub(crate) fn int32(&mut self) -> Result<i32, Malformed> {
        Ok(self.0.i32()?)
    }

    pub(crate) fn int64(&mut self) -> Result<i64, Malformed> {
        Ok(self.0.i64()?)
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, Malformed> {
        Uuid::from_slice(self.0.take(size_of::<Uuid>())?).map_err(|_| Malformed)
    }

    pub(crate) fn string(&mut self) -> Result<StrBytes, Malformed> {
        self.nullable_string()?.ok_or(Malformed)
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<StrBytes>, Malformed> {
        let Some(length) = self.length()? else { return Ok(None) };
        let text = Bytes::copy_from_slice(self.0.take(length)?);
        StrBytes::from_utf8(text).map(Some).map_err(|_| Malformed)
    }

    pub(crate) fn array<T>(
        &mut self,
        element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        self.nullable_array(element)?.ok_or(Malformed)
    }

    pub(crate) fn nullable_array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<Vec<T>>, Malformed> {
        let Some(length) = self.length()? else { return Ok(None) };
        (0..length).map(|_| element(self)).collect::<Result<_, _>>().map(Some)
    }

    /// At the end of each structure.
    pub(crate) fn skip_tags(&mut self) -> Result<(), Malformed> {
        for _ in 0..self.0.unsigned_varint()? {
            self.0.unsigned_varint()?;
            let size = self.0.unsigned_varint()?;
            self.0.take(size as usize)?;
        }
        Ok(())
    }

    /// A length is one more than it is, so that zero can be null.
    fn length(&mut self) -> Result<Option<usize>, Malformed> {
        Ok((self.0.unsigned_varint()? as usize).checked_sub(1))
    }
}

/// Writes what [`Fields`] reads, for tests that are clients. Lengths are small there: one byte is enough.
#[cfg(test)]
pub(crate) struct FieldWriter(pub(crate) bytes::BytesMut);

#[cfg(test)]
impl FieldWriter {
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn string(&mut self, text: Option<&str>) {
        self.length(text.map(str::len));
        self.put(text.unwrap_or_default().as_bytes());
    }

    pub(crate) fn array<T>(&mut self, elements: Option<&[T]>, mut put: impl FnMut(&mut Self, &T)) {
        self.length(elements.map(<[T]>::len));
        elements.unwrap_or_default().iter().for_each(|element| put(self, element));
    }

    pub(crate) fn no_tags(&mut self) {
        self.put(&[0]);
    }

    fn length(&mut self, length: Option<usize>) {
        let length = length.map_or(0, |length| length + 1);
        assert!(length < 0x80, "one byte is enough here");
        self.put(&[length as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_their_order() {
        let mut fields =
            Fields::new(b"\x04abc\x00\x03\0\0\0\x05\xff\xff\xff\xff\x00\x01\x02\x07\x01!\x00\x01");
        assert_eq!(fields.string().as_deref(), Ok("abc"));
        assert_eq!(fields.nullable_string(), Ok(None));
        assert_eq!(fields.array(Fields::int32), Ok(vec![5, -1]));
        assert_eq!(fields.nullable_array(Fields::bool), Ok(None));
        assert_eq!(fields.bool(), Ok(true));
        // Two tagged fields: number 7 of one byte, number 0 of one.
        assert_eq!(fields.skip_tags(), Err(Malformed), "the second has no content");
    }

    #[test]
    fn nulls_and_bytes_that_are_no_text_are_refused() {
        assert_eq!(Fields::new(b"\0").string(), Err(Malformed));
        assert_eq!(Fields::new(b"\0").array(Fields::bool), Err(Malformed));
        assert_eq!(Fields::new(b"\x02\xff").string(), Err(Malformed));
        assert_eq!(Fields::new(b"\x05abc").string(), Err(Malformed));
        assert_eq!(Fields::new(&[7; 15]).uuid(), Err(Malformed));
    }
}
