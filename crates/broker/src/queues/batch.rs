//! Messages as record batches, the one format of all logs: body as value, routing key as key, the rest in one header.
//!
//! A body that several queues share is such a record in the log of bodies; in the queues' own logs a record without key and
//! value stands for it, whose one header names its offset there.

use std::sync::Arc;

use annals_queues::Message;
use annals_queues::envelope;
use annals_topics::batch::{Batch, BatchBuilder, BatchOptions, BuildError, ExpandLimits, NewRecord, Record};
use bytes::Bytes;

/// The header that holds what a message is beside its body, routing key and time.
pub(super) const ENVELOPE: &str = "annals";
/// The header that names the offset of a shared body, in eight bytes, big-endian.
const SHARED: &str = "annals-shared";
/// The most that the record of a shared body takes in a queue's own log.
pub(super) const SHARED_LEN_MAX: usize = 48;

/// A message whose envelope is encoded, ready for any number of batches.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) message: Arc<Message>,
    pub(crate) envelope: Bytes,
}

impl Encoded {
    pub(crate) fn new(message: Arc<Message>) -> Self {
        let envelope = envelope::encode(&message);
        Self { message, envelope }
    }

    /// The most that its record takes.
    pub(crate) fn len_max(&self) -> usize {
        64 + self.message.routing_key.len() + self.message.body.len() + self.envelope.len()
    }
}

/// One record of a batch.
pub(crate) enum Item<'a> {
    /// A message.
    Inline(&'a Encoded),
    /// A body in the log of bodies, published then.
    Shared(u64, i64),
}

/// One message as it is stored.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    Message(Arc<Message>),
    /// Its offset in the log of bodies.
    Shared(u64),
}

/// One batch of these records, whose base offset is still to be assigned.
pub(crate) fn build<'a>(items: impl Iterator<Item = Item<'a>>) -> Result<Batch, BuildError> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for item in items {
        match item {
            Item::Inline(encoded) => {
                let message = &encoded.message;
                builder.push(&NewRecord {
                    timestamp_ms: message.published_ms,
                    key: Some(message.routing_key.as_bytes()),
                    value: Some(&message.body),
                    headers: &[(ENVELOPE, Some(&encoded.envelope))],
                })?;
            }
            Item::Shared(offset, published_ms) => {
                let offset = offset.to_be_bytes();
                let headers = [(SHARED, Some(&offset[..]))];
                builder.push(&NewRecord { headers: &headers, ..NewRecord::at(published_ms) })?;
            }
        }
    }
    builder.build()
}

/// The messages of stored batches with their offsets. What cannot be read is left out, and said.
pub(crate) fn stored(mut batches: Bytes) -> Vec<(u64, Stored)> {
    let mut found = Vec::new();
    while !batches.is_empty() {
        let records =
            Batch::split_off(&mut batches).and_then(|batch| batch.records(&ExpandLimits::default()));
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(%error, "a stored batch of messages cannot be read");
                return found;
            }
        };
        for record in records {
            match record.map_err(|error| error.to_string()).and_then(read_record) {
                Ok(message) => found.push(message),
                Err(error) => tracing::error!(error, "a stored message cannot be read"),
            }
        }
    }
    found
}

fn read_record(record: Record) -> Result<(u64, Stored), String> {
    let offset = record.offset.cast_unsigned();
    let header = record.headers.into_iter().next().ok_or("it has no header")?;
    let value = header.value.ok_or("its header has no value")?;
    if header.key == SHARED.as_bytes() {
        let shared = value.first_chunk().copied().ok_or("it names no offset")?;
        return Ok((offset, Stored::Shared(u64::from_be_bytes(shared))));
    }
    if header.key != ENVELOPE.as_bytes() {
        return Err("it has no envelope".to_owned());
    }
    let (key, body) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
    let message = envelope::decode(value, key, body, record.timestamp_ms);
    Ok((offset, Stored::Message(Arc::new(message.map_err(|error| error.to_string())?))))
}

/// What is left of a stored batch without what is dead.
pub(crate) enum Kept {
    All,
    None,
    Some(Bytes),
}

/// The batch without the records that `is_dead` names. Offsets do not change.
pub(crate) fn keep(payload: &Bytes, is_dead: impl Fn(u64) -> bool) -> Kept {
    let Ok(batch) = Batch::parse(payload.clone()) else { return Kept::All };
    let Ok(records) = batch.records(&ExpandLimits::default()) else { return Kept::All };
    let options = BatchOptions { base_offset: batch.header.base_offset, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let Ok(record) = record else { return Kept::All };
        if !is_dead(record.offset.cast_unsigned()) && !copy(&mut builder, &record) {
            return Kept::All;
        }
    }
    match builder.record_count() {
        0 => Kept::None,
        kept if kept == batch.header.record_count => Kept::All,
        _ => builder.build().map_or(Kept::All, |batch| Kept::Some(batch.encode())),
    }
}

/// Copies a record to its place in another batch. Returns whether that was possible.
fn copy(builder: &mut BatchBuilder, record: &Record) -> bool {
    let header = |name| {
        let found = record.headers.iter().find(|header| header.key == str::as_bytes(name))?;
        Some((name, found.value.as_deref()))
    };
    let Some(header) = header(ENVELOPE).or_else(|| header(SHARED)) else { return false };
    let new = NewRecord {
        timestamp_ms: record.timestamp_ms,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &[header],
    };
    builder.push_at(record.offset, &new).is_ok()
}
