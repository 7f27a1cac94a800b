//! Reading.

use std::ops::Range;

use annals_event::{Event, kafka};
use bytes::Bytes;

use super::varint::Cursor;
use super::{KEY_HEADER, REVISION_DIGITS, REVISION_HEADER, TAG_HEADER};
use crate::{Position, Revision, TimestampMs};

/// An event as the store holds it. Shares the memory of what was read; cheap to clone. Its attributes are looked up when
/// they are asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    position: Position,
    revision: Revision,
    recorded_ms: TimestampMs,
    bytes: Bytes,
    key: Range<u32>,
    value: Option<Range<u32>>,
    headers: u32,
    header_count: u32,
    /// In place of the value: what it says decrypted, or nothing where the key is gone.
    opened: Option<Opened>,
}

/// What became of encrypted data.
#[derive(Clone, PartialEq, Eq)]
enum Opened {
    Data(Bytes),
    Shredded,
}

/// Why bytes are no event of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record at position {position} is no event of a store: {what}")]
pub struct RecordError {
    /// Where it is.
    pub position: Position,
    /// What is wrong.
    pub what: &'static str,
}

/// The events of one batch, in order. Ends after the first that cannot be read.
#[derive(Clone, Debug)]
pub struct Records {
    body: Bytes,
    at: usize,
    base: Position,
    recorded_ms: TimestampMs,
    left: u32,
}

impl Records {
    /// Takes apart the records of a batch: what follows its header, its base offset, base timestamp and record count.
    pub fn new(body: Bytes, base: Position, recorded_ms: TimestampMs, count: u32) -> Self {
        Self { body, at: 0, base, recorded_ms, left: count }
    }

    fn step(&mut self) -> Result<RecordedEvent, RecordError> {
        let base = self.base;
        let failed = |what| RecordError { position: base, what };
        let mut cursor = Cursor::new(&self.body, self.at);
        let range = cursor.field().flatten().ok_or(failed("it is longer than its batch"))?;
        self.at = range.end;
        let bytes = self.body.slice(range);
        let mut cursor = Cursor::new(&bytes, 0);
        let parsed = parse(&mut cursor).ok_or(failed("a field runs past its end"))?;
        let revision = revision(&bytes).ok_or(failed("it has no revision"))?;
        let delta = u64::try_from(parsed.offset_delta).map_err(|_| failed("its offset is negative"))?;
        if std::str::from_utf8(&bytes[range_of(&parsed.key)]).is_err() {
            return Err(failed("its stream's name is not UTF-8"));
        }
        Ok(RecordedEvent {
            position: Position(self.base.0 + delta),
            revision,
            recorded_ms: self.recorded_ms.saturating_add(parsed.timestamp_delta),
            key: parsed.key,
            value: parsed.value,
            headers: parsed.headers,
            header_count: parsed.header_count,
            bytes,
            opened: None,
        })
    }
}

impl Iterator for Records {
    type Item = Result<RecordedEvent, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let step = self.step();
        self.left = if step.is_ok() { self.left - 1 } else { 0 };
        Some(step)
    }
}

/// The places of a record's parts.
struct Parsed {
    timestamp_delta: i64,
    offset_delta: i64,
    key: Range<u32>,
    value: Option<Range<u32>>,
    headers: u32,
    header_count: u32,
}

fn parse(cursor: &mut Cursor<'_>) -> Option<Parsed> {
    let _attributes = cursor.byte()?;
    let (timestamp_delta, offset_delta) = (cursor.number()?, cursor.number()?);
    let key = short(cursor.field()??);
    let value = cursor.field()?.map(short);
    let header_count = u32::try_from(cursor.number()?).ok()?;
    let headers = cursor.at() as u32;
    for _ in 0..header_count {
        cursor.field()??;
        cursor.field()?;
    }
    Some(Parsed { timestamp_delta, offset_delta, key, value, headers, header_count })
}

/// Records are shorter than 2 GiB.
fn short(range: Range<usize>) -> Range<u32> {
    range.start as u32..range.end as u32
}

fn range_of(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// The revision: the last header, of constant length.
fn revision(record: &[u8]) -> Option<Revision> {
    let (rest, digits) = record.split_at_checked(record.len().checked_sub(REVISION_DIGITS)?)?;
    if !rest[..rest.len().checked_sub(1)?].ends_with(REVISION_HEADER.as_bytes()) {
        return None;
    }
    let digit = |value: u64, byte: &u8| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    };
    digits.iter().try_fold(0, digit).map(Revision)
}

impl RecordedEvent {
    /// Its place in the store.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Its place in its stream.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// When the store recorded it. Never goes back from one position to the next.
    pub fn recorded_ms(&self) -> TimestampMs {
        self.recorded_ms
    }

    /// Its stream.
    pub fn stream(&self) -> &str {
        // Checked when it was read.
        std::str::from_utf8(&self.bytes[range_of(&self.key)]).unwrap_or_default()
    }

    /// Its type.
    pub fn type_name(&self) -> &str {
        self.attribute("ce_type")
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.attribute("ce_id")
    }

    /// Its tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let tags = self.headers().filter(|(name, _)| *name == TAG_HEADER.as_bytes());
        tags.filter_map(|(_, value)| std::str::from_utf8(value?).ok())
    }

    /// Whether it is the store's own: metadata, or the end of a stream.
    pub fn is_system(&self) -> bool {
        crate::name::is_system(self.stream()) || self.type_name().starts_with('$')
    }

    /// Whether it is Annals' own: the store's, or the library's.
    pub fn is_internal(&self) -> bool {
        crate::name::is_internal(self.stream()) || crate::name::is_internal(self.type_name())
    }

    /// Its data. `None` if it has none, or it is [`RecordedEvent::is_shredded`].
    pub fn data(&self) -> Option<Bytes> {
        match &self.opened {
            Some(Opened::Data(data)) => Some(data.clone()),
            Some(Opened::Shredded) => None,
            None => self.stored_data(),
        }
    }

    /// Its data as stored: encrypted, if it has a [`RecordedEvent::encryption_key`].
    pub fn stored_data(&self) -> Option<Bytes> {
        self.value.as_ref().map(|range| self.bytes.slice(range_of(range)))
    }

    /// Names the key that its data is encrypted with.
    pub fn encryption_key(&self) -> Option<&str> {
        self.header(KEY_HEADER)
    }

    /// Whether its data was encrypted and the key is gone.
    pub fn is_shredded(&self) -> bool {
        matches!(self.opened, Some(Opened::Shredded))
    }

    /// Puts decrypted data in the place of what is stored; `None` if there is no key any more.
    pub fn open(&mut self, data: Option<Bytes>) {
        self.opened = Some(data.map_or(Opened::Shredded, Opened::Data));
    }

    /// Bytes that it takes in the log.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// All of it as a CloudEvent.
    ///
    /// # Errors
    /// [`kafka::DecodeError`] if a newer program wrote attributes that this one does not allow.
    pub fn event(&self) -> Result<Event, kafka::DecodeError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = |bytes: Option<&[u8]>| bytes.map(|bytes| self.bytes.slice_ref(bytes));
        let is_envelope = |name: &[u8]| name.starts_with(b"ce_") || name == b"content-type";
        let envelope = self.headers().filter(|(name, _)| is_envelope(name));
        let headers =
            envelope.map(|(name, bytes)| kafka::Header { name: text(name), value: value(bytes) }).collect();
        kafka::decode(&kafka::Message { key: None, headers, value: self.data() })
    }

    /// A header that the store has written once, and near the front.
    fn attribute(&self, name: &str) -> &str {
        let found = self.headers().find(|(header, _)| *header == name.as_bytes());
        found.and_then(|(_, value)| std::str::from_utf8(value?).ok()).unwrap_or_default()
    }

    /// A header's value; the last one, as Kafka reads them.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = None;
        for (header, value) in self.headers() {
            if header == name.as_bytes() {
                found = value.and_then(|value| std::str::from_utf8(value).ok()).or(found);
            }
        }
        found
    }

    /// All headers in order.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut cursor = Cursor::new(&self.bytes, self.headers as usize);
        (0..self.header_count).map_while(move |_| {
            let name = cursor.field()??;
            let value = cursor.field()?;
            Some((&self.bytes[name], value.map(|value| &self.bytes[value])))
        })
    }
}

impl std::fmt::Debug for RecordedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordedEvent")
            .field("position", &self.position.0)
            .field("stream", &self.stream())
            .field("revision", &self.revision.0)
            .field("type", &self.type_name())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
