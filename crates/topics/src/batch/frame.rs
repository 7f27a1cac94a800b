//! One record's bytes, taken apart without copying.
//!
//! Layout (Kafka protocol guide, "Record"): length, attributes (one unused byte), timestamp delta, offset delta, key,
//! value, headers; numbers are zigzag varints.

use super::BatchError;
use super::varint::Reader;

/// One record of an expanded batch, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// The record's bytes, length included.
    pub(crate) raw: &'a [u8],
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) header_count: i32,
    /// The headers' bytes, checked.
    pub(crate) headers: &'a [u8],
    /// Offset delta, key, value and headers as they stand, for writing the record with another timestamp delta.
    pub(crate) after_timestamp: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes one record off the front of `reader`, or says what is wrong with it.
    #[inline]
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, &'static str> {
        let start = reader.rest();
        let length = reader.varint().ok_or("its length is not a number")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let inner = reader.take(length).ok_or("it is longer than the batch")?;
        let raw = &start[..start.len() - reader.rest().len()];
        Self::read_inner(raw, Reader::new(inner)).unwrap_or(Err("a field runs past its end"))
    }

    /// `None` where a field runs past the record's end.
    #[inline]
    fn read_inner(raw: &'a [u8], mut inner: Reader<'a>) -> Option<Result<Self, &'static str>> {
        let _attributes = inner.byte()?;
        let timestamp_delta = inner.varlong()?;
        let after_timestamp = inner.rest();
        let offset_delta = inner.varint()?;
        let key = inner.nullable_bytes()?;
        let value = inner.nullable_bytes()?;
        let header_count = inner.varint()?;
        let headers = inner.rest();
        for _ in 0..header_count {
            inner.nullable_bytes()?.filter(|key| std::str::from_utf8(key).is_ok())?;
            inner.nullable_bytes()?;
        }
        if header_count < 0 || !inner.is_empty() {
            return Some(Err("it has bytes behind its headers"));
        }
        let frame =
            Self { raw, timestamp_delta, offset_delta, key, value, header_count, headers, after_timestamp };
        Some(Ok(frame))
    }
}

/// The frames of an expanded batch, in order. Stops after the first error, or after `count` records.
pub(crate) struct Frames<'a> {
    reader: Reader<'a>,
    index: i32,
    count: i32,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(body: &'a [u8], count: i32) -> Self {
        Self { reader: Reader::new(body), index: 0, count }
    }

    fn step(&mut self) -> Result<Frame<'a>, BatchError> {
        let index = self.index;
        self.index += 1;
        let frame = Frame::read(&mut self.reader);
        let last = self.index == self.count;
        match frame {
            Ok(_) if last && !self.reader.is_empty() => Err("bytes follow the last record"),
            other => other,
        }
        .map_err(|what| {
            self.index = self.count;
            BatchError::MalformedRecord { index, what }
        })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        (self.index < self.count).then(|| self.step())
    }
}
