//! An input taken apart: choices from the front, the rest as bytes.

/// Reads a fuzz input from its front. Past the end, numbers are zero and slices empty, so every input means something.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `len` bytes, or as many as are left.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(len.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next two bytes, little-endian.
    pub fn short(&mut self) -> u16 {
        u16::from(self.byte()) | u16::from(self.byte()) << 8
    }

    /// The next eight bytes, little-endian.
    pub fn long(&mut self) -> u64 {
        let mut number = [0; 8];
        let taken = self.take(8);
        number[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(number)
    }

    /// A slice whose length, in two bytes, comes before it.
    pub fn slice(&mut self) -> &'a [u8] {
        let len = usize::from(self.short());
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_can_be_read_past_its_end() {
        let mut input = Input::new(&[7, 2, 0, 8, 9, 1]);
        assert_eq!((input.byte(), input.slice(), input.long()), (7, &[8, 9][..], 1));
        assert!(input.is_empty());
        assert_eq!((input.byte(), input.slice(), input.rest()), (0, &[][..], &[][..]));
    }
}
