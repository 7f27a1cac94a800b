//! Writing.

use std::borrow::Cow;
use std::sync::Arc;

use annals_event::Event;

use super::{KEY_HEADER, REVISION_DIGITS, REVISION_HEADER, TAG_HEADER, varint};
use crate::append::Sealed;

/// A header: the beginning of its name, the rest of it, its value.
type Header<'a> = (&'static str, &'a str, Cow<'a, str>);

/// Writes the records of one batch, with places for the revisions.
#[derive(Debug, Default)]
pub(crate) struct RecordWriter {
    body: Vec<u8>,
    /// Where the digits of each record's revision go.
    revisions: Vec<usize>,
}

impl RecordWriter {
    /// Adds an event of `stream`. With `sealed`, its data is that.
    pub(crate) fn push(&mut self, stream: &str, event: &Event, tags: &[Arc<str>], sealed: Option<&Sealed>) {
        let headers = headers(event, tags, sealed);
        let value = match sealed {
            Some(sealed) => Some(sealed.data.as_ref()),
            None => event.data().map(AsRef::as_ref),
        };
        let offset_delta = self.revisions.len() as i64;
        let length = record_len(stream, value, &headers, offset_delta);
        self.body.reserve(length + varint::len(length as i64));
        varint::put(&mut self.body, length as i64);
        self.body.push(0); // attributes: none are defined
        varint::put(&mut self.body, 0); // every record has the batch's timestamp
        varint::put(&mut self.body, offset_delta);
        put_bytes(&mut self.body, Some(stream.as_bytes()));
        put_bytes(&mut self.body, value);
        varint::put(&mut self.body, headers.len() as i64 + 1);
        for header in &headers {
            put_header(&mut self.body, header);
        }
        put_bytes(&mut self.body, Some(REVISION_HEADER.as_bytes()));
        varint::put(&mut self.body, REVISION_DIGITS as i64);
        self.revisions.push(self.body.len());
        self.body.extend_from_slice(&[b'0'; REVISION_DIGITS]);
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// How many records there are.
    pub(crate) fn count(&self) -> usize {
        self.revisions.len()
    }

    /// Puts the revisions in their places, one for each record.
    pub(crate) fn finish(mut self, revisions: impl Iterator<Item = u64>) -> Vec<u8> {
        for (&at, revision) in self.revisions.iter().zip(revisions) {
            let mut rest = revision;
            for digit in self.body[at..at + REVISION_DIGITS].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        self.body
    }
}

/// All headers but the revision, in the order of `annals_event::kafka::encode`.
fn headers<'a>(event: &'a Event, tags: &'a [Arc<str>], sealed: Option<&'a Sealed>) -> Vec<Header<'a>> {
    let mut headers: Vec<Header<'a>> = Vec::with_capacity(12 + tags.len());
    let mut add = |name, value: &'a str| headers.push(("ce_", name, Cow::Borrowed(value)));
    add("specversion", "1.0");
    add("id", event.id());
    add("source", event.source());
    add("type", event.type_name());
    let time = event.time().map(annals_event::Time::as_str);
    for (name, value) in [("subject", event.subject()), ("time", time), ("dataschema", event.data_schema())] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    for (name, value) in event.extensions() {
        let text = value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed);
        headers.push(("ce_", name, text));
    }
    if let Some(content_type) = event.data_content_type() {
        headers.push(("", "content-type", Cow::Borrowed(content_type)));
    }
    headers.extend(tags.iter().map(|tag| ("", TAG_HEADER, Cow::Borrowed(&**tag))));
    headers.extend(sealed.map(|sealed| ("", KEY_HEADER, Cow::Borrowed(&*sealed.key))));
    headers
}

/// Bytes of a record behind its length.
fn record_len(stream: &str, value: Option<&[u8]>, headers: &[Header<'_>], offset_delta: i64) -> usize {
    let header_len = |(prefix, name, value): &Header<'_>| {
        let name = prefix.len() + name.len();
        varint::len(name as i64) + name + field_len(Some(value.len()))
    };
    1 + varint::len(0)
        + varint::len(offset_delta)
        + field_len(Some(stream.len()))
        + field_len(value.map(<[u8]>::len))
        + varint::len(headers.len() as i64 + 1)
        + headers.iter().map(header_len).sum::<usize>()
        + field_len(Some(REVISION_HEADER.len()))
        + field_len(Some(REVISION_DIGITS))
}

fn field_len(len: Option<usize>) -> usize {
    len.map_or(1, |len| varint::len(len as i64) + len)
}

fn put_bytes(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return varint::put(buffer, -1) };
    varint::put(buffer, bytes.len() as i64);
    buffer.extend_from_slice(bytes);
}

fn put_header(buffer: &mut Vec<u8>, (prefix, name, value): &Header<'_>) {
    varint::put(buffer, (prefix.len() + name.len()) as i64);
    buffer.extend_from_slice(prefix.as_bytes());
    buffer.extend_from_slice(name.as_bytes());
    put_bytes(buffer, Some(value.as_bytes()));
}
