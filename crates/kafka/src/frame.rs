//! Requests as frames: four bytes of length, then the request. Nothing is allocated for a length before it is checked
//! and its memory is taken.
//!
//! Source: the Kafka protocol guide, "Protocol primitives" and "Request and response headers".

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::close::Close;
use crate::memory::{ConnectionMemory, Held};

/// What is read at once: enough for many small requests, little enough for thousands of idle connections.
const READ_BYTES: usize = 8 * 1024;

/// A request header takes at least this.
const FRAME_BYTES_MIN: usize = 8;

/// A client that sends slower than this ties up memory that others wait for.
const SLOWEST_BYTES_PER_SECOND: usize = 256 * 1024;

/// Sizes and times that a frame must keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLimits {
    pub(crate) size_bytes_max: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) receive_timeout: Duration,
}

/// One request's bytes, with the memory that they take.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    pub(crate) held: Held,
}

/// Cuts a connection's bytes into frames.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    limits: FrameLimits,
    is_first: bool,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, limits: FrameLimits) -> Self {
        Self { stream, buffer: BytesMut::new(), limits, is_first: true }
    }

    /// Waits until the length of the next frame is there. Cancel safe.
    pub(crate) async fn next_size(&mut self) -> Result<usize, Close> {
        while self.buffer.len() < 4 {
            let within = self.limits.idle_timeout;
            match timeout(within, self.read_some(READ_BYTES)).await {
                Err(_) => return Err(Close::Idle(within)),
                Ok(Ok(0)) if self.buffer.is_empty() => return Err(Close::ByClient),
                Ok(Ok(0)) => return Err(Close::WithinRequest),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
            }
        }
        self.check_size()
    }

    /// Reads the frame whose size [`FrameReader::next_size`] told.
    pub(crate) async fn next_frame(
        &mut self,
        size: usize,
        memory: &ConnectionMemory,
    ) -> Result<Frame, Close> {
        let held = memory.take(size).await;
        let slowest = Duration::from_secs((size / SLOWEST_BYTES_PER_SECOND) as u64);
        let within = self.limits.receive_timeout + slowest;
        let read = timeout(within, self.fill(4 + size)).await;
        read.map_err(|_| Close::SlowRequest { size_bytes: size, within })??;
        self.buffer.advance(4);
        Ok(Frame { bytes: self.buffer.split_to(size).freeze(), held })
    }

    async fn fill(&mut self, size: usize) -> Result<(), Close> {
        while self.buffer.len() < size {
            let missing = size - self.buffer.len();
            if self.read_some(missing).await? == 0 {
                return Err(Close::WithinRequest);
            }
        }
        Ok(())
    }

    async fn read_some(&mut self, room: usize) -> io::Result<usize> {
        self.buffer.reserve(room);
        self.stream.read_buf(&mut self.buffer).await
    }

    fn check_size(&mut self) -> Result<usize, Close> {
        let head = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
        if std::mem::take(&mut self.is_first) {
            recognise_foreign_protocol(head)?;
        }
        let size_max = self.limits.size_bytes_max;
        let size = i32::from_be_bytes(head);
        let allowed = FRAME_BYTES_MIN..=size_max;
        let in_range = usize::try_from(size).ok().filter(|size| allowed.contains(size));
        in_range.ok_or(Close::FrameSize { size, size_max })
    }
}

/// Tells what a client speaks that has come to the wrong port: as a length, these bytes would only be absurd.
fn recognise_foreign_protocol(head: [u8; 4]) -> Result<(), Close> {
    match &head {
        [0x16, 0x03, ..] => Err(Close::Tls),
        b"AMQP" => Err(Close::Amqp),
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"DELE" | b"OPTI" | b"PRI " => Err(Close::Http),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    fn reader(bytes: &[u8]) -> FrameReader<&[u8]> {
        let timeout = Duration::from_secs(1);
        let limits = FrameLimits { size_bytes_max: 1000, idle_timeout: timeout, receive_timeout: timeout };
        FrameReader::new(bytes, limits)
    }

    async fn read(bytes: &[u8]) -> Result<Vec<Bytes>, Close> {
        let memory = ConnectionMemory::new(
            4096,
            &Memory::new(4096),
            annals_broker::Metrics::default().protocol("kafka"),
        );
        let (mut reader, mut frames) = (reader(bytes), Vec::new());
        loop {
            match reader.next_size().await {
                Ok(size) => frames.push(reader.next_frame(size, &memory).await?.bytes),
                Err(Close::ByClient) => return Ok(frames),
                Err(close) => return Err(close),
            }
        }
    }

    #[tokio::test]
    async fn frames_are_cut_out_one_after_another() {
        let frames = read(b"\0\0\0\x0812345678\0\0\0\x09abcdefghi").await.expect("whole");
        assert_eq!(frames, ["12345678", "abcdefghi"]);
    }

    #[tokio::test]
    async fn lengths_beyond_the_limit_and_foreign_protocols_are_named() {
        let too_large = read(b"\x7f\xff\xff\xff").await;
        assert!(matches!(too_large, Err(Close::FrameSize { size: i32::MAX, size_max: 1000 })));
        assert!(matches!(read(b"\xff\xff\xff\xff").await, Err(Close::FrameSize { size: -1, .. })));
        assert!(matches!(read(b"\0\0\0\x07").await, Err(Close::FrameSize { size: 7, .. })));
        assert!(matches!(read(b"\x16\x03\x01\x02\0").await, Err(Close::Tls)));
        assert!(matches!(read(b"GET / HTTP/1.1\r\n").await, Err(Close::Http)));
        assert!(matches!(read(b"AMQP\0\0\x09\x01").await, Err(Close::Amqp)));
        assert!(matches!(read(b"\0\0\0\x08123").await, Err(Close::WithinRequest)));
        assert!(matches!(read(b"\0\0").await, Err(Close::WithinRequest)));
    }
}
