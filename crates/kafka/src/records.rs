//! Stored records within an answer: they can be given back while they wait for their client, and read again. Those that were
//! not read yet are as if they had been given back.
//!
//! What is given back is remembered as a place: the offset of the batch in which the answer stopped, and how far into
//! it. Stored batches do not change, but they may be trimmed or compacted away. So what is read again goes on where the
//! answer stopped only if the batch there still has the checksum that it had; else the answer cannot be completed.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::BoxFuture;

use crate::close::Close;
use crate::memory::Share;

/// What is read again at once: enough to be worth a read, little enough for many to have at the same time.
pub(crate) const SLICE_BYTES: usize = 1 << 20;

/// Where records come from.
pub(crate) trait Source: std::fmt::Debug + Send + Sync {
    /// Reads whole batches from `offset`, about as many as fit into `bytes_max` but at least one, with memory for them.
    /// Nothing, if they are gone.
    fn read(&self, offset: i64, bytes_max: usize) -> BoxFuture<'_, Result<(Vec<Bytes>, Share), Close>>;

    /// Bytes in memory of what it has read ahead.
    fn held(&self) -> usize {
        0
    }

    /// Gives up what it has read ahead.
    fn give_back(&self) {}
}

/// Whole record batches of one partition.
#[derive(Debug)]
pub(crate) struct Records {
    source: Arc<dyn Source>,
    /// Where the first batch begins; known once they were given back.
    offset: i64,
    /// The bytes, cut anywhere. Empty while they are given back.
    chunks: Vec<Bytes>,
    bytes: usize,
    /// How many of the bytes are consumed.
    consumed: usize,
    /// The first chunk that is not consumed, and how much of it is.
    front: (usize, usize),
    /// The head of the first batch, if a part of it is consumed and the rest given back.
    begun: Option<BatchHead>,
}

impl Records {
    pub(crate) fn new(source: Arc<dyn Source>, chunks: Vec<Bytes>) -> Self {
        let bytes = chunks.iter().map(Bytes::len).sum();
        Self { source, offset: -1, chunks, bytes, consumed: 0, front: (0, 0), begun: None }
    }

    /// So many bytes of batches from `offset` on that are still to be read.
    pub(crate) fn unread(source: Arc<dyn Source>, offset: i64, bytes: usize) -> Self {
        Self { offset, bytes, ..Self::new(source, Vec::new()) }
    }

    /// The source of what is not in memory.
    pub(crate) fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// The bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes - self.consumed
    }

    pub(crate) fn is_given_back(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn chunk(&self) -> &[u8] {
        let (index, at) = self.front;
        self.chunks.get(index).map_or(&[], |chunk| &chunk[at..])
    }

    /// The unconsumed chunks; returns how many it has put.
    pub(crate) fn put_chunks<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (index, _) = self.front;
        let first = std::iter::once(self.chunk()).filter(|chunk| !chunk.is_empty());
        let chunks = first.chain(self.chunks.iter().skip(index + 1).map(|chunk| &chunk[..]));
        slices.iter_mut().zip(chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.consumed += count;
        let (index, at) = &mut self.front;
        *at += count;
        while let Some(chunk) = self.chunks.get(*index).filter(|chunk| *at >= chunk.len()) {
            *at -= chunk.len();
            *index += 1;
        }
    }

    /// Gives back all but the next `keep` bytes, which it returns: a copy, so that nothing else stays in memory for them.
    pub(crate) fn give_back(&mut self, keep: usize) -> Option<Bytes> {
        let at = self.consumed + keep;
        if self.is_given_back() || at >= self.bytes {
            return None;
        }
        let (begin, head) = batch_around(&self.chunks, at)?;
        let mut kept = BytesMut::with_capacity(keep);
        while kept.len() < keep {
            let chunk = self.chunk();
            let part = chunk.len().min(keep - kept.len());
            kept.extend_from_slice(&chunk[..part]);
            self.advance(part);
        }
        self.offset = head.base_offset;
        self.bytes -= begin;
        self.consumed -= begin;
        self.begun = (self.consumed > 0).then_some(head);
        self.chunks = Vec::new();
        Some(kept.freeze())
    }

    /// Gives back the batches behind the next `count` bytes, which are more than none: returns them.
    pub(crate) fn split_after(&mut self, count: usize) -> Option<Self> {
        let at = self.consumed + count;
        if self.is_given_back() || at >= self.bytes {
            return None;
        }
        let (begin, head) = batch_around(&self.chunks, at - 1)?;
        let end = begin + head.size;
        let bytes = self.bytes.checked_sub(end).filter(|bytes| *bytes > 0)?;
        let mut left = end;
        self.chunks.retain_mut(|chunk| {
            chunk.truncate(left);
            left -= chunk.len();
            !chunk.is_empty()
        });
        self.bytes = end;
        Some(Self::unread(Arc::clone(&self.source), head.next_offset(), bytes))
    }

    /// Reads again what was given back: a slice of it. Returns the memory that it takes, and what follows it.
    pub(crate) async fn load(&mut self) -> Result<(Share, Option<Self>), Close> {
        let (chunks, share) = self.source.read(self.offset, self.bytes.min(SLICE_BYTES)).await?;
        let loaded: usize = chunks.iter().map(Bytes::len).sum();
        let is_same = self.begun.is_none_or(|begun| Cursor::new(&chunks).head() == Some(begun));
        if !is_same || loaded <= self.consumed || loaded > self.bytes {
            return Err(Close::RecordsGone { offset: self.offset });
        }
        let rest = self.rest(&chunks, loaded);
        (self.chunks, self.bytes, self.front) = (chunks, loaded, (0, 0));
        let consumed = std::mem::take(&mut self.consumed);
        self.advance(consumed);
        Ok((share, rest))
    }

    /// What follows `chunks`, the first of these records.
    fn rest(&self, chunks: &[Bytes], loaded: usize) -> Option<Self> {
        let bytes = self.bytes - loaded;
        if bytes == 0 {
            return None;
        }
        let (_, last) = batch_around(chunks, loaded - 1)?;
        Some(Self::unread(Arc::clone(&self.source), last.next_offset(), bytes))
    }
}

/// What tells one batch from another, and where the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BatchHead {
    base_offset: i64,
    size: usize,
    crc: u32,
    last_offset_delta: i32,
}

impl BatchHead {
    fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }
}

/// The batch that has the byte `at`, and where it begins. `None` if these are no batches.
fn batch_around(chunks: &[Bytes], at: usize) -> Option<(usize, BatchHead)> {
    let (mut cursor, mut begin) = (Cursor::new(chunks), 0);
    loop {
        let head = cursor.head()?;
        if at < begin + head.size {
            return Some((begin, head));
        }
        cursor.skip(head.size);
        begin += head.size;
    }
}

/// A place in bytes that are cut anywhere.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    chunks: &'a [Bytes],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The fields up to the last offset delta.
    const HEAD_BYTES: usize = 27;

    fn new(chunks: &'a [Bytes]) -> Self {
        Self { chunks, at: 0 }
    }

    fn skip(&mut self, count: usize) {
        self.at += count;
        while let Some(first) = self.chunks.first().filter(|first| self.at >= first.len()) {
            self.at -= first.len();
            self.chunks = &self.chunks[1..];
        }
    }

    /// The head of the batch that begins here.
    fn head(mut self) -> Option<BatchHead> {
        let mut bytes = [0; Self::HEAD_BYTES];
        let mut filled = 0;
        while filled < bytes.len() {
            let chunk = &self.chunks.first()?[self.at..];
            let part = chunk.len().min(bytes.len() - filled);
            bytes[filled..filled + part].copy_from_slice(&chunk[..part]);
            filled += part;
            self.skip(part);
        }
        let mut fields = &bytes[..];
        let (base_offset, length) = (fields.get_i64(), fields.get_i32());
        fields.advance(5); // leader epoch, magic
        let crc = fields.get_u32();
        fields.advance(2); // attributes
        let size = usize::try_from(length).ok()? + 12;
        Some(BatchHead { base_offset, size, crc, last_offset_delta: fields.get_i32() })
    }
}

#[cfg(test)]
mod tests;
