//! The properties of a message: the flags and fields of a content header.
//!
//! [`Properties`] borrows what it tells, in both directions: from the frame that it was read from, or from the message that
//! is delivered. Texts are any bytes here: clients put identities into them that are no text.
//!
//! Source: AMQP 0-9-1, section 4.2.6.1; the flags of class basic.

use bytes::{BufMut, Bytes, BytesMut};

use super::Malformed;
use super::cursor::{Cursor, put_long_string};
use super::table::Table;
use super::text::TEXT_BYTES_MAX;

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const KIND: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;
/// Flags that say nothing: the second would announce further flags, which class basic does not have.
const UNUSED: u16 = 0b11;

/// A message without properties.
const NONE: [u8; 2] = [0, 0];

/// The delivery mode of a message that is to survive a restart.
pub(crate) const PERSISTENT: u8 = 2;

/// Where each property lies, looked up once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties<'a> {
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) content_encoding: Option<&'a [u8]>,
    /// The content of the headers' table.
    pub(crate) headers: Option<&'a [u8]>,
    pub(crate) delivery_mode: Option<u8>,
    pub(crate) priority: Option<u8>,
    pub(crate) correlation_id: Option<&'a [u8]>,
    pub(crate) reply_to: Option<&'a [u8]>,
    pub(crate) expiration: Option<&'a [u8]>,
    pub(crate) message_id: Option<&'a [u8]>,
    /// Seconds since 1970.
    pub(crate) timestamp: Option<u64>,
    pub(crate) kind: Option<&'a [u8]>,
    pub(crate) user_id: Option<&'a [u8]>,
    pub(crate) app_id: Option<&'a [u8]>,
    pub(crate) cluster_id: Option<&'a [u8]>,
}

impl<'a> Properties<'a> {
    /// Looks into the flags and fields of a header. The headers' table is not looked into.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut walk = Walk(bytes);
        let flags = u16::from_be_bytes(walk.array()?);
        if flags & UNUSED != 0 {
            return Err(Malformed::Flags);
        }
        let has = |flag| flags & flag != 0;
        let properties = Self {
            content_type: walk.text(has(CONTENT_TYPE))?,
            content_encoding: walk.text(has(CONTENT_ENCODING))?,
            headers: walk.long(has(HEADERS))?,
            delivery_mode: walk.octet(has(DELIVERY_MODE))?,
            priority: walk.octet(has(PRIORITY))?,
            correlation_id: walk.text(has(CORRELATION_ID))?,
            reply_to: walk.text(has(REPLY_TO))?,
            expiration: walk.text(has(EXPIRATION))?,
            message_id: walk.text(has(MESSAGE_ID))?,
            timestamp: walk.number(has(TIMESTAMP))?,
            kind: walk.text(has(KIND))?,
            user_id: walk.text(has(USER_ID))?,
            app_id: walk.text(has(APP_ID))?,
            cluster_id: walk.text(has(CLUSTER_ID))?,
        };
        if walk.0.is_empty() { Ok(properties) } else { Err(Malformed::Rest(walk.0.len())) }
    }

    /// Checks the properties of a message that came in, the headers' table included.
    pub(crate) fn check(bytes: &Bytes) -> Result<(), Malformed> {
        let properties = Properties::read(bytes)?;
        if let Some(headers) = properties.headers {
            Table::from_wire(bytes.slice_ref(headers))?;
        }
        Ok(())
    }

    /// Whether the message asks to be kept over a restart.
    pub(crate) fn is_persistent(&self) -> bool {
        self.delivery_mode == Some(PERSISTENT)
    }

    /// The headers. `bytes` are those that this was read from.
    pub(crate) fn headers_of(&self, bytes: &Bytes) -> Table {
        self.headers.map(|headers| Table::unchecked(bytes.slice_ref(headers))).unwrap_or_default()
    }
}

/// Reads from a slice.
struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn octet(&mut self, is_there: bool) -> Result<Option<u8>, Malformed> {
        if !is_there {
            return Ok(None);
        }
        self.array().map(|[octet]| Some(octet))
    }

    fn number(&mut self, is_there: bool) -> Result<Option<u64>, Malformed> {
        if !is_there {
            return Ok(None);
        }
        self.array().map(|bytes| Some(u64::from_be_bytes(bytes)))
    }

    fn text(&mut self, is_there: bool) -> Result<Option<&'a [u8]>, Malformed> {
        let Some(len) = self.octet(is_there)? else { return Ok(None) };
        self.take(usize::from(len)).map(Some)
    }

    fn long(&mut self, is_there: bool) -> Result<Option<&'a [u8]>, Malformed> {
        if !is_there {
            return Ok(None);
        }
        let len = u32::from_be_bytes(self.array()?);
        self.take(len as usize).map(Some)
    }
}

impl Properties<'_> {
    /// Writes flags and fields.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_slice(&NONE);
        let mut write = Write { out, flags: 0 };
        write.text(CONTENT_TYPE, self.content_type);
        write.text(CONTENT_ENCODING, self.content_encoding);
        if let Some(headers) = self.headers {
            put_long_string(write.field(HEADERS), headers);
        }
        write.octet(DELIVERY_MODE, self.delivery_mode);
        write.octet(PRIORITY, self.priority);
        write.text(CORRELATION_ID, self.correlation_id);
        write.text(REPLY_TO, self.reply_to);
        write.text(EXPIRATION, self.expiration);
        write.text(MESSAGE_ID, self.message_id);
        if let Some(timestamp) = self.timestamp {
            write.field(TIMESTAMP).put_u64(timestamp);
        }
        write.text(KIND, self.kind);
        write.text(USER_ID, self.user_id);
        write.text(APP_ID, self.app_id);
        write.text(CLUSTER_ID, self.cluster_id);
        let flags = write.flags;
        out[start..start + NONE.len()].copy_from_slice(&flags.to_be_bytes());
    }
}

/// Writes fields and notes their flags.
struct Write<'a> {
    out: &'a mut BytesMut,
    flags: u16,
}

impl Write<'_> {
    fn field(&mut self, flag: u16) -> &mut BytesMut {
        self.flags |= flag;
        self.out
    }

    /// A text came as a short string once; one that did not is cut.
    fn text(&mut self, flag: u16, text: Option<&[u8]>) {
        let Some(text) = text else { return };
        let text = &text[..text.len().min(TEXT_BYTES_MAX)];
        let out = self.field(flag);
        out.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
        out.put_slice(text);
    }

    fn octet(&mut self, flag: u16, octet: Option<u8>) {
        if let Some(octet) = octet {
            self.field(flag).put_u8(octet);
        }
    }
}

/// A content header: what follows, how long it is, and its properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentHeader {
    pub(crate) class: u16,
    pub(crate) body_bytes: u64,
    /// Flags and fields.
    pub(crate) properties: Bytes,
}

impl ContentHeader {
    /// Reads the payload of a header frame and checks the properties.
    pub(crate) fn read(payload: Bytes) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let class = cursor.u16()?;
        // The weight, of which nobody has ever made use.
        cursor.u16()?;
        let body_bytes = cursor.u64()?;
        let properties = cursor.into_rest();
        Properties::check(&properties)?;
        Ok(Self { class, body_bytes, properties })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::value::Value;

    fn bytes(properties: &Properties<'_>) -> Bytes {
        let mut out = BytesMut::new();
        properties.write(&mut out);
        out.freeze()
    }

    #[test]
    fn every_property_comes_back() {
        let headers = Table::from_entries([("k", Value::I32(1))]);
        let full = Properties {
            content_type: Some(b"text/plain"),
            content_encoding: Some(b"gzip"),
            headers: Some(headers.as_bytes()),
            delivery_mode: Some(2),
            priority: Some(9),
            correlation_id: Some(b"\xff\0"),
            reply_to: Some(b"r"),
            expiration: Some(b"60000"),
            message_id: Some(b"m"),
            timestamp: Some(1_700_000_000),
            kind: Some(b"t"),
            user_id: Some(b"guest"),
            app_id: Some(b"a"),
            cluster_id: Some(b"x"),
        };
        let bytes = bytes(&full);
        Properties::check(&bytes).expect("well formed");
        let read = Properties::read(&bytes).expect("well formed");
        assert_eq!(read, full);
        assert!(read.is_persistent());
        assert_eq!(read.headers_of(&bytes).get("k"), Some(Value::I32(1)));
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let properties =
            Properties { content_type: Some(b"a/b"), delivery_mode: Some(1), ..Default::default() };
        assert_eq!(bytes(&properties), &b"\x90\0\x03a/b\x01"[..]);
        assert_eq!(bytes(&Properties::default()), &b"\0\0"[..]);
    }

    #[test]
    fn a_header_is_read() {
        let payload = Bytes::from_static(b"\0\x3c\0\0\0\0\0\0\0\0\x01\0\x10\0\x02");
        let header = ContentHeader::read(payload).expect("well formed");
        assert_eq!((header.class, header.body_bytes), (60, 256));
        assert_eq!(Properties::read(&header.properties).map(|p| p.delivery_mode), Ok(Some(2)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let check = |bytes: &'static [u8]| Properties::check(&Bytes::from_static(bytes));
        assert_eq!(check(b"\x80"), Err(Malformed::Short));
        assert_eq!(check(b"\x80\0\x05ab"), Err(Malformed::Short));
        assert_eq!(check(b"\x20\0\0\0\0\x09\x01k"), Err(Malformed::Short));
        assert_eq!(check(b"\x20\0\0\0\0\x03\x01k?"), Err(Malformed::Type('?')));
        assert_eq!(check(b"\0\0\x01"), Err(Malformed::Rest(1)));
        assert_eq!(check(b"\0\x01\0\0"), Err(Malformed::Flags));
    }
}
