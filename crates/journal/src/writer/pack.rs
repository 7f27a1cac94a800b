//! Packing groups into one contiguous, block-aligned stretch of memory, which is then written and handed to the tail
//! cache as it is.
//!
//! Memory comes in blocks of [`BUFFER_LEN`]; a payload may run over from one into the next. Each finished write is
//! padded to a multiple of [`BLOCK_LEN`], so that no later write touches a sector that is already synced.

use bytes::{Buf, Bytes, BytesMut};

use crate::frame::{BLOCK_LEN, FRAME_ALIGNMENT};

const BUFFER_LEN: usize = 1 << 20;

/// Bytes on their way to one place in a segment.
pub(crate) struct Packer {
    current: BytesMut,
    /// How many bytes `current` may still take before it is full.
    left: usize,
    done: Vec<Bytes>,
    len: usize,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { current: BytesMut::new(), left: 0, done: Vec::new(), len: 0 }
    }

    /// Bytes packed since the last [`Packer::finish`].
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn put(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            if self.left == 0 {
                self.next_buffer();
            }
            let n = bytes.len().min(self.left);
            self.current.extend_from_slice(&bytes[..n]);
            self.left -= n;
            bytes.advance(n);
        }
    }

    /// Pads to where the next frame may start.
    pub(crate) fn align_frame(&mut self) {
        self.pad(FRAME_ALIGNMENT);
    }

    /// Pads to a whole number of blocks and gives everything packed, in order. All pieces but the last are whole
    /// buffers; each starts at an aligned address.
    pub(crate) fn finish(&mut self) -> Vec<Bytes> {
        self.pad(BLOCK_LEN);
        if !self.current.is_empty() {
            self.done.push(self.current.split().freeze());
        }
        self.len = 0;
        std::mem::take(&mut self.done)
    }

    fn pad(&mut self, alignment: usize) {
        const ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];
        let padding = self.len.next_multiple_of(alignment) - self.len;
        self.put(&ZEROS[..padding]);
    }

    fn next_buffer(&mut self) {
        if !self.current.is_empty() {
            self.done.push(self.current.split().freeze());
        }
        let mut buffer = BytesMut::with_capacity(BUFFER_LEN + BLOCK_LEN);
        let skip = buffer.as_ptr().align_offset(BLOCK_LEN).min(BLOCK_LEN);
        buffer.resize(skip, 0);
        buffer.advance(skip);
        self.current = buffer;
        self.left = BUFFER_LEN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_and_whole_blocks() {
        let mut packer = Packer::new();
        for round in 1..200_usize {
            let bytes = vec![round as u8; round * 97 * 31];
            packer.put(&bytes);
            packer.align_frame();
            let pieces = packer.finish();
            assert_eq!(pieces.concat()[..bytes.len()], bytes);
            for piece in &pieces {
                assert!(piece.as_ptr().addr().is_multiple_of(BLOCK_LEN), "round {round}");
                assert!(piece.len().is_multiple_of(BLOCK_LEN));
            }
        }
    }
}
