//! Reading a segment frame by frame, from its bytes alone: what recovery, `verify` and the rebuilding of a footer share.
//!
//! Where a frame should be and is none, the scanner looks for the next place that holds one and reports the stretch in
//! between. Whether that stretch is the torn end of a crash or damage is for the caller to judge. In a file that was another
//! segment before, what lies behind the last frame is what is left of that one: the same as nothing.

use std::io;

use bytes::Bytes;

use crate::entry::EntryHeader;
use crate::files::File;
use crate::frame::{
    BLOCK_LEN, FRAME_ALIGNMENT, FrameError, FrameHeader, HEADER_LEN, MAGIC, decode_table, padded,
};

const WINDOW_LEN: usize = 1 << 20;

/// What the scanner found next.
#[derive(Debug)]
pub(crate) enum Item {
    /// A frame whose header and table are whole. Its payloads are yet to be checked.
    Frame(Frame),
    /// From `from` to `to` nothing could be read; `to` is the next frame or the end.
    Unreadable { from: u64, to: u64, error: FrameError },
    /// Padding that is not zero: no data is lost, but a bit has flipped.
    Padding { from: u64, to: u64 },
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    pub(crate) entries: Vec<EntryHeader>,
}

impl Frame {
    /// Each entry with the position of its payload in the file.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = (&EntryHeader, u64)> {
        let mut next = self.header.position + self.header.table_end() as u64;
        self.entries.iter().map(move |entry| {
            let position = next;
            next += u64::from(entry.len);
            (entry, position)
        })
    }

    /// Where the frame ends, padding included.
    pub(crate) fn end(&self) -> u64 {
        self.header.position + padded(self.header.len)
    }
}

/// Walks the frames of one file between two positions.
pub(crate) struct Scanner<'a> {
    window: Window<'a>,
    salt: u64,
    position: u64,
    end: u64,
    /// Another segment may have left something behind the last frame.
    reused: bool,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(file: &'a dyn File, salt: u64, from: u64, end: u64) -> Self {
        let window = Window { file, bytes: Bytes::new(), start: 0 };
        Self { window, salt, position: from, end, reused: false }
    }

    /// Behind the last frame may lie what another segment left.
    pub(crate) fn of_reused(self, reused: bool) -> Self {
        Self { reused, ..self }
    }

    /// The next item, or `None` at the end or where only zeros follow.
    pub(crate) fn next(&mut self) -> io::Result<Option<Item>> {
        while self.position + HEADER_LEN as u64 <= self.end {
            match self.frame_at(self.position)? {
                Ok(frame) => {
                    self.position = frame.end();
                    return Ok(Some(Item::Frame(frame)));
                }
                Err(error) => {
                    if let Some(item) = self.skip(error)? {
                        return Ok(Some(item));
                    }
                }
            }
        }
        self.tail()
    }

    /// Bytes of a payload.
    pub(crate) fn bytes(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        self.window.slice(position, len)
    }

    /// The checksum of a payload, however long it is.
    pub(crate) fn checksum(&mut self, mut position: u64, mut len: usize) -> io::Result<u32> {
        let mut crc = 0;
        while len > 0 {
            let bytes = self.window.some(position, len)?;
            crc = crc32c::crc32c_append(crc, bytes);
            position += bytes.len() as u64;
            len -= bytes.len();
        }
        Ok(crc)
    }

    /// Less than a header is left: it must be zero.
    fn tail(&mut self) -> io::Result<Option<Item>> {
        let (from, to) = (self.position, self.end);
        self.position = to.max(from);
        if from >= to || self.reused || self.is_zero(from, to)? {
            return Ok(None);
        }
        Ok(Some(Item::Padding { from, to }))
    }

    /// No frame at the current position: moves to where the next one may be, or reports what lies between.
    fn skip(&mut self, error: FrameError) -> io::Result<Option<Item>> {
        let from = self.position;
        let block_end = (from + 1).next_multiple_of(BLOCK_LEN as u64).min(self.end);
        if error == FrameError::NoMagic && self.is_zero(from, block_end)? {
            self.position = block_end;
            return Ok(None);
        }
        let to = self.find_frame(from + FRAME_ALIGNMENT as u64)?;
        self.position = to;
        // The header of a frame that was torn says which segment it was written for, so that is told from what was left.
        if self.reused && to == self.end && error != FrameError::Checksum {
            return Ok(None);
        }
        // Rest of a block without a sign of a frame before a whole one: padding in which a bit flipped.
        if error == FrameError::NoMagic && to == block_end && to < self.end && self.mostly_zero(from, to)? {
            return Ok(Some(Item::Padding { from, to }));
        }
        Ok(Some(Item::Unreadable { from, to, error }))
    }

    fn frame_at(&mut self, position: u64) -> io::Result<Result<Frame, FrameError>> {
        let left = self.end - position;
        let header = match FrameHeader::decode(self.window.slice(position, HEADER_LEN)?, left) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = header.belongs_to(self.salt, position) {
            return Ok(Err(error));
        }
        let bytes = self.window.slice(position, header.table_end())?;
        Ok(decode_table(&header, bytes).map(|entries| Frame { header, entries }))
    }

    /// The first position at or after `from` with a whole frame, or the end.
    fn find_frame(&mut self, from: u64) -> io::Result<u64> {
        let mut position = padded(from);
        while position + HEADER_LEN as u64 <= self.end {
            let len = (self.end - position).min(WINDOW_LEN as u64) as usize;
            let bytes = self.window.slice(position, len)?;
            let hit = bytes.chunks_exact(FRAME_ALIGNMENT).position(|chunk| chunk[..4] == MAGIC);
            let Some(hit) = hit else {
                position += (len / FRAME_ALIGNMENT * FRAME_ALIGNMENT).max(FRAME_ALIGNMENT) as u64;
                continue;
            };
            position += (hit * FRAME_ALIGNMENT) as u64;
            if position + HEADER_LEN as u64 <= self.end && self.frame_at(position)?.is_ok() {
                return Ok(position);
            }
            position += FRAME_ALIGNMENT as u64;
        }
        Ok(self.end)
    }

    fn is_zero(&mut self, from: u64, to: u64) -> io::Result<bool> {
        Ok(self.window.slice(from, (to - from) as usize)?.iter().all(|&byte| byte == 0))
    }

    fn mostly_zero(&mut self, from: u64, to: u64) -> io::Result<bool> {
        let bytes = self.window.slice(from, (to - from) as usize)?;
        Ok(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>() <= 8)
    }
}

/// A stretch of the file in memory.
struct Window<'a> {
    file: &'a dyn File,
    bytes: Bytes,
    start: u64,
}

impl Window<'_> {
    fn slice(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let inside = position >= self.start && position + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            // The old stretch goes before the new one comes.
            self.bytes = Bytes::new();
            let bytes = self.file.read_bytes(position, len.max(WINDOW_LEN))?;
            if bytes.len() < len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            (self.bytes, self.start) = (bytes, position);
        }
        let from = (position - self.start) as usize;
        Ok(&self.bytes[from..from + len])
    }

    /// The first of `len` bytes, as many as the window has: at least one.
    fn some(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        let here = if (self.start..end).contains(&position) { (end - position) as usize } else { WINDOW_LEN };
        self.slice(position, len.min(here))
    }
}
