//! A response as a chain of buffers: small encoded pieces and shared payloads, written without copying the payloads.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::memory::Share;

/// Payloads up to this size are copied: cheaper than one more entry in a vectored write.
const COPY_MAX: usize = 2048;

/// A chain of buffers. Reading it as a [`Buf`] consumes it; writing it goes out in vectored writes.
#[derive(Debug, Default)]
pub(crate) struct Rope {
    parts: VecDeque<Bytes>,
    remaining: usize,
    /// Memory that is given back when the rope is written or dropped.
    shares: Vec<Share>,
}

impl Rope {
    /// Adds a buffer at the end.
    pub(crate) fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.remaining += part.len();
            self.parts.push_back(part);
        }
    }

    /// The bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.remaining
    }

    /// Adds all of another rope at the end.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.remaining += other.remaining;
        self.parts.append(&mut other.parts);
        self.shares.append(&mut other.shares);
    }

    /// Whether somebody waits for memory that this holds.
    pub(crate) fn is_wanted(&self) -> bool {
        self.shares.iter().any(Share::is_wanted)
    }

    /// Holds a share of memory as long as the rope is not dropped.
    pub(crate) fn hold(&mut self, share: Share) {
        self.shares.push(share);
    }
}

impl From<Bytes> for Rope {
    fn from(part: Bytes) -> Self {
        let mut rope = Self::default();
        rope.push(part);
        rope
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.parts);
        pairs.map(|(slice, part)| *slice = IoSlice::new(part)).count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "cannot advance beyond the end");
        self.remaining -= count;
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                part.advance(count);
                return;
            }
            count -= part.len();
            self.parts.pop_front();
        }
    }
}

/// Builds a [`Rope`] front to back.
#[derive(Debug, Default)]
pub(crate) struct RopeBuilder {
    done: Rope,
    open: BytesMut,
}

impl RopeBuilder {
    /// Where to encode small things.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.open
    }

    /// Adds a payload that is shared rather than copied.
    pub(crate) fn share(&mut self, payload: Bytes) {
        if payload.len() <= COPY_MAX {
            return self.open.put_slice(&payload);
        }
        self.done.push(self.open.split().freeze());
        self.done.push(payload);
    }

    pub(crate) fn finish(mut self) -> Rope {
        self.done.push(self.open.freeze());
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_out_in_order_however_they_are_consumed() {
        let mut builder = RopeBuilder::default();
        builder.buffer().put_slice(b"head ");
        builder.share(Bytes::from(vec![b'x'; 3000]));
        builder.share(Bytes::from_static(b" tail"));
        let mut rope = builder.finish();
        assert_eq!((rope.parts.len(), rope.remaining()), (3, 3010));

        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(rope.chunks_vectored(&mut slices), 2);
        assert_eq!((slices[0].len(), slices[1].len()), (5, 3000));
        rope.advance(3006);
        assert_eq!(rope.copy_to_bytes(4), "tail");
        assert!(!rope.has_remaining() && rope.chunk().is_empty());
    }

    #[test]
    fn a_payload_is_shared_not_copied() {
        let payload = Bytes::from(vec![1; 3000]);
        let mut builder = RopeBuilder::default();
        builder.share(payload.clone());
        let rope = builder.finish();
        assert_eq!(rope.chunk().as_ptr(), payload.as_ptr());
    }
}
