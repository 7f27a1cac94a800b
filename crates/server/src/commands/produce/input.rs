//! Lines of a file or pipe, without blocking whoever waits for them.
//!
//! A thread reads chunks and hands them over a short channel. So a slow pipe never keeps acknowledgements
//! from being seen, and Ctrl-C ends the command even while the terminal waits for the next line.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_WAITING_MAX: usize = 4;
const LINE_BYTES_MAX: usize = 64 << 20;
const TURN: Duration = Duration::from_millis(20);

/// The lines of an input, one after the other.
#[derive(Debug)]
pub(crate) struct Lines {
    chunks: Receiver<io::Result<Vec<u8>>>,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
    number: u64,
}

impl Lines {
    /// Starts to read `input` in a thread of its own, which ends with the input or with the process.
    pub(crate) fn of(input: impl Read + Send + 'static) -> Result<Self> {
        let (sender, chunks) = sync_channel(CHUNKS_WAITING_MAX);
        let read = move || read_chunks(input, &sender);
        std::thread::Builder::new().name("input".into()).spawn(read).context("cannot read the input")?;
        Ok(Self { chunks, buffer: Vec::new(), start: 0, ended: false, number: 0 })
    }

    /// The number of the line that was returned last, counted from one.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line without its ending, or none at the end of the input. While it has to wait it calls
    /// `on_wait`, which ends the input by returning `false`.
    pub(crate) fn next(&mut self, mut on_wait: impl FnMut() -> bool) -> Result<Option<&[u8]>> {
        let mut searched = self.start;
        let end = loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                break searched + at;
            }
            searched = self.buffer.len();
            if self.ended {
                break searched;
            }
            searched -= self.refill(&mut on_wait)?;
        };
        if end == self.start && end == self.buffer.len() {
            return Ok(None);
        }
        self.number += 1;
        let line = &self.buffer[self.start..end];
        self.start = (end + 1).min(self.buffer.len());
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Puts another chunk behind what is there. Returns by how much what is there has moved to the front.
    fn refill(&mut self, on_wait: &mut impl FnMut() -> bool) -> Result<usize> {
        let moved = std::mem::take(&mut self.start);
        self.buffer.drain(..moved);
        if self.buffer.len() > LINE_BYTES_MAX {
            bail!("line {} is longer than {}", self.number + 1, crate::human::bytes(LINE_BYTES_MAX as u64));
        }
        match self.receive(on_wait) {
            Some(chunk) => {
                self.buffer.extend(chunk.with_context(|| format!("cannot read line {}", self.number + 1))?);
            }
            None => self.ended = true,
        }
        Ok(moved)
    }

    fn receive(&self, on_wait: &mut impl FnMut() -> bool) -> Option<io::Result<Vec<u8>>> {
        loop {
            match self.chunks.recv_timeout(TURN) {
                Ok(chunk) => return Some(chunk),
                Err(RecvTimeoutError::Timeout) if on_wait() => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

fn read_chunks(mut input: impl Read, chunks: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let outcome = match input.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => {
                chunk.truncate(length);
                Ok(chunk)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = outcome.is_err();
        if chunks.send(outcome).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::Lines;

    /// Gives one byte at a time, so that every line spans chunks.
    struct Drip(&'static [u8]);

    impl Read for Drip {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            (into[0], self.0) = (*first, rest);
            Ok(1)
        }
    }

    fn all(input: impl Read + Send + 'static) -> Vec<String> {
        let mut lines = Lines::of(input).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next(|| true).unwrap() {
            all.push(String::from_utf8(line.to_vec()).unwrap());
        }
        assert_eq!(lines.number() as usize, all.len());
        all
    }

    #[test]
    fn lines_end_with_or_without_a_newline() {
        let expected = ["a", "", "long line", "last"];
        assert_eq!(all(&b"a\r\n\nlong line\nlast"[..]), expected);
        assert_eq!(all(Drip(b"a\r\n\nlong line\nlast")), expected);
        assert_eq!(all(&b"one\n"[..]), ["one"]);
        assert!(all(&b""[..]).is_empty());
    }

    #[test]
    fn whoever_waits_can_stop_waiting() {
        /// An input that never gives anything until the test is over.
        struct Silent(std::sync::mpsc::Receiver<()>);
        impl Read for Silent {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                let _over = self.0.recv();
                Ok(0)
            }
        }
        let (_keep, receiver) = std::sync::mpsc::sync_channel(0);
        assert_eq!(Lines::of(Silent(receiver)).unwrap().next(|| false).unwrap(), None);
    }
}
