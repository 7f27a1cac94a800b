//! A response as a chain of buffers: small encoded pieces and stored records, written without copying the records.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;

use crate::close::Close;
use crate::memory::Share;
use crate::records::{Records, Source};

/// Records up to this size are copied: cheaper than one more entry in a vectored write.
const COPY_MAX: usize = 2048;

/// A chain of buffers. Reading it as a [`Buf`] consumes it; writing it goes out in vectored writes.
///
/// As a [`Buf`] it ends where records were given back, until they are loaded again.
#[derive(Debug, Default)]
pub(crate) struct Rope {
    parts: VecDeque<Part>,
    remaining: usize,
    /// Memory for the records.
    share: Option<Share>,
    /// Turns that end when the rope is written or dropped.
    turns: Vec<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Part {
    Bytes(Bytes),
    Records(Box<Records>),
}

impl Part {
    fn left(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Records(records) => records.left(),
        }
    }

    /// The bytes of records that are in memory.
    fn loaded(&self) -> usize {
        match self {
            Self::Records(records) if !records.is_given_back() => records.left(),
            _ => 0,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            Self::Records(records) => records.advance(count),
        }
    }
}

impl Rope {
    /// Adds a buffer at the end.
    pub(crate) fn push(&mut self, part: Bytes) {
        self.push_part(Part::Bytes(part));
    }

    fn push_part(&mut self, part: Part) {
        if part.left() > 0 {
            self.remaining += part.left();
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
        self.turns.append(&mut other.turns);
        if let Some(share) = other.share {
            self.hold(share);
        }
    }

    /// Holds memory as long as the records need it.
    pub(crate) fn hold(&mut self, share: Share) {
        match &mut self.share {
            Some(own) => own.merge(share),
            own => *own = Some(share),
        }
    }

    /// Holds a turn as long as the rope is not dropped.
    pub(crate) fn hold_turn(&mut self, turn: OwnedSemaphorePermit) {
        self.turns.push(turn);
    }

    /// The bytes of records that are in memory.
    pub(crate) fn loaded(&self) -> usize {
        self.parts.iter().map(Part::loaded).sum()
    }

    /// Whether somebody waits for memory that this holds.
    pub(crate) fn is_wanted(&self) -> bool {
        self.share.as_ref().is_some_and(Share::is_wanted)
    }

    /// Waits until somebody waits for memory that this holds; for ever if it holds none.
    pub(crate) fn wanted(&self) -> impl Future<Output = ()> + Send + use<> {
        let wanted = self.share.as_ref().map(Share::wanted);
        async move {
            match wanted {
                Some(wanted) => wanted.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Gives records back, with their memory, all but those within the next `keep` bytes.
    pub(crate) fn give_back(&mut self, keep: usize) {
        let mut keep_left = keep;
        for mut part in std::mem::take(&mut self.parts) {
            if let Part::Records(records) = &mut part
                && let Some(kept) = records.give_back(keep_left)
                && !kept.is_empty()
            {
                keep_left -= kept.len();
                self.parts.push_back(Part::Bytes(kept));
            }
            keep_left = keep_left.saturating_sub(part.left());
            self.parts.push_back(part);
        }
        if let Some(share) = &mut self.share {
            share.shrink(keep);
        }
    }

    /// Whether the next records were given back.
    pub(crate) fn lacks_records(&self) -> bool {
        matches!(self.parts.front(), Some(Part::Records(records)) if records.is_given_back())
    }

    /// Reads the next records again, as soon as there is memory for them.
    pub(crate) async fn load(&mut self) -> Result<(), Close> {
        // Nobody holds memory while waiting for memory.
        self.share = None;
        let Some(Part::Records(records)) = self.parts.front_mut() else { return Ok(()) };
        let (share, rest) = records.load().await?;
        self.share = Some(share);
        if let Some(rest) = rest {
            self.parts.insert(1, Part::Records(Box::new(rest)));
        }
        Ok(())
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
        match self.parts.front() {
            Some(Part::Bytes(bytes)) => bytes,
            Some(Part::Records(records)) => records.chunk(),
            None => &[],
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut put = 0;
        for part in &self.parts {
            let free = &mut slices[put..];
            match part {
                _ if free.is_empty() => break,
                Part::Records(records) if records.is_given_back() => break,
                Part::Records(records) => put += records.put_chunks(free),
                Part::Bytes(bytes) => {
                    free[0] = IoSlice::new(bytes);
                    put += 1;
                }
            }
        }
        put
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "cannot advance beyond the end");
        self.remaining -= count;
        while let Some(part) = self.parts.front_mut() {
            let left = part.left();
            if count < left {
                return part.advance(count);
            }
            count -= left;
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

    /// Adds a record set that is shared rather than copied.
    pub(crate) fn records(&mut self, chunks: &[Bytes], source: impl FnOnce() -> Arc<dyn Source>) {
        if chunks.iter().map(Bytes::len).sum::<usize>() <= COPY_MAX {
            return chunks.iter().for_each(|chunk| self.open.put_slice(chunk));
        }
        self.done.push(self.open.split().freeze());
        self.done.push_part(Part::Records(Box::new(Records::new(source(), chunks.to_vec()))));
    }

    pub(crate) fn finish(mut self) -> Rope {
        self.done.push(self.open.freeze());
        self.done
    }
}

#[cfg(test)]
mod tests;
