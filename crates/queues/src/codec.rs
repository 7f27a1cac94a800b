//! The encoding of what queues store: LEB128 numbers, text with its length, tagged values.
//!
//! Every record opens with the version of its encoding. Reading checks every length against what is there; nothing is
//! allocated on the word of a length alone. Tags are persisted: never change or reuse one.

use bytes::Bytes;

use crate::Text;
use crate::value::{DEPTH_MAX, Headers, Value};

/// Why stored bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end too soon, or say something that cannot be.
    #[error("malformed at {what}")]
    Malformed {
        /// The part that was to be read.
        what: &'static str,
    },
    /// A newer program wrote them.
    #[error("version {version} of {what} is not known")]
    Version {
        /// What it is.
        what: &'static str,
        /// The version found.
        version: u8,
    },
}

/// Appends to a buffer.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn start(version: u8) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(version);
        Self { bytes }
    }

    pub(crate) fn byte(&mut self, byte: u8) -> &mut Self {
        self.bytes.push(byte);
        self
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.byte(value.into())
    }

    pub(crate) fn number(&mut self, mut number: u64) -> &mut Self {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8)
    }

    pub(crate) fn signed(&mut self, number: i64) -> &mut Self {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned())
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64).raw(bytes)
    }

    pub(crate) fn text(&mut self, text: &Text) -> &mut Self {
        self.blob(text.as_bytes())
    }

    pub(crate) fn optional<T>(&mut self, value: Option<&T>, put: impl FnOnce(&mut Self, &T)) -> &mut Self {
        self.bool(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
        self
    }

    pub(crate) fn headers(&mut self, headers: &Headers) -> &mut Self {
        self.number(headers.len() as u64);
        for (name, value) in headers {
            self.text(name).value(value);
        }
        self
    }

    pub(crate) fn value(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::Null => self.byte(0),
            Value::Bool(value) => self.byte(1).bool(*value),
            Value::I8(number) => self.byte(2).byte(number.cast_unsigned()),
            Value::U8(number) => self.byte(3).byte(*number),
            Value::I16(number) => self.byte(4).signed((*number).into()),
            Value::U16(number) => self.byte(5).number((*number).into()),
            Value::I32(number) => self.byte(6).signed((*number).into()),
            Value::U32(number) => self.byte(7).number((*number).into()),
            Value::I64(number) => self.byte(8).signed(*number),
            Value::U64(number) => self.byte(9).number(*number),
            Value::F32(number) => self.byte(10).raw(&number.to_bits().to_le_bytes()),
            Value::F64(number) => self.byte(11).raw(&number.to_bits().to_le_bytes()),
            Value::Decimal { scale, unscaled } => self.byte(12).byte(*scale).signed((*unscaled).into()),
            Value::Text(text) => self.byte(13).text(text),
            Value::Binary(bytes) => self.byte(14).blob(bytes),
            Value::Timestamp(seconds) => self.byte(15).number(*seconds),
            Value::TimestampMs(ms) => self.byte(16).signed(*ms),
            Value::List(values) => {
                self.byte(17).number(values.len() as u64);
                values.iter().fold(self, Self::value)
            }
            Value::Table(headers) => self.byte(18).headers(headers),
        }
    }

    pub(crate) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).into()
    }
}

/// Reads from a buffer; texts and bytes share its memory.
#[derive(Debug)]
pub(crate) struct Reader {
    rest: Bytes,
}

type Read<T> = Result<T, DecodeError>;

impl Reader {
    /// Reads the version first, which must be `known`.
    pub(crate) fn start(bytes: Bytes, what: &'static str, known: u8) -> Read<Self> {
        let mut reader = Self { rest: bytes };
        let version = reader.byte(what)?;
        if version == known { Ok(reader) } else { Err(DecodeError::Version { what, version }) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Read<u8> {
        let (&byte, _) = self.rest.split_first().ok_or(DecodeError::Malformed { what })?;
        bytes::Buf::advance(&mut self.rest, 1);
        Ok(byte)
    }

    pub(crate) fn bool(&mut self, what: &'static str) -> Read<bool> {
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Malformed { what }),
        }
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Read<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DecodeError::Malformed { what })
    }

    pub(crate) fn signed(&mut self, what: &'static str) -> Read<i64> {
        let raw = self.number(what)?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self, what: &'static str) -> Read<T> {
        T::try_from(self.number(what)?).map_err(|_| DecodeError::Malformed { what })
    }

    fn narrow_signed<T: TryFrom<i64>>(&mut self, what: &'static str) -> Read<T> {
        T::try_from(self.signed(what)?).map_err(|_| DecodeError::Malformed { what })
    }

    /// A number of things that follow, each at least `size_min` bytes.
    pub(crate) fn count(&mut self, what: &'static str, size_min: usize) -> Read<usize> {
        let count = self.number(what)?;
        let fits = count.checked_mul(size_min as u64).is_some_and(|needed| needed <= self.rest.len() as u64);
        if fits { Ok(count as usize) } else { Err(DecodeError::Malformed { what }) }
    }

    pub(crate) fn raw(&mut self, len: usize, what: &'static str) -> Read<Bytes> {
        if len > self.rest.len() {
            return Err(DecodeError::Malformed { what });
        }
        Ok(self.rest.split_to(len))
    }

    pub(crate) fn blob(&mut self, what: &'static str) -> Read<Bytes> {
        let len = self.count(what, 1)?;
        self.raw(len, what)
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Read<Text> {
        self.blob(what).map(Text::from)
    }

    pub(crate) fn optional<T>(
        &mut self,
        what: &'static str,
        get: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<Option<T>> {
        if self.bool(what)? { get(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn headers(&mut self, what: &'static str) -> Read<Headers> {
        self.headers_at(what, 0)
    }

    fn headers_at(&mut self, what: &'static str, depth: usize) -> Read<Headers> {
        if depth > DEPTH_MAX {
            return Err(DecodeError::Malformed { what });
        }
        let count = self.count(what, 2)?;
        let mut headers = Headers(Vec::with_capacity(count.min(64)));
        for _ in 0..count {
            headers.0.push((self.text(what)?, self.value(what, depth)?));
        }
        Ok(headers)
    }

    fn value(&mut self, what: &'static str, depth: usize) -> Read<Value> {
        Ok(match self.byte(what)? {
            0 => Value::Null,
            1 => Value::Bool(self.bool(what)?),
            2 => Value::I8(self.byte(what)?.cast_signed()),
            3 => Value::U8(self.byte(what)?),
            4 => Value::I16(self.narrow_signed(what)?),
            5 => Value::U16(self.narrow(what)?),
            6 => Value::I32(self.narrow_signed(what)?),
            7 => Value::U32(self.narrow(what)?),
            8 => Value::I64(self.signed(what)?),
            9 => Value::U64(self.number(what)?),
            10 => Value::F32(f32::from_bits(u32::from_le_bytes(self.array(what)?))),
            11 => Value::F64(f64::from_bits(u64::from_le_bytes(self.array(what)?))),
            12 => Value::Decimal { scale: self.byte(what)?, unscaled: self.narrow_signed(what)? },
            13 => Value::Text(self.text(what)?),
            14 => Value::Binary(self.blob(what)?),
            15 => Value::Timestamp(self.number(what)?),
            16 => Value::TimestampMs(self.signed(what)?),
            17 => Value::List(self.list(what, depth + 1)?),
            18 => Value::Table(self.headers_at(what, depth + 1)?),
            _ => return Err(DecodeError::Malformed { what }),
        })
    }

    fn list(&mut self, what: &'static str, depth: usize) -> Read<Vec<Value>> {
        if depth > DEPTH_MAX {
            return Err(DecodeError::Malformed { what });
        }
        let count = self.count(what, 1)?;
        let mut values = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            values.push(self.value(what, depth)?);
        }
        Ok(values)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Read<[u8; N]> {
        let raw = self.raw(N, what)?;
        raw.first_chunk().copied().ok_or(DecodeError::Malformed { what })
    }

    pub(crate) fn finish(self, what: &'static str) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Malformed { what }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_kinds() -> Headers {
        let inner: Headers =
            [("deep", Value::List(vec![Value::Null, Value::Bool(true)]))].into_iter().collect();
        [
            ("a", Value::I8(-128)),
            ("b", Value::U8(255)),
            ("c", Value::I16(i16::MIN)),
            ("d", Value::U16(u16::MAX)),
            ("e", Value::I32(i32::MIN)),
            ("f", Value::U32(u32::MAX)),
            ("g", Value::I64(i64::MIN)),
            ("h", Value::U64(u64::MAX)),
            ("i", Value::F32(1.5)),
            ("j", Value::F64(-0.25)),
            ("k", Value::Decimal { scale: 2, unscaled: -12345 }),
            ("l", Value::from("text")),
            ("l", Value::Binary(Bytes::from_static(&[0, 255]))),
            ("n", Value::Timestamp(1_700_000_000)),
            ("o", Value::TimestampMs(-1)),
            ("p", Value::Table(inner)),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn values_come_back_as_they_were() {
        let bytes = Writer::start(1).headers(&all_kinds()).finish();
        let mut reader = Reader::start(bytes, "test", 1).unwrap();
        assert_eq!(reader.headers("test").unwrap(), all_kinds());
        reader.finish("test").unwrap();
    }

    #[test]
    fn no_cut_or_changed_byte_is_believed_or_panics() {
        let bytes = Writer::start(1).headers(&all_kinds()).finish();
        for end in 1..bytes.len() {
            let mut reader = Reader::start(bytes.slice(..end), "test", 1).unwrap();
            assert!(reader.headers("test").is_err(), "cut at {end}");
        }
        for place in 1..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[place] ^= 1 << bit;
                let mut reader = Reader::start(changed.into(), "test", 1).unwrap();
                let _ = reader.headers("test");
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        let mut value = Value::Null;
        for _ in 0..=DEPTH_MAX + 1 {
            value = Value::List(vec![value]);
        }
        let headers: Headers = [("deep", value)].into_iter().collect();
        let bytes = Writer::start(1).headers(&headers).finish();
        assert!(Reader::start(bytes, "test", 1).unwrap().headers("test").is_err());
    }
}
