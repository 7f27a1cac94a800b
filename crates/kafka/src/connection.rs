//! One connection: requests in, responses out, in the order of the requests.
//!
//! Two loops run side by side. The one reads a frame, hands it to the [`Handler`] and queues the [`Reply`]; the other
//! completes the replies in order and writes them. A reply may still be on its way ([`Reply::Later`]) when the next
//! request is read: that is how produce requests are pipelined. Everything else is over before the next begins.
//!
//! A client that stops reading costs others nothing. A fetch is not begun before all earlier replies are written, so that
//! only the reply that is being written holds memory for records; and when somebody waits for that memory, the records that the client has not taken are given back and read again once
//! it takes more (the `records` module). Only after [`Limits::write_stall_timeout`] is it let go.
//!
//! Invariants: responses leave in the order of the requests. The queue is bounded, and each request in it holds its
//! share of the memory limits. Whatever ends the connection, replies under way get [`Limits::drain_timeout`] to leave.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use annals_listener::UNSENT_BYTES_MAX;
use bytes::Buf;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::close::Close;
use crate::frame::{Frame, FrameLimits, FrameReader};
use crate::memory::{ConnectionMemory, Held};
use crate::records::SLICE_BYTES;
use crate::rope::Rope;

/// Small responses that are ready together leave in one write of about this size.
const WRITE_BYTES: usize = 256 * 1024;

/// A client that takes nothing for so long is waited for. Until then, its answer stays in memory.
const STALL: Duration = Duration::from_millis(10);

/// What stays in memory of an answer whose client is waited for while others wait for memory. Less than is counted, so
/// that however many such clients there are, they leave all memory to others.
const STALLED_BYTES: usize = 512;

/// An answer of this size is worth that the system takes more of it at a time.
const LONG_BYTES: usize = 1 << 20;

/// How much the system takes of a long answer beyond what it can send.
const LONG_UNSENT_BYTES_MAX: u32 = 1 << 20;

/// How many clients may be sent long answers like that. What the system holds is memory too, also for clients that stop reading.
pub(crate) const LONG_CLIENTS_MAX: usize = 32;

/// What requests are answered by: the dispatcher in the server, something small in a test.
pub(crate) trait Handler: Send {
    /// Handles one request. Returns when the next may begin.
    fn handle(&mut self, request: Request<'_>) -> impl Future<Output = Result<Reply, Close>> + Send;
}

/// One request, for a [`Handler`].
pub(crate) struct Request<'a> {
    pub(crate) bytes: bytes::Bytes,
    pub(crate) held: &'a mut Held,
    pub(crate) memory: &'a ConnectionMemory,
}

/// The answer to a request.
pub(crate) enum Reply {
    /// The response.
    Now(Rope),
    /// The response when it is ready; `None` if the client wants no answer.
    Later(BoxFuture<'static, Result<Option<Rope>, Close>>),
}

/// What a connection must keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) frame: FrameLimits,
    pub(crate) write_stall_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    /// Requests that are read and not answered yet.
    pub(crate) pipeline_max: usize,
}

/// What a connection shares with others.
pub(crate) struct Shared {
    /// One for each request of the connection that may wait for its answer to be written.
    pub(crate) turns: Arc<Semaphore>,
    /// Whether the server is ending.
    pub(crate) stopping: watch::Receiver<bool>,
    /// One for each connection of whose long answers the system may take more.
    pub(crate) long: Arc<Semaphore>,
}

/// Where responses go.
pub(crate) trait Output: AsyncWrite + Unpin + Send {
    /// How much the system takes beyond what it can send.
    fn limit_unsent(&self, bytes_max: u32) -> io::Result<()>;
}

impl Output for OwnedWriteHalf {
    fn limit_unsent(&self, bytes_max: u32) -> io::Result<()> {
        annals_listener::limit_unsent(self.as_ref(), bytes_max)
    }
}

/// Serves a connection to its end; tells why it ended.
pub(crate) async fn serve<R, W>(
    (reader, output): (R, W),
    handler: impl Handler,
    memory: ConnectionMemory,
    limits: Limits,
    shared: Shared,
) -> Close
where
    R: AsyncRead + Unpin + Send,
    W: Output,
{
    let Shared { turns, stopping, long } = shared;
    let (slots, queue) = mpsc::channel(limits.pipeline_max.max(1));
    let frames = FrameReader::new(reader, limits.frame);
    let writer = Writer { output, stall_timeout: limits.write_stall_timeout, long, turn: None };
    let mut reading = pin!(read_requests(frames, handler, memory, (slots, turns), stopping));
    let mut writing = pin!(write_responses(writer, queue));
    let why = tokio::select! {
        why = &mut reading => why,
        written = &mut writing => return written.err().unwrap_or(Close::ByClient),
    };
    match timeout(limits.drain_timeout, writing).await {
        Ok(Err(close)) if !why.is_notable() => close,
        _ => why,
    }
}

/// A request in the queue, with the memory that it holds until it is answered.
struct Slot {
    reply: Reply,
    held: Held,
    /// Ends when the reply is written.
    turn: OwnedSemaphorePermit,
}

/// Reads and starts requests until something ends it. Dropping the queue's sender ends the writer after the last reply.
async fn read_requests<R: AsyncRead + Unpin>(
    mut frames: FrameReader<R>,
    mut handler: impl Handler,
    memory: ConnectionMemory,
    (slots, turns): (mpsc::Sender<Slot>, Arc<Semaphore>),
    mut stopping: watch::Receiver<bool>,
) -> Close {
    loop {
        let frame = tokio::select! {
            biased;
            _ = stopping.wait_for(|&stopping| stopping) => return Close::Shutdown,
            frame = next_frame(&mut frames, &memory) => frame,
        };
        let slot = match frame {
            Ok(frame) => start(frame, &mut handler, &memory, &turns).await,
            Err(close) => return close,
        };
        match slot {
            // The writer has gone, and tells why.
            Ok(slot) => {
                if slots.send(slot).await.is_err() {
                    return Close::ByClient;
                }
            }
            Err(close) => return close,
        }
    }
}

async fn next_frame<R: AsyncRead + Unpin>(
    frames: &mut FrameReader<R>,
    memory: &ConnectionMemory,
) -> Result<Frame, Close> {
    let size = frames.next_size().await?;
    frames.next_frame(size, memory).await
}

async fn start(
    frame: Frame,
    handler: &mut impl Handler,
    memory: &ConnectionMemory,
    turns: &Arc<Semaphore>,
) -> Result<Slot, Close> {
    let Frame { bytes, mut held } = frame;
    let reply = handler.handle(Request { bytes, held: &mut held, memory }).await?;
    // Never closed while somebody serves the connection.
    let turn = Arc::clone(turns).acquire_owned().await.map_err(|_| Close::Shutdown)?;
    Ok(Slot { reply, held, turn })
}

/// Completes and writes replies in order, several in one write where they are ready.
async fn write_responses(
    mut writer: Writer<impl Output>,
    mut queue: mpsc::Receiver<Slot>,
) -> Result<(), Close> {
    let mut waiting = None;
    loop {
        let next = match waiting.take() {
            Some(slot) => Some(slot),
            None => queue.recv().await,
        };
        let Some(slot) = next else {
            return Ok(writer.output.shutdown().await?);
        };
        let mut out = complete(slot).await?;
        let more = take_ready(&mut queue, &mut out);
        writer.write(out).await?;
        waiting = more?;
    }
}

async fn complete(slot: Slot) -> Result<Rope, Close> {
    let Slot { reply, held, turn } = slot;
    let mut response = match reply {
        Reply::Now(response) => response,
        Reply::Later(response) => response.await?.unwrap_or_default(),
    };
    drop(held);
    response.hold_turn(turn);
    Ok(response)
}

/// Adds further responses that are ready; returns the first request that is not.
fn take_ready(queue: &mut mpsc::Receiver<Slot>, out: &mut Rope) -> Result<Option<Slot>, Close> {
    while out.remaining() < WRITE_BYTES {
        let Ok(mut slot) = queue.try_recv() else { break };
        if let Reply::Later(response) = &mut slot.reply {
            match response.now_or_never() {
                Some(response) => slot.reply = Reply::Now(response?.unwrap_or_default()),
                None => return Ok(Some(slot)),
            }
        }
        if let Reply::Now(response) = slot.reply {
            out.append(response);
            out.hold_turn(slot.turn);
        }
    }
    Ok(None)
}

/// Writes responses.
struct Writer<W> {
    output: W,
    stall_timeout: Duration,
    long: Arc<Semaphore>,
    /// That the system takes more, and may hold it still: until a short answer has been taken with the lower limit.
    turn: Option<OwnedSemaphorePermit>,
}

impl<W: Output> Writer<W> {
    /// Writes all of it; gives up when nothing moves for too long.
    async fn write(&mut self, out: Rope) -> Result<(), Close> {
        let is_long = out.len() >= LONG_BYTES;
        match &self.turn {
            None if is_long => {
                self.turn = Arc::clone(&self.long).try_acquire_owned().ok();
                if self.turn.is_some() {
                    self.output.limit_unsent(LONG_UNSENT_BYTES_MAX)?;
                }
            }
            Some(_) if !is_long => self.output.limit_unsent(UNSENT_BYTES_MAX)?,
            _ => {}
        }
        self.write_all(out).await?;
        if !is_long {
            self.turn = None;
        }
        Ok(())
    }

    async fn write_all(&mut self, mut out: Rope) -> Result<(), Close> {
        while out.has_remaining() {
            if out.lacks_records() {
                out.load().await?;
            }
            match timeout(self.stall_timeout, write_some(&mut self.output, &mut out)).await {
                Ok(Ok(0)) => return Err(Close::Io(io::ErrorKind::WriteZero.into())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(Close::SlowReader(self.stall_timeout)),
            }
        }
        Ok(self.output.flush().await?)
    }
}

/// Writes what the client takes. Meanwhile memory that others wait for is given back: while the client reads, all but
/// about a slice; while it does not, all but a trifle.
async fn write_some(writer: &mut (impl AsyncWrite + Unpin), out: &mut Rope) -> io::Result<usize> {
    if out.is_wanted() && out.loaded() > 2 * SLICE_BYTES {
        out.keep_slice();
    }
    if let Ok(written) = timeout(STALL, writer.write_buf(out)).await {
        return written;
    }
    if out.holds_memory() {
        let wanted = out.wanted();
        tokio::select! {
            written = writer.write_buf(out) => return written,
            () = wanted => out.give_back(STALLED_BYTES),
        }
    }
    writer.write_buf(out).await
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;

    use super::*;

    /// Takes everything, and remembers how much the system was to take.
    #[derive(Default)]
    struct Taking {
        limits: std::sync::Mutex<Vec<u32>>,
    }

    impl AsyncWrite for Taking {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Output for Taking {
        fn limit_unsent(&self, bytes_max: u32) -> io::Result<()> {
            self.limits.lock().expect("not poisoned").push(bytes_max);
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_system_takes_more_for_a_few_clients_until_they_are_sent_something_short() {
        let long = Arc::new(Semaphore::new(1));
        let writer = || Writer {
            output: Taking::default(),
            stall_timeout: Duration::from_secs(60),
            long: Arc::clone(&long),
            turn: None,
        };
        let answer = |len| Rope::from(Bytes::from(vec![0; len]));
        let limits = |writer: &Writer<Taking>| writer.output.limits.lock().expect("not poisoned").clone();
        let (mut one, mut other) = (writer(), writer());
        for len in [10, LONG_BYTES, LONG_BYTES] {
            one.write(answer(len)).await.expect("written");
        }
        assert_eq!(limits(&one), [LONG_UNSENT_BYTES_MAX], "once for both");
        other.write(answer(LONG_BYTES)).await.expect("written");
        assert!(limits(&other).is_empty(), "the first may not have read its answer yet");
        one.write(answer(10)).await.expect("written");
        assert_eq!(limits(&one), [LONG_UNSENT_BYTES_MAX, UNSENT_BYTES_MAX]);
        other.write(answer(LONG_BYTES)).await.expect("written");
        assert_eq!(limits(&other), [LONG_UNSENT_BYTES_MAX]);
        drop(other);
        assert_eq!(long.available_permits(), 1);
    }
}
