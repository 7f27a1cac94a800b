//! Keys and values.

use crate::TermKey;

pub(super) const CHECKPOINT: u8 = 1;
pub(super) const STREAM: u8 = 2;
pub(super) const STREAM_CHUNK: u8 = 3;
pub(super) const TERM_CHUNK: u8 = 4;
pub(super) const CATEGORY_NAME: u8 = 5;
pub(super) const TYPE_NAME: u8 = 6;

/// The version that values open with.
pub(super) const VERSION: u8 = 1;
/// Positions in one chunk.
pub(super) const CHUNK_LEN_MAX: usize = 256;

pub(super) fn name_key(kind: u8, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(kind);
    key.extend_from_slice(name.as_bytes());
    key
}

pub(super) fn chunk_key(kind: u8, term: TermKey, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(25);
    key.push(kind);
    key.extend_from_slice(&term.to_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number at the end of a chunk's key.
pub(super) fn chunk_number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

pub(super) fn put(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

/// Takes a number off the front.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Rising positions, the first as its difference to `base`.
pub(super) fn encode_positions(base: u64, positions: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(positions.len() + 8);
    let mut before = base;
    for &position in positions {
        put(&mut bytes, position - before);
        before = position;
    }
    bytes
}

pub(super) fn decode_positions(base: u64, mut bytes: &[u8]) -> Option<Vec<u64>> {
    let mut positions = Vec::with_capacity(bytes.len().min(CHUNK_LEN_MAX));
    let mut before = base;
    while !bytes.is_empty() {
        before = before.checked_add(take(&mut bytes)?)?;
        positions.push(before);
    }
    Some(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_back() {
        for positions in [vec![], vec![5], vec![5, 6, 300, 1 << 40]] {
            let bytes = encode_positions(5, &positions);
            assert_eq!(decode_positions(5, &bytes), Some(positions));
        }
        assert_eq!(decode_positions(0, &[0xff]), None);
        assert_eq!(decode_positions(1, &[0xff; 10]), None);
    }
}
