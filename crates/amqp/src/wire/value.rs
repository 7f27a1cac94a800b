//! One value of a field table.
//!
//! The types are those of RabbitMQ's errata to AMQP 0-9-1, since the specification and the brokers had never agreed. The
//! names that errors call them by are RabbitMQ's too.

use bytes::{BufMut, Bytes, BytesMut};

use super::Malformed;
use super::cursor::{Cursor, put_long_string};
use super::table::Table;

/// A value. Strings and tables are shared with the frame that they came in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    /// The number of decimal places, and the digits.
    Decimal(u8, i32),
    /// UTF-8 as a rule, any bytes in fact.
    LongString(Bytes),
    /// Values one after another, as they came.
    Array(Bytes),
    /// Seconds since 1970.
    Timestamp(u64),
    Table(Table),
    Bytes(Bytes),
    Void,
}

impl Value {
    /// A string.
    pub(crate) fn string(text: &str) -> Self {
        Self::LongString(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// An array of values.
    pub(crate) fn array(values: impl IntoIterator<Item = Self>) -> Self {
        let mut out = BytesMut::new();
        values.into_iter().for_each(|value| value.write(&mut out));
        Self::Array(out.freeze())
    }

    /// The string, if it is one.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::LongString(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The values of an array, if it is one.
    pub(crate) fn elements(&self) -> Option<Vec<Self>> {
        let Self::Array(bytes) = self else { return None };
        let (mut cursor, mut values) = (Cursor::new(bytes.clone()), Vec::new());
        loop {
            match Self::read(&mut cursor) {
                Ok(value) => values.push(value),
                // Arrays are checked when they are read: this is the end.
                Err(_) => return Some(values),
            }
        }
    }

    /// Reads a type and its value, without a look into tables and arrays.
    pub(crate) fn read(cursor: &mut Cursor) -> Result<Self, Malformed> {
        let value = match cursor.u8()? {
            b't' => Self::Bool(cursor.u8()? != 0),
            b'b' => Self::I8(cursor.u8()?.cast_signed()),
            b'B' => Self::U8(cursor.u8()?),
            b's' => Self::I16(cursor.u16()?.cast_signed()),
            b'u' => Self::U16(cursor.u16()?),
            b'I' => Self::I32(cursor.u32()?.cast_signed()),
            b'i' => Self::U32(cursor.u32()?),
            b'l' | b'L' => Self::I64(cursor.u64()?.cast_signed()),
            b'f' => Self::F32(f32::from_bits(cursor.u32()?)),
            b'd' => Self::F64(f64::from_bits(cursor.u64()?)),
            b'D' => Self::Decimal(cursor.u8()?, cursor.u32()?.cast_signed()),
            b'S' => Self::LongString(cursor.long_string()?),
            b'A' => Self::Array(cursor.long_string()?),
            b'T' => Self::Timestamp(cursor.u64()?),
            b'F' => Self::Table(Table::unchecked(cursor.long_string()?)),
            b'x' => Self::Bytes(cursor.long_string()?),
            b'V' => Self::Void,
            other => return Err(Malformed::Type(char::from(other))),
        };
        Ok(value)
    }

    /// Writes the type and the value.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Bool(bit) => put(out, b't', &[u8::from(*bit)]),
            Self::I8(number) => put(out, b'b', &number.to_be_bytes()),
            Self::U8(number) => put(out, b'B', &[*number]),
            Self::I16(number) => put(out, b's', &number.to_be_bytes()),
            Self::U16(number) => put(out, b'u', &number.to_be_bytes()),
            Self::I32(number) => put(out, b'I', &number.to_be_bytes()),
            Self::U32(number) => put(out, b'i', &number.to_be_bytes()),
            Self::I64(number) => put(out, b'l', &number.to_be_bytes()),
            Self::F32(number) => put(out, b'f', &number.to_be_bytes()),
            Self::F64(number) => put(out, b'd', &number.to_be_bytes()),
            Self::Decimal(places, digits) => {
                put(out, b'D', &[*places]);
                out.put_i32(*digits);
            }
            Self::LongString(bytes) => put_long(out, b'S', bytes),
            Self::Array(bytes) => put_long(out, b'A', bytes),
            Self::Timestamp(seconds) => put(out, b'T', &seconds.to_be_bytes()),
            Self::Table(table) => put_long(out, b'F', table.as_bytes()),
            Self::Bytes(bytes) => put_long(out, b'x', bytes),
            Self::Void => out.put_u8(b'V'),
        }
    }
}

fn put(out: &mut BytesMut, tag: u8, bytes: &[u8]) {
    out.put_u8(tag);
    out.put_slice(bytes);
}

fn put_long(out: &mut BytesMut, tag: u8, bytes: &[u8]) {
    out.put_u8(tag);
    put_long_string(out, bytes);
}
