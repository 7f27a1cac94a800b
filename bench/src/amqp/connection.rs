//! One connection with one channel: opening it, asking, and reading what comes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::wire::{self, CHANNEL, Frame, Frames, MethodId};

/// How much is read at once at most. A frame is never longer, by what is agreed at the start.
const INPUT_BYTES: usize = 256 * 1024;
const FRAME_BYTES_MAX: u32 = 131_072;
/// How long an answer may take; a queue that is slow to open is an answer too.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// What a queue is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueKind {
    /// It survives a restart, and is of this type if the server has several.
    Durable(Option<&'static str>),
    /// It does not.
    Transient,
}

/// A connection with a channel.
pub(crate) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    begin: usize,
    end: usize,
    pub(super) out: Frames,
}

impl Connection {
    /// Connects as the user that every server has, and opens a channel.
    ///
    /// # Errors
    /// If the server cannot be reached or does not let the user in.
    pub(crate) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let input = vec![0; INPUT_BYTES];
        let mut connection = Self { stream, input, begin: 0, end: 0, out: Frames::default() };
        connection.out.bytes.extend_from_slice(wire::PROTOCOL_HEADER);
        connection.answered(wire::CONNECTION_START)?;
        connection.out.method(0, wire::CONNECTION_START_OK, |out| {
            out.table(&[("product", "annals-bench")]);
            out.short_text("PLAIN");
            out.long_text("\0guest\0guest");
            out.short_text("en_US");
        });
        connection.answered(wire::CONNECTION_TUNE)?;
        connection.out.method(0, wire::CONNECTION_TUNE_OK, |out| {
            out.u16(CHANNEL);
            out.u32(FRAME_BYTES_MAX);
            out.u16(0);
        });
        connection.out.method(0, wire::CONNECTION_OPEN, |out| {
            out.short_text("/");
            out.short_text("");
            out.u8(0);
        });
        connection.answered(wire::CONNECTION_OPEN_OK)?;
        connection.ask(wire::CHANNEL_OPEN, |out| out.short_text(""), wire::CHANNEL_OPEN_OK)?;
        Ok(connection)
    }

    /// Declares a queue.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) fn declare_queue(&mut self, name: &str, kind: QueueKind) -> Result<()> {
        let (durable, type_name) = match kind {
            QueueKind::Durable(type_name) => (1, type_name),
            QueueKind::Transient => (0, None),
        };
        let fields: Vec<_> = type_name.into_iter().map(|name| ("x-queue-type", name)).collect();
        let arguments = |out: &mut Frames| {
            out.u16(0);
            out.short_text(name);
            out.u8(durable << 1);
            out.table(&fields);
        };
        self.ask(wire::QUEUE_DECLARE, arguments, wire::QUEUE_DECLARE_OK)
    }

    /// Declares a durable fanout exchange.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) fn declare_fanout(&mut self, name: &str) -> Result<()> {
        let arguments = |out: &mut Frames| {
            out.u16(0);
            out.short_text(name);
            out.short_text("fanout");
            out.u8(1 << 1);
            out.table(&[]);
        };
        self.ask(wire::EXCHANGE_DECLARE, arguments, wire::EXCHANGE_DECLARE_OK)
    }

    /// Binds a queue to an exchange.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) fn bind(&mut self, queue: &str, exchange: &str) -> Result<()> {
        let arguments = |out: &mut Frames| {
            out.u16(0);
            out.short_text(queue);
            out.short_text(exchange);
            out.short_text("");
            out.u8(0);
            out.table(&[]);
        };
        self.ask(wire::QUEUE_BIND, arguments, wire::QUEUE_BIND_OK)
    }

    /// Wants its publishes confirmed from now on.
    pub(super) fn select_confirms(&mut self) -> Result<()> {
        self.ask(wire::CONFIRM_SELECT, |out| out.u8(0), wire::CONFIRM_SELECT_OK)
    }

    /// Consumes from a queue, with so many unacknowledged at most; `None` needs no acknowledgements.
    pub(super) fn consume(&mut self, queue: &str, prefetch: Option<u16>) -> Result<()> {
        if let Some(count) = prefetch {
            let arguments = |out: &mut Frames| {
                out.u32(0);
                out.u16(count);
                out.u8(0);
            };
            self.ask(wire::BASIC_QOS, arguments, wire::BASIC_QOS_OK)?;
        }
        let arguments = |out: &mut Frames| {
            out.u16(0);
            out.short_text(queue);
            out.short_text("c");
            out.u8(if prefetch.is_none() { 2 } else { 0 });
            out.table(&[]);
        };
        self.ask(wire::BASIC_CONSUME, arguments, wire::BASIC_CONSUME_OK)
    }

    /// Says that it goes, and waits for the server to have understood.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(crate) fn close(mut self) -> Result<()> {
        self.stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        self.out.method(0, wire::CONNECTION_CLOSE, |out| {
            out.u16(200);
            out.short_text("done");
            out.u32(0);
        });
        self.send()?;
        while self.frame()?.method() != wire::CONNECTION_CLOSE_OK {}
        Ok(())
    }

    fn ask(&mut self, id: MethodId, arguments: impl FnOnce(&mut Frames), answer: MethodId) -> Result<()> {
        self.out.method(CHANNEL, id, arguments);
        self.answered(answer)
    }

    /// Sends what is to be sent, and waits for the answer.
    fn answered(&mut self, answer: MethodId) -> Result<()> {
        self.send()?;
        let frame = self.frame()?;
        match frame.method() {
            method if method == answer => Ok(()),
            method => bail!("the server answered with method {method:?}, and not {answer:?}"),
        }
    }

    /// Writes what is to be sent.
    pub(super) fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.out.bytes).context("the server took no more")?;
        self.out.bytes.clear();
        Ok(())
    }

    /// Has [`Connection::receive`] return after this long if nothing comes.
    pub(super) fn look_every(&self, period: Duration) -> Result<()> {
        self.stream.set_read_timeout(Some(period)).context("cannot set the timeout of a socket")
    }

    /// Waits for bytes. Returns whether some came.
    pub(super) fn receive(&mut self) -> Result<bool> {
        self.input.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        match self.stream.read(&mut self.input[self.end..]) {
            Ok(0) => bail!("the server has closed the connection"),
            Ok(count) => {
                self.end += count;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
            Err(error) => Err(error).context("cannot read from the server"),
        }
    }

    /// The next frame that has been received.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        Ok(self.next_frame_beside()?.0)
    }

    /// The next frame that has been received, and where answers go.
    pub(super) fn next_frame_beside(&mut self) -> Result<(Option<Frame<'_>>, &mut Frames)> {
        let Some((frame, len)) = Frame::first(&self.input[self.begin..self.end]) else {
            return Ok((None, &mut self.out));
        };
        self.begin += len;
        if matches!(frame.method(), wire::CHANNEL_CLOSE | wire::CONNECTION_CLOSE) {
            bail!("the server says: {}", frame.reason());
        }
        Ok((Some(frame), &mut self.out))
    }

    /// Waits for a frame.
    fn frame(&mut self) -> Result<Frame<'_>> {
        while Frame::first(&self.input[self.begin..self.end]).is_none() {
            if !self.receive()? {
                bail!("no answer within {ANSWER_WITHIN:?}");
            }
        }
        self.next_frame()?.context("a frame that was there is gone")
    }
}
