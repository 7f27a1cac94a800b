//! What a request may look like, so that its bytes are checked before anything is allocated for them.
//!
//! A decoder that trusts an array's count allocates gigabytes for a frame of a few bytes. So each API keeps a table of
//! its request's fields (as in the message definitions of the Kafka protocol guide), and [`check`] walks a frame along
//! that table first: every length must fit into what is left, every array element takes at least its smallest size,
//! known tagged fields fill exactly their size, and the frame ends where the request ends. The walk allocates nothing.
//! Its result is an estimate of the memory that the decoded request takes, which the caller holds against its limits.
//!
//! Invariant: a frame that passes is decoded without allocating more than a small multiple of that estimate. The
//! tables cannot drift from the decoder unnoticed: a test builds requests from each table at each version, and the
//! decoder must read them to the last byte and encode them to the same bytes again.

use thiserror::Error;

use crate::cursor::{Cursor, Truncated};

/// More elements and tagged fields than this are no honest request: it would name every partition of a large server.
const ELEMENTS_MAX: usize = 400_000;

/// What a string, a byte field and an array take in memory, beside their content.
const HANDLE_BYTES: usize = 32;

/// What a table of unknown tagged fields takes in each decoded structure, and what one entry in it takes.
const TAGS_BYTES: usize = 24;
const TAG_BYTES: usize = 64;

/// The fields of a request.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The first version with compact lengths and tagged fields; [`NEVER`] if there is none.
    pub(crate) flexible_from: i16,
    pub(crate) fields: &'static [Field],
}

/// For [`Shape::flexible_from`]: no version of this API is flexible.
pub(crate) const NEVER: i16 = i16::MAX;

/// One field, and the versions that have it.
#[derive(Debug)]
pub(crate) struct Field {
    /// As the protocol guide calls it.
    name: &'static str,
    pub(crate) kind: Kind,
    from: i16,
    to: i16,
    pub(crate) tag: Option<u32>,
}

/// How a field's bytes are laid out.
#[derive(Debug)]
pub(crate) enum Kind {
    /// So many bytes: numbers, booleans, UUIDs.
    Fixed(usize),
    String,
    Bytes,
    Array(&'static Kind),
    Struct(&'static [Field]),
    /// A structure after a byte that says whether it is there.
    OptionStruct(&'static [Field]),
}

pub(crate) const STRING: Kind = Kind::String;
pub(crate) const INT8: Kind = Kind::Fixed(1);
pub(crate) const INT32: Kind = Kind::Fixed(4);

pub(crate) const fn bool(name: &'static str) -> Field {
    field(name, Kind::Fixed(1))
}

pub(crate) const fn int8(name: &'static str) -> Field {
    field(name, Kind::Fixed(1))
}

pub(crate) const fn int16(name: &'static str) -> Field {
    field(name, Kind::Fixed(2))
}

pub(crate) const fn int32(name: &'static str) -> Field {
    field(name, Kind::Fixed(4))
}

pub(crate) const fn int64(name: &'static str) -> Field {
    field(name, Kind::Fixed(8))
}

pub(crate) const fn uuid(name: &'static str) -> Field {
    field(name, Kind::Fixed(16))
}

pub(crate) const fn string(name: &'static str) -> Field {
    field(name, Kind::String)
}

pub(crate) const fn bytes(name: &'static str) -> Field {
    field(name, Kind::Bytes)
}

pub(crate) const fn array(name: &'static str, element: &'static Kind) -> Field {
    field(name, Kind::Array(element))
}

pub(crate) const fn optional(name: &'static str, fields: &'static [Field]) -> Field {
    field(name, Kind::OptionStruct(fields))
}

/// A structure that is always there.
pub(crate) const fn structure(name: &'static str, fields: &'static [Field]) -> Field {
    field(name, Kind::Struct(fields))
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, from: 0, to: i16::MAX, tag: None }
}

impl Field {
    /// Only in this version and later ones.
    pub(crate) const fn since(mut self, version: i16) -> Self {
        self.from = version;
        self
    }

    /// Only in this version and earlier ones.
    pub(crate) const fn until(mut self, version: i16) -> Self {
        self.to = version;
        self
    }

    /// Among the tagged fields, under this tag.
    pub(crate) const fn tagged(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    pub(crate) fn is_in(&self, version: i16) -> bool {
        (self.from..=self.to).contains(&version)
    }
}

/// Where and why a request's bytes are not what its API and version say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{fault} (field {field:?}, byte {position} of the body)")]
pub(crate) struct ShapeError {
    /// The field, as the protocol guide calls it.
    pub(crate) field: &'static str,
    /// How far the body was walked, in bytes.
    pub(crate) position: usize,
    /// What is wrong there.
    pub(crate) fault: Fault,
}

/// What is wrong with a request's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Fault {
    /// A field, or what a length promises, lies beyond the end.
    #[error("the request is cut short")]
    Truncated,
    /// A negative length that does not mean null, or a number that does not end.
    #[error("the request has a length that is none")]
    BadLength,
    /// A known tagged field that is longer or shorter than it says.
    #[error("the tagged field {0} does not fill its size")]
    BadTag(u32),
    /// An absurd number of elements.
    #[error("the request has more than {ELEMENTS_MAX} elements")]
    TooManyElements,
}

impl From<Truncated> for Fault {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// A request that fits its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Bytes of the body that belong to the request.
    pub(crate) len: usize,
    /// About how many bytes it takes when decoded.
    pub(crate) decoded: usize,
}

/// Walks a request's body.
///
/// What follows behind the request is ignored, as Apache Kafka does: librdkafka 2.12 sends three zero bytes behind a
/// Metadata request for all topics.
pub(crate) fn check(shape: &Shape, version: i16, body: &[u8]) -> Result<Walked, ShapeError> {
    let flexible = version >= shape.flexible_from;
    let decoded = decoded_size_of_all(shape.fields);
    let mut walk = Walk { at: Cursor::new(body), version, flexible, field: "", elements: 0, decoded };
    let walked = walk.fields(shape.fields);
    let position = body.len() - walk.at.remaining();
    let fits = Walked { len: position, decoded: walk.decoded };
    walked.map(|()| fits).map_err(|fault| ShapeError { field: walk.field, position, fault })
}

/// The state of one walk.
struct Walk<'a> {
    at: Cursor<'a>,
    version: i16,
    flexible: bool,
    /// The field that is being walked, for the error.
    field: &'static str,
    elements: usize,
    decoded: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &'static [Field]) -> Result<(), Fault> {
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && field.is_in(version)) {
            self.field = field.name;
            self.kind(&field.kind)?;
        }
        if self.flexible { self.tagged_fields(fields) } else { Ok(()) }
    }

    fn kind(&mut self, kind: &'static Kind) -> Result<(), Fault> {
        match kind {
            Kind::Fixed(size) => self.skip(*size),
            Kind::String => {
                let length = if self.flexible { self.compact_length()? } else { self.short_length()? };
                self.skip(length.unwrap_or(0))
            }
            Kind::Bytes => {
                let length = if self.flexible { self.compact_length()? } else { self.long_length()? };
                self.skip(length.unwrap_or(0))
            }
            Kind::Array(element) => self.array(element),
            Kind::Struct(fields) => self.fields(fields),
            Kind::OptionStruct(fields) => match self.at.i8()? {
                1 => self.fields(fields),
                _ => Ok(()),
            },
        }
    }

    fn array(&mut self, element: &'static Kind) -> Result<(), Fault> {
        let length = if self.flexible { self.compact_length()? } else { self.long_length()? };
        let count = length.unwrap_or(0);
        // Checked before the first element is looked at: the decoder allocates for the count at once.
        if count.saturating_mul(self.size_min(element)) > self.at.remaining() {
            return Err(Fault::Truncated);
        }
        self.decoded += count * decoded_size(element);
        if let Kind::Fixed(size) = element {
            return self.skip(count * size);
        }
        self.count_elements(count)?;
        for _ in 0..count {
            self.kind(element)?;
        }
        Ok(())
    }

    fn tagged_fields(&mut self, fields: &'static [Field]) -> Result<(), Fault> {
        let count = self.at.unsigned_varint()? as usize;
        self.count_elements(count)?;
        for _ in 0..count {
            let tag = self.at.unsigned_varint()?;
            let size = self.at.unsigned_varint()? as usize;
            let known = fields.iter().find(|field| field.tag == Some(tag) && field.is_in(self.version));
            match known {
                Some(field) => self.known_tag(tag, size, field)?,
                None => {
                    self.decoded += TAG_BYTES;
                    self.skip(size)?;
                }
            }
        }
        Ok(())
    }

    fn known_tag(&mut self, tag: u32, size: usize, field: &'static Field) -> Result<(), Fault> {
        self.field = field.name;
        let before = self.at.remaining();
        self.kind(&field.kind)?;
        if before - self.at.remaining() == size { Ok(()) } else { Err(Fault::BadTag(tag)) }
    }

    fn count_elements(&mut self, count: usize) -> Result<(), Fault> {
        self.elements = self.elements.saturating_add(count);
        if self.elements > ELEMENTS_MAX { Err(Fault::TooManyElements) } else { Ok(()) }
    }

    fn skip(&mut self, count: usize) -> Result<(), Fault> {
        self.at.take(count)?;
        Ok(())
    }

    /// The length before a string of an inflexible version; `None` is null.
    fn short_length(&mut self) -> Result<Option<usize>, Fault> {
        length(i32::from(self.at.i16()?))
    }

    /// The length before bytes and arrays of an inflexible version; `None` is null.
    fn long_length(&mut self) -> Result<Option<usize>, Fault> {
        length(self.at.i32()?)
    }

    /// The length before strings, bytes and arrays of a flexible version: one more than it is, and 0 is null.
    fn compact_length(&mut self) -> Result<Option<usize>, Fault> {
        Ok((self.at.unsigned_varint()? as usize).checked_sub(1))
    }

    /// The fewest bytes that a value of this kind takes on the wire.
    fn size_min(&self, kind: &Kind) -> usize {
        match kind {
            Kind::Fixed(size) => *size,
            Kind::String => {
                if self.flexible {
                    1
                } else {
                    2
                }
            }
            Kind::Bytes | Kind::Array(_) => {
                if self.flexible {
                    1
                } else {
                    4
                }
            }
            Kind::OptionStruct(_) => 1,
            Kind::Struct(fields) => {
                let present = fields.iter().filter(|field| field.tag.is_none() && field.is_in(self.version));
                present.map(|field| self.size_min(&field.kind)).sum::<usize>() + usize::from(self.flexible)
            }
        }
    }
}

fn length(length: i32) -> Result<Option<usize>, Fault> {
    match length {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Fault::BadLength),
    }
}

/// About what a decoded value takes in memory, without the elements of its arrays.
fn decoded_size(kind: &Kind) -> usize {
    match kind {
        Kind::Fixed(size) => *size,
        Kind::String | Kind::Bytes | Kind::Array(_) => HANDLE_BYTES,
        Kind::Struct(fields) | Kind::OptionStruct(fields) => decoded_size_of_all(fields),
    }
}

/// Fields that a version lacks take their place in memory all the same.
fn decoded_size_of_all(fields: &[Field]) -> usize {
    fields.iter().map(|field| decoded_size(&field.kind)).sum::<usize>() + TAGS_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Kind = Kind::Struct(&[string("Name"), array("Partitions", &INT32)]);
    const SHAPE: Shape = Shape {
        flexible_from: 2,
        fields: &[array("Topics", &TOPIC), int32("TimeoutMs").since(1), int64("Extra").tagged(0)],
    };

    #[track_caller]
    fn assert_check(version: i16, body: &[u8], expected: Result<(), Fault>) {
        assert_eq!(check(&SHAPE, version, body).map(|_| ()).map_err(|error| error.fault), expected);
    }

    #[test]
    fn an_inflexible_request_is_walked_to_its_end() {
        assert_check(0, &[0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 1, 0, 0, 0, 7], Ok(()));
        assert_check(0, &[0xff, 0xff, 0xff, 0xff], Ok(()));
        assert_check(1, &[0, 0, 0, 0, 1, 2, 3, 4], Ok(()));
        assert_check(1, &[0, 0, 0, 0, 1, 2, 3], Err(Fault::Truncated));
        assert_eq!(
            check(&SHAPE, 0, &[0, 0, 0, 0, 1]).map(|walked| walked.len),
            Ok(4),
            "what follows is ignored"
        );
    }

    #[test]
    fn a_count_that_the_frame_cannot_hold_is_refused_before_it_is_used() {
        assert_check(0, &[0x7f, 0xff, 0xff, 0xff], Err(Fault::Truncated));
        assert_check(2, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0], Err(Fault::Truncated));
        assert_check(0, &[0xff, 0xff, 0xff, 0xfe], Err(Fault::BadLength));
        assert_check(2, &[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], Err(Fault::Truncated));
    }

    #[test]
    fn tagged_fields_are_walked_and_measured() {
        // No topics, the number, then tag 0 with eight bytes and the unknown tag 5 with two.
        let body = [1, 0, 0, 0, 9, 2, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 5, 2, 0, 0];
        assert_check(2, &body, Ok(()));
        let mut short = body;
        short[7] = 7;
        assert_check(2, &short, Err(Fault::BadTag(0)));
        assert_check(2, &[1, 0, 0, 0, 9, 1, 5, 200, 1], Err(Fault::Truncated));
    }

    #[test]
    fn many_small_elements_are_counted() {
        let count = ELEMENTS_MAX + 1;
        let mut body = (u32::try_from(count).expect("small")).to_be_bytes().to_vec();
        body.resize(4 + count * 6, 0);
        assert_check(0, &body, Err(Fault::TooManyElements));
    }
}
