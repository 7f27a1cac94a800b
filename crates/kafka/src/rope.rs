//! A response as a chain of buffers: small encoded pieces and stored records, written without copying the records.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;

use crate::close::Close;
use crate::memory::Share;
use crate::records::{Records, SLICE_BYTES, Source};

/// Records up to this size are copied: cheaper than one more entry in a vectored write.
const COPY_MAX: usize = 2048;

/// What stands in front of records that are not in memory, and is not worth a write of its own. Less than is kept for a client
/// that has stopped reading, for which nothing is to be read.
const LEAD_MAX: usize = 256;

/// A chain of buffers. Reading it as a [`Buf`] consumes it; writing it goes out in vectored writes.
///
/// As a [`Buf`] it ends where records were given back, until they are loaded again.
#[derive(Debug, Default)]
pub(crate) struct Rope {
    parts: VecDeque<Part>,
    remaining: usize,
    /// Memory for the records that it was made with.
    share: Option<Share>,
    /// Memory for the slice that was loaded last.
    slice: Option<Share>,
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
        for share in [other.share, other.slice].into_iter().flatten() {
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

    /// The bytes of records that are in memory, also of those that are being read.
    pub(crate) fn loaded(&self) -> usize {
        let loaded: usize = self.parts.iter().map(Part::loaded).sum();
        loaded + self.sources().map(Source::held).max().unwrap_or(0)
    }

    /// Those of one answer read ahead together.
    fn sources(&self) -> impl Iterator<Item = &dyn Source> {
        self.parts.iter().filter_map(|part| match part {
            Part::Records(records) => Some(records.source()),
            Part::Bytes(_) => None,
        })
    }

    /// Whether it holds memory that others could want.
    pub(crate) fn holds_memory(&self) -> bool {
        [&self.share, &self.slice].into_iter().flatten().any(|share| !share.is_empty())
    }

    /// Whether somebody waits for memory that this holds.
    pub(crate) fn is_wanted(&self) -> bool {
        self.any_share().is_some_and(Share::is_wanted)
    }

    fn any_share(&self) -> Option<&Share> {
        self.slice.as_ref().or(self.share.as_ref())
    }

    /// Waits until somebody waits for memory that this holds; for ever if it holds none.
    pub(crate) fn wanted(&self) -> impl Future<Output = ()> + Send + use<> {
        let wanted = self.any_share().map(Share::wanted);
        async move {
            match wanted {
                Some(wanted) => wanted.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Gives records back, with their memory, all but a slice: for a client that goes on reading.
    pub(crate) fn keep_slice(&mut self) {
        self.sources().for_each(Source::give_back);
        let mut room = SLICE_BYTES;
        for part in std::mem::take(&mut self.parts) {
            let Part::Records(mut records) = part else {
                self.parts.push_back(part);
                continue;
            };
            let rest = if room > 0 { records.split_after(room) } else { records.give_back(0).and(None) };
            room = room.saturating_sub(records.left());
            self.parts.push_back(Part::Records(records));
            self.parts.extend(rest.map(|rest| Part::Records(Box::new(rest))));
        }
        self.shrink(SLICE_BYTES);
    }

    /// Gives records back, with their memory, all but those within the next `keep` bytes, of which it takes a copy: for a
    /// client that is waited for.
    pub(crate) fn give_back(&mut self, keep: usize) {
        self.sources().for_each(Source::give_back);
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
        self.shrink(keep);
    }

    fn shrink(&mut self, keep: usize) {
        for share in [&mut self.share, &mut self.slice].into_iter().flatten() {
            share.shrink(keep);
        }
    }

    /// Whether the next records are not in memory.
    pub(crate) fn lacks_records(&self) -> bool {
        self.lacking().is_some()
    }

    /// The part with the next records, if they are not in memory.
    fn lacking(&self) -> Option<usize> {
        let mut lead = 0;
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Records(records) if records.is_given_back() => return Some(index),
                Part::Records(_) => return None,
                Part::Bytes(bytes) => lead += bytes.len(),
            }
            if lead > LEAD_MAX {
                return None;
            }
        }
        None
    }

    /// Reads the next records, as soon as there is memory for them.
    pub(crate) async fn load(&mut self) -> Result<(), Close> {
        let Some(index) = self.lacking() else { return Ok(()) };
        let Some(Part::Records(mut records)) = self.parts.remove(index) else { return Ok(()) };
        self.slice = None;
        if self.loaded() == 0 {
            self.share = None;
        }
        let wanted = self.wanted();
        let (slice, rest) = {
            let mut loading = pin!(records.load());
            tokio::select! {
                biased;
                loaded = &mut loading => loaded?,
                // Nobody holds memory while waiting for memory.
                () = wanted => {
                    self.give_back(0);
                    loading.await?
                }
            }
        };
        self.slice = Some(slice);
        if let Some(rest) = rest {
            self.parts.insert(index, Part::Records(Box::new(rest)));
        }
        self.parts.insert(index, Part::Records(records));
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

    /// Adds records that are read when they are to be written.
    pub(crate) fn unread(&mut self, offset: i64, bytes: usize, source: Arc<dyn Source>) {
        self.done.push(self.open.split().freeze());
        self.done.push_part(Part::Records(Box::new(Records::unread(source, offset, bytes))));
    }

    pub(crate) fn finish(mut self) -> Rope {
        self.done.push(self.open.freeze());
        self.done
    }
}

#[cfg(test)]
mod tests;
