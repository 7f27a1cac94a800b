//! A subscription as it is journaled.
//!
//! `n` is unsigned LEB128: 1; ack timeout ms, most deliveries, most in flight, buffer `n`; ordered by stream, 0 or 1; looked
//! to `n`; number of open events `n`, each position (difference to the one before) and deliveries `n`; number of parked
//! events `n`, each position (difference), deliveries, since ms `n`, and reason (length `n`, UTF-8).

use std::collections::BTreeMap;

use super::{Open, Options, PARKED_MAX, Parked, REASON_BYTES_MAX, Subscription};

const VERSION: u8 = 1;
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
        let mut open: BTreeMap<u64, u32> =
            self.waiting.iter().map(|(at, (open, _))| (*at, open.deliveries)).collect();
        open.extend(self.leased.iter().map(|(at, leased)| (*at, leased.open.deliveries)));
        put(&mut bytes, open.len() as u64);
        let mut before = 0;
        for (position, deliveries) in open {
            put(&mut bytes, position - before);
            put(&mut bytes, u64::from(deliveries));
            before = position;
        }
        self.encode_parked(&mut bytes);
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
    if byte(rest)? != VERSION {
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
        // Streams are not stored; each of these goes on its own.
        let open = Open { stream: u64::MAX - position, deliveries };
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
        subscription.parked.insert(position, Parked { reason, deliveries, since_ms });
    }
    subscription.is_changed = false;
    rest.is_empty().then_some(subscription)
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
