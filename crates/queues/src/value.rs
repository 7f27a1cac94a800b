//! Typed values of headers and arguments, of all queue protocols together.
//!
//! A front-end translates its own into these and back without loss: that is why there are so many kinds of numbers, and
//! why a table is a list that keeps order and duplicates.

use bytes::Bytes;

use crate::Text;

/// How deep tables and lists may lie in each other, in what is stored.
pub const DEPTH_MAX: usize = 32;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed number of 8 bits.
    I8(i8),
    /// An unsigned number of 8 bits.
    U8(u8),
    /// A signed number of 16 bits.
    I16(i16),
    /// An unsigned number of 16 bits.
    U16(u16),
    /// A signed number of 32 bits.
    I32(i32),
    /// An unsigned number of 32 bits.
    U32(u32),
    /// A signed number of 64 bits.
    I64(i64),
    /// An unsigned number of 64 bits.
    U64(u64),
    /// A floating-point number of 32 bits.
    F32(f32),
    /// A floating-point number of 64 bits.
    F64(f64),
    /// `unscaled` divided by ten to the power of `scale`.
    Decimal {
        /// Digits behind the point.
        scale: u8,
        /// The number without its point.
        unscaled: i32,
    },
    /// Text.
    Text(Text),
    /// Bytes that are no text.
    Binary(Bytes),
    /// A time in seconds since 1970.
    Timestamp(u64),
    /// A time in milliseconds since 1970.
    TimestampMs(i64),
    /// Values in order.
    List(Vec<Value>),
    /// A table in this table.
    Table(Headers),
}

impl Value {
    /// The number, if it is a whole one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::I8(number) => Some(number.into()),
            Self::U8(number) => Some(number.into()),
            Self::I16(number) => Some(number.into()),
            Self::U16(number) => Some(number.into()),
            Self::I32(number) => Some(number.into()),
            Self::U32(number) => Some(number.into()),
            Self::I64(number) | Self::TimestampMs(number) => Some(number),
            Self::U64(number) | Self::Timestamp(number) => i64::try_from(number).ok(),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::I64(number)
    }
}

/// Names with values, in the order in which they came; a name may come twice.
///
/// ```
/// use annals_queues::{Headers, Value};
/// let headers: Headers = [("format", Value::from("pdf")), ("pages", Value::I32(3))].into_iter().collect();
/// assert_eq!(headers.get("pages"), Some(&Value::I32(3)));
/// assert_eq!(headers.get("author"), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers(pub Vec<(Text, Value)>);

impl Headers {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The first value with this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// Adds a value behind the others.
    pub fn push(&mut self, name: impl Into<Text>, value: Value) {
        self.0.push((name.into(), value));
    }

    /// Removes all values with this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(found, _)| found != name);
    }

    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, (Text, Value)> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a (Text, Value);
    type IntoIter = std::slice::Iter<'a, (Text, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<N: Into<Text>> FromIterator<(N, Value)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(iter: I) -> Self {
        Self(iter.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}
