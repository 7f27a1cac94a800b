//! A subscription as it is journaled.
//!
//! `n` is unsigned LEB128: 2; ack timeout ms, most deliveries, most in flight, buffer `n`; ordered by stream, 0 or 1; looked
//! to `n`; number of open events `n`, each position (difference to the one before) and deliveries `n`; number of parked
//! events `n`, each position (difference), deliveries, since ms `n`, and reason (length `n`, UTF-8). If ordered by stream, the
//! numbers of their streams follow, 8 bytes each, little-endian: of the open ones, then of the parked ones.
//!
//! Version 1 had no streams: what was open or parked then goes on its own, before or beside the rest of its stream.

use std::collections::BTreeMap;

use super::{Open, Options, PARKED_MAX, Parked, REASON_BYTES_MAX, Subscription};

const VERSION: u8 = 2;
const VERSION_WITHOUT_STREAMS: u8 = 1;
/// The most open events that a decoder believes.
const OPEN_MAX: u64 = 1 << 20;

/// A subscription as bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image(pub Vec<u8>);

/// Bytes that are no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored subscription cannot be read")]
pub struct ImageError;

impl Subscription {
    /// The present state, if it is another than that of the last image.
    pub fn image(&mut self) -> Option<Image> {
        std::mem::take(&mut self.is_changed).then(|| Image(self.encode()))
    }

    /// The last image was not written.
    pub fn not_written(&mut self) {
        self.is_changed = true;
    }

    fn encode(&self) -> Vec<u8> {
        let Options { ack_timeout_ms, deliveries_max, in_flight_max, buffer_max, ordered_by_stream } =
            self.options;
        let mut bytes = vec![VERSION];
        for number in [ack_timeout_ms, u64::from(deliveries_max), in_flight_max as u64, buffer_max as u64] {
            put(&mut bytes, number);
        }
        bytes.push(u8::from(ordered_by_stream));
        put(&mut bytes, self.looked_to);
        let mut all: BTreeMap<u64, Open> = self.waiting.iter().map(|(at, (open, _))| (*at, *open)).collect();
        all.extend(self.leased.iter().map(|(at, leased)| (*at, leased.open)));
        put(&mut bytes, all.len() as u64);
        let mut before = 0;
        for (position, open) in &all {
            put(&mut bytes, position - before);
            put(&mut bytes, u64::from(open.deliveries));
            before = *position;
        }
        self.encode_parked(&mut bytes);
        if ordered_by_stream {
            let streams = all.values().map(|open| open.stream);
            let streams = streams.chain(self.parked.values().map(|parked| parked.stream));
            streams.for_each(|stream| bytes.extend_from_slice(&stream.to_le_bytes()));
        }
        bytes
    }

    fn encode_parked(&self, bytes: &mut Vec<u8>) {
        put(bytes, self.parked.len() as u64);
        let mut before = 0;
        for (position, parked) in &self.parked {
            put(bytes, position - before);
            put(bytes, u64::from(parked.deliveries));
            put(bytes, parked.since_ms.max(0).cast_unsigned());
            put(bytes, parked.reason.len() as u64);
            bytes.extend_from_slice(parked.reason.as_bytes());
            before = *position;
        }
    }

    /// A subscription from its image. Everything that was open waits again.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn restore(image: &[u8]) -> Result<Self, ImageError> {
        decode(image).ok_or(ImageError)
    }
}

fn decode(mut bytes: &[u8]) -> Option<Subscription> {
    let rest = &mut bytes;
    let version = byte(rest)?;
    if !matches!(version, VERSION | VERSION_WITHOUT_STREAMS) {
        return None;
    }
    let options = Options {
        ack_timeout_ms: take(rest)?,
        deliveries_max: u32::try_from(take(rest)?).ok()?,
        in_flight_max: usize::try_from(take(rest)?).ok()?,
        buffer_max: usize::try_from(take(rest)?).ok()?,
        ordered_by_stream: byte(rest)? != 0,
    };
    let mut subscription = Subscription::new(options, crate::Position(take(rest)?));
    let mut position = 0_u64;
    for _ in 0..take(rest).filter(|count| *count <= OPEN_MAX)? {
        position = position.checked_add(take(rest)?)?;
        let deliveries = u32::try_from(take(rest)?).ok()?;
        let open = Open { stream: own_stream(position), deliveries };
        subscription.waiting.insert(position, (open, 0));
    }
    position = 0;
    for _ in 0..take(rest).filter(|count| *count <= PARKED_MAX as u64 + OPEN_MAX)? {
        position = position.checked_add(take(rest)?)?;
        let (deliveries, since) = (u32::try_from(take(rest)?).ok()?, take(rest)?);
        let len = usize::try_from(take(rest)?).ok().filter(|len| *len <= REASON_BYTES_MAX)?;
        let (reason, behind) = rest.split_at_checked(len)?;
        *rest = behind;
        let reason = std::str::from_utf8(reason).ok()?.into();
        let since_ms = i64::try_from(since).ok()?;
        let parked = Parked { reason, deliveries, since_ms, stream: own_stream(position) };
        subscription.parked.insert(position, parked);
    }
    if version == VERSION && subscription.options.ordered_by_stream {
        let open = subscription.waiting.values_mut().map(|(open, _)| &mut open.stream);
        for stream in open.chain(subscription.parked.values_mut().map(|parked| &mut parked.stream)) {
            let (number, behind) = rest.split_first_chunk()?;
            (*stream, *rest) = (u64::from_le_bytes(*number), behind);
        }
    }
    subscription.is_changed = false;
    rest.is_empty().then_some(subscription)
}

/// Of an event whose stream is not known: it goes on its own and keeps nobody waiting.
fn own_stream(position: u64) -> u64 {
    u64::MAX - position
}

fn put(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(first)
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = byte(bytes)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
