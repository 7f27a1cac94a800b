//! The fields of a method, one after another, from a frame and into one.
//!
//! Bits that stand side by side share an octet, the first one in its lowest bit; whatever is not a bit begins anew.
//! Both directions remember the octet that is not full, so that a method is the list of its fields and nothing more.
//!
//! Invariant: a length is compared with what is left before anything is taken for it, and what is taken is shared with
//! the frame.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Malformed;
use super::table::Table;
use super::text::Text;

/// Reads fields.
#[derive(Debug)]
pub(crate) struct Cursor {
    rest: Bytes,
    /// The present octet of bits, and how many of them are read.
    bits: u8,
    bits_read: u8,
}

impl Cursor {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, bits: 0, bits_read: 8 }
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Rest(self.rest.len())) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is not read yet.
    pub(crate) fn into_rest(self) -> Bytes {
        self.rest
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<Bytes, Malformed> {
        self.bits_read = 8;
        if self.rest.len() < len {
            return Err(Malformed::Short);
        }
        Ok(self.rest.split_to(len))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.need(1)?;
        Ok(self.rest.get_u8())
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.need(2)?;
        Ok(self.rest.get_u16())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.need(4)?;
        Ok(self.rest.get_u32())
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.need(8)?;
        Ok(self.rest.get_u64())
    }

    pub(crate) fn bit(&mut self) -> Result<bool, Malformed> {
        if self.bits_read == 8 {
            self.bits = self.u8()?;
            self.bits_read = 0;
        }
        let bit = self.bits >> self.bits_read & 1 == 1;
        self.bits_read += 1;
        Ok(bit)
    }

    pub(crate) fn text(&mut self) -> Result<Text, Malformed> {
        let len = usize::from(self.u8()?);
        Text::from_wire(self.take(len)?)
    }

    pub(crate) fn long_string(&mut self) -> Result<Bytes, Malformed> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    fn need(&mut self, len: usize) -> Result<(), Malformed> {
        self.bits_read = 8;
        if self.rest.len() < len { Err(Malformed::Short) } else { Ok(()) }
    }
}

/// Writes fields behind what a buffer holds.
#[derive(Debug)]
pub(crate) struct Pen<'a> {
    out: &'a mut BytesMut,
    /// How many bits of the last octet are written; 8 if the last field was no bit.
    bits_written: u8,
}

impl<'a> Pen<'a> {
    pub(crate) fn new(out: &'a mut BytesMut) -> Self {
        Self { out, bits_written: 8 }
    }

    /// The buffer, for a field that is not a bit.
    pub(crate) fn plain(&mut self) -> &mut BytesMut {
        self.bits_written = 8;
        self.out
    }

    pub(crate) fn bit(&mut self, bit: bool) {
        if self.bits_written == 8 {
            self.out.put_u8(0);
            self.bits_written = 0;
        }
        if let Some(octet) = self.out.last_mut() {
            *octet |= u8::from(bit) << self.bits_written;
        }
        self.bits_written += 1;
    }

    pub(crate) fn text(&mut self, text: &Text) {
        put_text(self.plain(), text);
    }

    pub(crate) fn long_string(&mut self, bytes: &[u8]) {
        put_long_string(self.plain(), bytes);
    }
}

/// Writes a short string.
pub(crate) fn put_text(out: &mut BytesMut, text: &Text) {
    // A text is never longer than its length can say.
    out.put_u8(u8::try_from(text.as_bytes().len()).unwrap_or(u8::MAX));
    out.put_slice(text.as_bytes());
}

/// Writes a long string.
pub(crate) fn put_long_string(out: &mut BytesMut, bytes: &[u8]) {
    // Whatever is written here came in a frame or is ours, and is far shorter than 4 GiB.
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

/// A type of which a method's fields are made.
pub(crate) trait Field: Sized {
    fn read(cursor: &mut Cursor) -> Result<Self, Malformed>;
    fn write(&self, pen: &mut Pen<'_>);
}

impl Field for u8 {
    fn read(cursor: &mut Cursor) -> Result<Self, Malformed> {
        cursor.u8()
    }

    fn write(&self, pen: &mut Pen<'_>) {
        pen.plain().put_u8(*self);
    }
}

impl Field for u16 {
    fn read(cursor: &mut Cursor) -> Result<Self, Malformed> {
        cursor.u16()
    }

    fn write(&self, pen: &mut Pen<'_>) {
        pen.plain().put_u16(*self);
    }
}

impl Field for u32 {
    fn read(cursor: &mut Cursor) -> Result<Self, Malformed> {
        cursor.u32()
    }

    fn write(&self, pen: &mut Pen<'_>) {
        pen.plain().put_u32(*self);
    }
}

impl Field for u64 {
    fn read(cursor: &mut Cursor) -> Result<Self, Malformed> {
        cursor.u64()
    }

    fn write(&self, pen: &mut Pen<'_>) {
        pen.plain().put_u64(*self);
    }
}

impl Field for bool {
    fn read(cursor: &mut Cursor) -> Result<Self, Malformed> {
        cursor.bit()
    }

    fn write(&self, pen: &mut Pen<'_>) {
        pen.bit(*self);
    }
}

impl Field for Text {
    fn read(cursor: &mut Cursor) -> Result<Self, Malformed> {
        cursor.text()
    }

    fn write(&self, pen: &mut Pen<'_>) {
        pen.text(self);
    }
}

impl Field for Bytes {
    fn read(cursor: &mut Cursor) -> Result<Self, Malformed> {
        cursor.long_string()
    }

    fn write(&self, pen: &mut Pen<'_>) {
        pen.long_string(self);
    }
}

impl Field for Table {
    fn read(cursor: &mut Cursor) -> Result<Self, Malformed> {
        Table::from_wire(cursor.long_string()?)
    }

    fn write(&self, pen: &mut Pen<'_>) {
        pen.long_string(self.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_share_an_octet_until_something_else_comes() {
        let mut out = BytesMut::new();
        let mut pen = Pen::new(&mut out);
        for bit in [true, false, true] {
            bit.write(&mut pen);
        }
        7_u8.write(&mut pen);
        for _ in 0..9 {
            true.write(&mut pen);
        }
        assert_eq!(&out[..], [0b101, 7, 0xff, 1]);
        let mut cursor = Cursor::new(out.freeze());
        assert_eq!([(); 3].map(|()| cursor.bit()), [Ok(true), Ok(false), Ok(true)]);
        assert_eq!(cursor.u8(), Ok(7));
        assert!((0..9).all(|_| cursor.bit() == Ok(true)));
        assert_eq!(cursor.bit(), Ok(false), "the octet has more bits than were written");
        cursor.finish().expect("all is read");
    }

    #[test]
    fn no_length_is_believed() {
        let cursor = |bytes: &'static [u8]| Cursor::new(Bytes::from_static(bytes));
        assert_eq!(cursor(b"\x05abc").text(), Err(Malformed::Short));
        assert_eq!(cursor(b"\xff\xff\xff\xffabc").long_string(), Err(Malformed::Short));
        assert_eq!(cursor(b"\0").u16(), Err(Malformed::Short));
        assert_eq!(cursor(b"").bit(), Err(Malformed::Short));
        assert_eq!(cursor(b"ab").finish(), Err(Malformed::Rest(2)));
    }
}
