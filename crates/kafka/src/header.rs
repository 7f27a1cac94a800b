//! The head of a request: which API, which version, which request, which client.
//!
//! Read by hand, since an unknown version of ApiVersions must be answered although the rest of the header cannot be
//! read (KIP-511). Source: request headers v1 and v2 of the Kafka protocol guide.

use std::borrow::Cow;

use bytes::Bytes;

use crate::close::Close;
use crate::cursor::{Cursor, Truncated};

/// API key, version and correlation id: the same in all versions of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) key: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
}

/// The bytes that every head has.
const HEAD_BYTES: usize = 8;

/// Reads the first eight bytes.
pub(crate) fn read_head(frame: &[u8]) -> Result<Head, Close> {
    let mut at = Cursor::new(frame);
    let mut read =
        || Ok::<_, Truncated>(Head { key: at.i16()?, version: at.i16()?, correlation_id: at.i32()? });
    read().map_err(|Truncated| Close::ShortHeader { size_bytes: frame.len() })
}

/// Reads the client id, and the tagged fields of a flexible version; returns the body behind them.
pub(crate) fn split_body(frame: &Bytes, flexible: bool) -> Result<(Option<Cow<'_, str>>, Bytes), Close> {
    let mut at = Cursor::new(frame.get(HEAD_BYTES..).unwrap_or_default());
    let client_id = read_client_id(&mut at)?;
    if flexible {
        skip_tagged_fields(&mut at).map_err(|Truncated| Close::BadHeader)?;
    }
    Ok((client_id, frame.slice(frame.len() - at.remaining()..)))
}

fn read_client_id<'a>(at: &mut Cursor<'a>) -> Result<Option<Cow<'a, str>>, Close> {
    let bad = |_: Truncated| Close::BadHeader;
    match at.i16().map_err(bad)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| Close::BadHeader)?;
            let text = at.take(length).map_err(bad)?;
            Ok(Some(String::from_utf8_lossy(text)))
        }
    }
}

fn skip_tagged_fields(at: &mut Cursor<'_>) -> Result<(), Truncated> {
    for _ in 0..at.unsigned_varint()? {
        at.unsigned_varint()?;
        let size = at.unsigned_varint()?;
        at.take(size as usize)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_the_header_are_read() {
        let v1 = Bytes::from_static(b"\0\x03\0\x01\0\0\0\x09\0\x02meBODY");
        let head = read_head(&v1).expect("complete");
        assert_eq!(head, Head { key: 3, version: 1, correlation_id: 9 });
        let (client, body) = split_body(&v1, false).expect("complete");
        assert_eq!((client.as_deref(), &body[..]), (Some("me"), &b"BODY"[..]));

        let v2 = Bytes::from_static(b"\0\x03\0\x0c\0\0\0\x09\xff\xff\x01\x07\x02xxBODY");
        let (client, body) = split_body(&v2, true).expect("complete");
        assert_eq!((client, &body[..]), (None, &b"BODY"[..]));
    }

    #[test]
    fn a_header_that_is_cut_anywhere_is_refused() {
        let frame = Bytes::from_static(b"\0\x03\0\x0c\0\0\0\x09\0\x02me\x01\x07\x02xx");
        for end in 0..frame.len() {
            let cut = frame.slice(..end);
            assert!(read_head(&cut).is_err() == (end < HEAD_BYTES));
            assert!(split_body(&cut, true).is_err(), "cut at {end}");
        }
        assert!(split_body(&frame, true).is_ok());
    }
}
