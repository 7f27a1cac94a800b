//! The zigzag variable-length integers inside a record (protocol-buffers encoding, as the Kafka protocol guide names
//! it), and a bounds-checked reader over borrowed bytes.

/// Appends `value` in zigzag form: 1 byte for -64..=63, up to 10 bytes.
pub(crate) fn put(buffer: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        buffer.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    buffer.push(rest as u8);
}

/// How many bytes [`put`] writes for `value`.
pub(crate) fn len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// A cursor over borrowed bytes. Every method returns `None` instead of reading past the end.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// A varint of at most 32 bits; longer encodings are refused.
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<i32> {
        let raw = self.unsigned(5)?;
        i32::try_from(unzigzag(raw)).ok()
    }

    /// A varint of at most 64 bits.
    #[inline]
    pub(crate) fn varlong(&mut self) -> Option<i64> {
        self.unsigned(10).map(unzigzag)
    }

    #[inline]
    fn unsigned(&mut self, bytes_max: u32) -> Option<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for index in 1..bytes_max {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Bytes behind a varint length: `Some(None)` for the length -1, which stands for null.
    #[inline]
    pub(crate) fn nullable_bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            length => self.take(usize::try_from(length).ok()?).map(Some),
        }
    }
}

#[inline]
fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Reader, len, put};

    #[test]
    fn encodings_match_the_protocol_buffers_page() {
        // From the table in the protocol-buffers encoding guide: 0 -> 0, -1 -> 1, 1 -> 2, -2 -> 3, ...
        for (value, encoded) in
            [(0, vec![0]), (-1, vec![1]), (1, vec![2]), (-2, vec![3]), (150, vec![0xac, 0x02])]
        {
            let mut buffer = Vec::new();
            put(&mut buffer, value);
            assert_eq!(buffer, encoded, "{value}");
        }
    }

    #[test]
    fn too_long_is_refused() {
        assert_eq!(Reader::new(&[0x80; 11]).varlong(), None);
        assert_eq!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]).varint(), None);
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x7f]).varint(), None);
    }

    proptest! {
        #[test]
        fn round_trip(value: i64) {
            let mut buffer = Vec::new();
            put(&mut buffer, value);
            prop_assert_eq!(buffer.len(), len(value));
            prop_assert_eq!(Reader::new(&buffer).varlong(), Some(value));
            prop_assert_eq!(Reader::new(&buffer).varint(), i32::try_from(value).ok());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.nullable_bytes().is_some() {}
        }
    }
}
