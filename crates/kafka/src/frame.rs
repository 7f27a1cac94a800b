//! Requests as frames: four bytes of length, then the request. Nothing is allocated for a length before it is checked
//! and its memory is taken.
//!
//! Source: the Kafka protocol guide, "Protocol primitives" and "Request and response headers".

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{sleep, timeout};

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
        self.fill(size).await?;
        self.buffer.advance(4);
        Ok(Frame { bytes: self.buffer.split_to(size).freeze(), held })
    }

    /// Fills the buffer with the whole frame. Each piece that comes buys time for the next, and nothing else does: whoever only
    /// says that much will come must not keep others from that memory for long.
    async fn fill(&mut self, size: usize) -> Result<(), Close> {
        let mut expiry = pin!(sleep(self.limits.receive_timeout));
        let of_silence = expiry.deadline();
        while self.buffer.len() < 4 + size {
            let more = time_for(self.buffer.len());
            expiry.as_mut().reset(of_silence + more);
            let missing = 4 + size - self.buffer.len();
            tokio::select! {
                biased;
                read = self.read_some(missing) => if read? == 0 {
                    return Err(Close::WithinRequest);
                },
                () = expiry.as_mut() => {
                    return Err(Close::SlowRequest { size_bytes: size, within: self.limits.receive_timeout + more });
                }
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

/// How long so much may take to arrive.
fn time_for(bytes: usize) -> Duration {
    Duration::from_secs((bytes / SLOWEST_BYTES_PER_SECOND) as u64)
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
    use tokio::io::AsyncWriteExt;

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

    /// A request of 100 MiB whose client sends `piece` bytes each second, until it has sent `sent_max`. Returns how it ended,
    /// after how many seconds, and the memory that is taken then.
    #[expect(clippy::disallowed_methods, reason = "a test that sees how long something took")]
    async fn large(piece: usize, sent_max: usize) -> (Result<usize, Close>, u64, usize) {
        const SIZE: usize = 100 << 20;
        let all = Memory::new(128 << 20);
        let memory =
            ConnectionMemory::new(128 << 20, &all, annals_broker::Metrics::default().protocol("kafka"));
        let timeout = Duration::from_secs(30);
        let limits = FrameLimits { size_bytes_max: SIZE, idle_timeout: timeout, receive_timeout: timeout };
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let begun = tokio::time::Instant::now();
        let send = async {
            client.write_all(&(SIZE as u32).to_be_bytes()).await.unwrap();
            for _ in 0..sent_max.div_ceil(piece) {
                // Nobody reads any more once it was too slow.
                if client.write_all(&vec![7; piece]).await.is_err() {
                    return;
                }
                sleep(Duration::from_secs(1)).await;
            }
            std::future::pending::<()>().await;
        };
        let receive = async {
            let mut reader = FrameReader::new(server, limits);
            let size = reader.next_size().await.unwrap();
            reader.next_frame(size, &memory).await.map(|frame| frame.bytes.len())
        };
        let outcome = tokio::select! {
            outcome = receive => outcome,
            () = send => unreachable!("the reader went first"),
        };
        (outcome, begun.elapsed().as_secs(), all.taken_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_held_for_what_comes_and_not_for_what_is_announced() {
        let silent = large(1, 0).await;
        assert!(matches!(silent, (Err(Close::SlowRequest { .. }), 30..=31, 0)), "{silent:?}");
        let stalled = large(1 << 20, 10 << 20).await;
        assert!(matches!(stalled, (Err(Close::SlowRequest { .. }), 70..=71, 0)), "{stalled:?}");
        let slow = large(300 << 10, 100 << 20).await;
        assert!(matches!(slow, (Ok(_), 340..=342, 0)), "{slow:?}");
    }
}
