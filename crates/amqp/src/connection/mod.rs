//! One connection: bytes in, frames to where they belong, frames out.
//!
//! One task does all of it: it reads, lets the state machines take what is there, writes what they want said, and in
//! between hands out deliveries. It waits for whatever comes first: bytes from the client, room for bytes to it, or
//! something that the broker has finished ([`session::Session::event`]).
//!
//! The first eight bytes say which protocol follows. AMQP 0-9-1 is served here; AMQP 1.0 would begin at [`Protocol`].
//!
//! Invariants: nothing is read that there is no room for: while too much waits to be written, to become safe or to be
//! answered, the connection is not read, and TCP tells the client. Whatever ends a connection, what it held goes back.

mod handshake;
pub(crate) mod replies;
pub(crate) mod session;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use annals_broker::api::Caller;
use annals_broker::api::connections::{ConnectionInfo, ConnectionReport};
use annals_broker::{Broker, ConnectionQuestion, Desk};
use annals_clock::Clock;
use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

pub(crate) use self::handshake::{Client, Entrance, Handshake};
use self::handshake::{Refusal, Step};
use self::replies::Replies;
use self::session::{Event, Session, Setup, read_method, unexpected};
use crate::Options;
use crate::backend::Backend;
use crate::backend::translate::headers;
use crate::close::Close;
use crate::methods::{Method, connection};
use crate::reply::{Exception, ReplyCode, resource_error};
use crate::rights::Rights;
use crate::wire::frame::{self, Frame, HEARTBEAT, METHOD};
use crate::wire::outbound::Outbound;
use crate::wire::text::Text;

/// What is read at once at most. What a connection needs is found out by what it sends.
const READ_BYTES_MAX: usize = 128 * 1024;

/// What is read at once at least: what an idle connection keeps for reading.
const READ_BYTES_MIN: usize = 1024;

/// Bytes that wait to be written before no more is read and no more delivered.
const WAITING_BYTES_MAX: usize = 512 * 1024;

/// Who is not let in waits so long for the end of the connection: nobody shall try passwords quickly.
const SILENT_CLOSE: Duration = Duration::from_secs(3);

/// How long a client that was told of the end may take to say that it has understood.
const CLOSING: Duration = Duration::from_secs(10);

/// How long a client may take to hang up once all has been said.
const LINGER: Duration = Duration::from_secs(2);

/// How long a client may take to hang up that has closed the connection in order, as with RabbitMQ. Some take it for a failure
/// if the connection ends before they have dealt with the answer.
const LINGER_IN_ORDER: Duration = Duration::from_secs(30);

/// How often the clock is looked at while somebody waits for something.
const LOOK_OFTEN: Duration = Duration::from_secs(1);

/// How often it is looked at while nobody does.
const LOOK_SELDOM: Duration = Duration::from_secs(15);

/// How often a connection that may not publish looks whether it may again.
const BLOCKED_PAUSE: Duration = Duration::from_millis(200);

/// The unit in which memory is taken.
const MEMORY_UNIT_BYTES: usize = 1024;

/// The protocol header of AMQP 0-9-1.
const HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// What all connections have in common.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) broker: Broker,
    pub(crate) clock: Clock,
    pub(crate) replies: Arc<Replies>,
    /// In units of [`MEMORY_UNIT_BYTES`].
    memory: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(options: Options, broker: Broker, clock: Clock) -> Self {
        let units = (options.memory_in_all / MEMORY_UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let memory = Arc::new(Semaphore::new(units));
        Self { options, broker, clock, replies: Arc::default(), memory }
    }

    /// Lets a handshake take a method, by the users and virtual hosts that there are.
    fn admit(&self, handshake: &mut Handshake, method: Method) -> Result<Step, Refusal> {
        let has_vhost = |name: &str| self.broker.has_vhost(&Caller::internal(), &name.into());
        handshake.method(method, &Entrance { access: self.broker.access(), has_vhost: &has_vhost })
    }
}

/// What the first eight bytes ask for.
enum Protocol {
    Amqp091,
    /// Another version: the client is told ours.
    Other,
    Foreign(&'static str),
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Serves a connection to its end; tells why it ended. `begin` makes the way to the broker once it is known who comes.
pub(crate) async fn serve<R, W, B: Backend>(
    streams: (R, W),
    ends: Ends,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
    begin: impl FnOnce(&Rights, &Client) -> B,
) -> Close
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut connection = Connection::new(streams, ends, shared, stopping, begin);
    let why = connection.run().await;
    connection.finish(why).await
}

struct Connection<R, W, B: Backend, F> {
    reader: R,
    writer: W,
    ends: Ends,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
    handshake: Handshake,
    /// Where operators ask, once it is known who has come.
    desk: Option<Desk>,
    received_bytes: u64,
    sent_bytes: u64,
    begin: Option<F>,
    session: Option<Session<B>>,
    input: BytesMut,
    /// What to make room for.
    read_bytes: usize,
    out: Outbound,
    /// Memory for messages that are not all there.
    held: Option<OwnedSemaphorePermit>,
    /// Publishing has to wait, and the connection is not read.
    blocked: bool,
    /// There may be deliveries that were not looked at.
    more: bool,
    times: Times,
}

/// When things happened, on the monotonic clock.
struct Times {
    opened: Duration,
    /// Something came.
    received: Duration,
    /// Something went.
    sent: Duration,
    /// Since when the client takes nothing of what waits for it.
    stalled: Option<Duration>,
    /// Since when there is no memory for a message.
    hungry: Option<Duration>,
    /// When to look at all of these again.
    look: Duration,
}

/// What a connection has waited for.
enum Wake<B: Backend> {
    Event(Event<B>),
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Memory(Option<OwnedSemaphorePermit>),
    Question(ConnectionQuestion),
    Time,
    Stop,
}

impl<R, W, B, F> Connection<R, W, B, F>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    B: Backend,
    F: FnOnce(&Rights, &Client) -> B,
{
    fn new(
        (reader, writer): (R, W),
        ends: Ends,
        shared: Arc<Shared>,
        stopping: watch::Receiver<bool>,
        begin: F,
    ) -> Self {
        let now = shared.clock.monotonic();
        let times = Times {
            opened: now,
            received: now,
            sent: now,
            stalled: None,
            hungry: None,
            look: now + LOOK_OFTEN,
        };
        Self {
            reader,
            writer,
            stopping,
            handshake: Handshake::new(shared.options.limits, ends.peer.ip()),
            ends,
            desk: None,
            received_bytes: 0,
            sent_bytes: 0,
            begin: Some(begin),
            session: None,
            input: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            out: Outbound::default(),
            held: None,
            blocked: false,
            more: false,
            times,
            shared,
        }
    }

    async fn run(&mut self) -> Close {
        if let Err(close) = self.greet().await {
            return close;
        }
        loop {
            self.check_blocked();
            if let Err(close) = self.take_frames().await {
                return close;
            }
            if let Some(session) = &mut self.session {
                self.more = session.pump(&mut self.out, WAITING_BYTES_MAX);
            }
            if let Err(close) = self.wait().await {
                return close;
            }
        }
    }

    /// Reads the protocol header and answers it.
    async fn greet(&mut self) -> Result<(), Close> {
        let within = self.shared.options.handshake_timeout;
        timeout(within, self.read_header()).await.map_err(|_| Close::Handshake(within))??;
        let named = match protocol(&self.input) {
            Protocol::Amqp091 => {
                self.input.advance(HEADER.len());
                self.out.method(0, &Handshake::start());
                return Ok(());
            }
            Protocol::Other => "another version of AMQP",
            Protocol::Foreign(name) => name,
        };
        // The specification has a server that cannot serve say what it can, and hang up.
        self.out.raw(&HEADER);
        self.flush(within).await;
        Err(Close::Foreign(named))
    }

    async fn read_header(&mut self) -> Result<(), Close> {
        while self.input.len() < HEADER.len() {
            self.input.reserve(READ_BYTES_MIN);
            if self.reader.read_buf(&mut self.input).await? == 0 {
                return Err(if self.input.is_empty() { Close::Probe } else { Close::Abrupt });
            }
        }
        Ok(())
    }

    /// Takes the frames that are there, as long as there is room for what they lead to.
    async fn take_frames(&mut self) -> Result<(), Close> {
        while self.takes_frames() {
            match frame::next(&mut self.input, self.handshake.client.frame_bytes_max) {
                Ok(Some(frame)) => self.take(frame).await?,
                Ok(None) => break,
                Err(error) => {
                    self.flush_publishes().await?;
                    let text = error.to_string();
                    tracing::debug!(channel = error.channel(), "a frame that is none: {text}");
                    return Err(self.broken(Exception::new(ReplyCode::FrameError, text)));
                }
            }
        }
        // A message that is not all there needs memory before more of it is read. It is there as a rule.
        self.settle_memory();
        self.flush_publishes().await
    }

    /// Hands publishes on that waited for others to go with.
    async fn flush_publishes(&mut self) -> Result<(), Close> {
        match &mut self.session {
            Some(session) => session.flush(&mut self.out).await.map_err(Close::Error),
            None => Ok(()),
        }
    }

    /// Whether there is room for what a further frame leads to that was read.
    fn takes_frames(&self) -> bool {
        let accepts = self.session.as_ref().is_none_or(Session::accepts);
        accepts && self.out.remaining() < WAITING_BYTES_MAX && !self.blocked
    }

    /// Whether there is room for what comes next.
    fn takes_more(&self) -> bool {
        self.takes_frames() && self.wanted_units() == 0
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Close> {
        match (frame.kind, frame.channel) {
            (kind, _) if !frame::KINDS.contains(&kind) => {
                self.flush_publishes().await?;
                let text = format!("type {kind}, {}: unknown_frame", frame::snippet(&frame.payload));
                Err(self.broken(Exception::new(ReplyCode::FrameError, text)))
            }
            (METHOD, 0) => self.take_method(frame).await,
            (HEARTBEAT, 0) => Ok(()),
            (kind, channel) => match &mut self.session {
                Some(session) if channel != 0 && kind != HEARTBEAT => {
                    session.frame(frame, &mut self.out).await.map_err(Close::Error)
                }
                _ => Err(self.broken(unexpected(kind, &frame.payload))),
            },
        }
    }

    async fn take_method(&mut self, frame: Frame) -> Result<(), Close> {
        // What was published before is published, whatever this method does.
        self.flush_publishes().await?;
        let method = read_method(frame.payload).map_err(|error| self.broken(error))?;
        match self.shared.admit(&mut self.handshake, method) {
            Ok(Step::Go) => Ok(()),
            Ok(Step::Reply(method)) => {
                self.out.method(0, &method);
                Ok(())
            }
            Ok(Step::Open(rights, method)) => {
                self.open(*rights);
                self.out.method(0, &method);
                Ok(())
            }
            Ok(Step::Close(method)) => {
                self.end_session().await;
                self.out.method(0, &method);
                Err(Close::ByClient)
            }
            Ok(Step::End) => Err(Close::ByClient),
            Err(Refusal::Told(error)) => Err(Close::Error(error)),
            Err(Refusal::Silent(error)) => Err(Close::Refused(error)),
        }
    }

    /// A client that has not come in yet is not told what is wrong, as with RabbitMQ.
    fn broken(&self, error: Exception) -> Close {
        if self.handshake.is_running() { Close::Error(error) } else { Close::Refused(error) }
    }

    fn open(&mut self, rights: Rights) {
        let Some(begin) = self.begin.take() else { return };
        let backend = begin(&rights, &self.handshake.client);
        let Client { mechanism, properties, channel_max, frame_bytes_max, heartbeat_s, .. } =
            &self.handshake.client;
        self.desk = Some(self.shared.broker.enter_connection(ConnectionInfo {
            owner: backend.owner(),
            protocol: "AMQP 0-9-1",
            user: rights.user.clone(),
            vhost: rights.vhost.as_str().into(),
            peer: self.ends.peer,
            local: self.ends.local,
            connected_ms: self.shared.clock.now_ms(),
            mechanism: mechanism.as_str().to_owned(),
            client_properties: headers(properties),
            channel_max: *channel_max,
            frame_bytes_max: u32::try_from(*frame_bytes_max).unwrap_or(u32::MAX),
            heartbeat_s: *heartbeat_s,
        }));
        self.session = Some(Session::new(Setup {
            backend,
            rights,
            clock: self.shared.clock.clone(),
            client: self.handshake.client.clone(),
            message_bytes_max: self.shared.options.message_bytes_max,
            replies: Arc::clone(&self.shared.replies),
        }));
    }

    /// Waits until there is something to do, and does what it takes to see it.
    async fn wait(&mut self) -> Result<(), Close> {
        if self.more && self.out.remaining() < WAITING_BYTES_MAX / 2 {
            // There is more to hand out: write what can be written, and go on.
            if let Some(question) = self.desk.as_mut().and_then(|desk| desk.next().now_or_never()) {
                self.answer(question)?;
            }
            let written = self.writer.write_buf(&mut self.out).now_or_never();
            tokio::task::yield_now().await;
            return written.map_or(Ok(()), |written| self.written(written));
        }
        match self.wake().await {
            Wake::Event(event) => match &mut self.session {
                Some(session) => session.handle(event, &mut self.out).await.map_err(Close::Error),
                None => Ok(()),
            },
            Wake::Read(Ok(0)) => Err(Close::Abrupt),
            Wake::Read(Ok(count)) => {
                self.received_bytes += count as u64;
                self.learn_read_bytes(count);
                self.times.received = self.shared.clock.monotonic();
                Ok(())
            }
            Wake::Read(Err(error)) => Err(error.into()),
            Wake::Written(written) => self.written(written),
            Wake::Memory(permit) => {
                self.times.hungry = None;
                permit.into_iter().for_each(|permit| self.keep(permit));
                Ok(())
            }
            Wake::Question(question) => self.answer(question),
            Wake::Time => self.look_at_clock(),
            Wake::Stop => Err(Close::Shutdown),
        }
    }

    fn written(&mut self, written: io::Result<usize>) -> Result<(), Close> {
        let count = written?;
        if count == 0 && self.out.has_remaining() {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        self.sent_bytes += count as u64;
        self.times.sent = self.shared.clock.monotonic();
        self.times.stalled = None;
        self.out.shrink();
        Ok(())
    }

    /// Answers an operator.
    fn answer(&self, question: ConnectionQuestion) -> Result<(), Close> {
        match question {
            ConnectionQuestion::Report(asker) => {
                let report = ConnectionReport {
                    received_bytes: self.received_bytes,
                    sent_bytes: self.sent_bytes,
                    is_blocked: self.blocked,
                    channels: self.session.as_ref().map(Session::report).unwrap_or_default(),
                };
                // Whoever asked may have given up.
                let _ = asker.send(report);
                Ok(())
            }
            ConnectionQuestion::Close(reason) => {
                Err(Close::Error(Exception::new(ReplyCode::ConnectionForced, reason)))
            }
        }
    }

    async fn wake(&mut self) -> Wake<B> {
        let (reads, writes, missing) = (self.takes_more(), self.out.has_remaining(), self.wanted_units());
        let room = self.out.remaining() < WAITING_BYTES_MAX;
        if reads {
            self.make_room();
        }
        if writes && self.times.stalled.is_none() {
            self.times.stalled = Some(self.shared.clock.monotonic());
        }
        let look = self.times.look.saturating_sub(self.shared.clock.monotonic());
        let memory = Arc::clone(&self.shared.memory);
        let units = u32::try_from(missing).unwrap_or(u32::MAX);
        tokio::select! {
            written = self.writer.write_buf(&mut self.out), if writes => Wake::Written(written),
            read = self.reader.read_buf(&mut self.input), if reads => Wake::Read(read),
            event = event(self.session.as_mut(), room) => Wake::Event(event),
            permit = memory.acquire_many_owned(units), if missing > 0 => Wake::Memory(permit.ok()),
            question = question(self.desk.as_mut()) => Wake::Question(question),
            () = sleep(look) => Wake::Time,
            _ = self.stopping.wait_for(|stopping| *stopping) => Wake::Stop,
        }
    }

    /// Room to read into: for the rest of a frame that has begun, and for many small ones while there are many.
    fn make_room(&mut self) {
        let missing = frame::missing_bytes(&self.input, self.handshake.client.frame_bytes_max);
        if self.input.capacity() - self.input.len() < missing.max(READ_BYTES_MIN / 2) {
            self.input.reserve(missing.max(self.read_bytes));
        }
    }

    /// Reads more at once from a client that sends much, and less from one that does not.
    fn learn_read_bytes(&mut self, count: usize) {
        if self.input.len() == self.input.capacity() {
            self.read_bytes = (4 * self.read_bytes).min(READ_BYTES_MAX);
        } else if count < self.read_bytes / 8 {
            self.read_bytes = (self.read_bytes / 2).max(READ_BYTES_MIN);
        }
    }

    /// Units of memory that messages in parts take beyond what was taken for them.
    fn wanted_units(&self) -> usize {
        let wanted = self.session.as_ref().map_or(0, Session::held_bytes).div_ceil(MEMORY_UNIT_BYTES);
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        wanted.saturating_sub(held)
    }

    /// Gives memory back that is not needed, and takes what is needed if it is there.
    fn settle_memory(&mut self) {
        if self.session.as_ref().is_none_or(|session| session.held_bytes() == 0) {
            self.held = None;
            return;
        }
        let missing = u32::try_from(self.wanted_units()).unwrap_or(u32::MAX);
        if missing == 0 {
            return;
        }
        match Arc::clone(&self.shared.memory).try_acquire_many_owned(missing) {
            Ok(permit) => self.keep(permit),
            Err(_) if self.times.hungry.is_none() => self.times.hungry = Some(self.shared.clock.monotonic()),
            Err(_) => {}
        }
    }

    fn keep(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
    }

    /// Tells a publisher that it has to wait, or that it has not any more.
    fn check_blocked(&mut self) {
        let Some(session) = &self.session else { return };
        let reason = session.blocked();
        if reason.is_some() == self.blocked {
            return;
        }
        self.blocked = reason.is_some();
        if !self.handshake.client.can("connection.blocked") {
            return;
        }
        let method: Method = match reason {
            Some(reason) => connection::Blocked { reason: Text::cut(&reason) }.into(),
            None => connection::Unblocked {}.into(),
        };
        self.out.method(0, &method);
    }

    /// Looks whether somebody has been waiting for too long.
    fn look_at_clock(&mut self) -> Result<(), Close> {
        let (now, options, heartbeat_s) =
            (self.shared.clock.monotonic(), &self.shared.options, self.handshake.client.heartbeat_s);
        let since = |time: Duration| now.saturating_sub(time);
        if !self.handshake.is_running() && since(self.times.opened) >= options.handshake_timeout {
            return Err(Close::Handshake(options.handshake_timeout));
        }
        if self.times.stalled.is_some_and(|stalled| since(stalled) >= options.write_stall_timeout) {
            return Err(Close::SlowReader(options.write_stall_timeout));
        }
        if self.times.hungry.is_some_and(|hungry| since(hungry) >= options.receive_timeout) {
            return Err(Close::Error(resource_error("no memory for the message")));
        }
        let reads = self.takes_more();
        if self.held.is_some() && reads && since(self.times.received) >= options.receive_timeout {
            return Err(Close::SlowSender(options.receive_timeout));
        }
        let heartbeat = Duration::from_secs(heartbeat_s.into());
        if heartbeat_s > 0 && reads && since(self.times.received) >= 2 * heartbeat {
            return Err(Close::Heartbeat(heartbeat_s));
        }
        if heartbeat_s > 0 && !self.out.has_remaining() && since(self.times.sent) >= heartbeat / 2 {
            self.out.heartbeat();
        }
        self.times.look = now + self.pause(heartbeat);
        Ok(())
    }

    /// How long nothing can have been waiting for too long.
    fn pause(&self, heartbeat: Duration) -> Duration {
        let is_waiting = self.out.has_remaining() || self.held.is_some() || !self.handshake.is_running();
        let heartbeat = if heartbeat.is_zero() { LOOK_SELDOM } else { heartbeat / 4 };
        match (self.blocked, is_waiting) {
            (true, _) => BLOCKED_PAUSE,
            (false, true) => heartbeat.min(LOOK_OFTEN),
            (false, false) => heartbeat.min(LOOK_SELDOM),
        }
    }

    /// Ends what belongs to the connection, and tells the client why if it does not know.
    async fn finish(mut self, why: Close) -> Close {
        let error = match &why {
            Close::Error(error) => Some(error.clone()),
            Close::Shutdown => {
                self.drain().await;
                let text = "broker forced connection closure with reason 'shutdown'";
                self.handshake.is_running().then(|| Exception::new(ReplyCode::ConnectionForced, text))
            }
            Close::Refused(_) => {
                // The greeting may not have left yet. It is over in any case.
                let _ = timeout(CLOSING, self.writer.write_all_buf(&mut self.out)).await;
                sleep(SILENT_CLOSE).await;
                None
            }
            _ => None,
        };
        self.end_session().await;
        match error {
            Some(error) => {
                self.out.method(0, &error.close_connection());
                self.handshake.closed();
                // It is over in any case.
                let _ = timeout(CLOSING, self.part()).await;
            }
            None if matches!(why, Close::ByClient) => self.end_in_order().await,
            None => {}
        }
        why
    }

    /// Lets publishes that are under way become safe, and tells their publishers.
    async fn drain(&mut self) {
        let within = self.shared.options.drain_timeout / 2;
        let Some(session) = &mut self.session else { return };
        let out = &mut self.out;
        let _ = timeout(within, async {
            while !session.is_idle() {
                let event = session.event(false).await;
                if session.handle(event, out).await.is_err() {
                    break;
                }
            }
        })
        .await;
        session.confirm(out);
    }

    async fn end_session(&mut self) {
        self.desk = None;
        if let Some(mut session) = self.session.take() {
            session.close().await;
        }
    }

    /// Writes what is left and waits for the client to say that it has understood.
    async fn part(&mut self) -> io::Result<()> {
        self.writer.write_all_buf(&mut self.out).await?;
        self.writer.flush().await?;
        loop {
            while let Ok(Some(frame)) = frame::next(&mut self.input, self.handshake.client.frame_bytes_max) {
                let method = (frame.kind == METHOD && frame.channel == 0).then(|| read_method(frame.payload));
                let Some(Ok(method)) = method else { continue };
                match self.shared.admit(&mut self.handshake, method) {
                    Ok(Step::Reply(method)) => {
                        self.out.method(0, &method);
                        self.writer.write_all_buf(&mut self.out).await?;
                    }
                    Ok(Step::End) => return self.writer.shutdown().await,
                    _ => {}
                }
            }
            // After bytes that are no frame, nothing that follows is one: it is read and thrown away.
            if frame::next(&mut self.input, self.handshake.client.frame_bytes_max).is_err() {
                self.input.clear();
            }
            self.input.reserve(READ_BYTES_MIN);
            if self.reader.read_buf(&mut self.input).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Writes what is left, if the client takes it in time, and waits for the client to hang up; not as long if the server ends.
    async fn end_in_order(&mut self) {
        // A message that did not come whole will not come any more.
        self.held = None;
        let written = async {
            self.writer.write_all_buf(&mut self.out).await?;
            self.writer.flush().await
        };
        if !matches!(timeout(CLOSING, written).await, Ok(Ok(()))) {
            return;
        }
        let mut stopping = self.stopping.clone();
        tokio::select! {
            hung_up = self.hung_up(LINGER_IN_ORDER) => if hung_up { return },
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        self.flush(CLOSING).await;
    }

    /// Writes what is left, if the client takes it in time, hangs up and waits a little for the client to do so.
    async fn flush(&mut self, within: Duration) {
        let written = async {
            self.writer.write_all_buf(&mut self.out).await?;
            self.writer.shutdown().await
        };
        if matches!(timeout(within, written).await, Ok(Ok(()))) {
            self.hung_up(LINGER).await;
        }
    }

    /// Waits for the client to hang up, and says whether it did.
    ///
    /// What it has sent meanwhile is read and thrown away: TCP takes back what was written last where a socket is closed with
    /// something unread in it.
    async fn hung_up(&mut self, within: Duration) -> bool {
        let hung_up = async {
            loop {
                self.input.clear();
                self.input.reserve(READ_BYTES_MIN);
                if !matches!(self.reader.read_buf(&mut self.input).await, Ok(1..)) {
                    return;
                }
            }
        };
        timeout(within, hung_up).await.is_ok()
    }
}

/// The next question of an operator, or for ever.
async fn question(desk: Option<&mut Desk>) -> ConnectionQuestion {
    match desk {
        Some(desk) => desk.next().await,
        None => std::future::pending().await,
    }
}

/// The next event of a session, or for ever.
async fn event<B: Backend>(session: Option<&mut Session<B>>, room: bool) -> Event<B> {
    match session {
        Some(session) => session.event(room).await,
        None => std::future::pending().await,
    }
}

/// Looks at the first eight bytes.
fn protocol(header: &[u8]) -> Protocol {
    match header {
        // The header of AMQP 0-9 is taken for that of 0-9-1, as RabbitMQ does.
        [b'A', b'M', b'Q', b'P', 0, 0, 9, 1, ..] | [b'A', b'M', b'Q', b'P', 1, 1, 0, 9, ..] => {
            Protocol::Amqp091
        }
        [b'A', b'M', b'Q', b'P', ..] => Protocol::Other,
        [0x16, 0x03, ..] => Protocol::Foreign("TLS"),
        [b'G', b'E', b'T', b' ', ..] => Protocol::Foreign("HTTP"),
        _ => Protocol::Foreign("another protocol"),
    }
}
