//! The channels of an open connection, and what their machines want done.
//!
//! Frames go to the machine of their channel; what it wants ([`Effect`]) is carried out at once, or asked of the broker. While
//! a channel waits for an answer, its further commands wait too, in order, and other channels go on. What becomes of
//! publishes is awaited in the order in which they were made, for the whole connection: they become safe in that order.
//!
//! Invariants: replies of a channel leave in the order of its methods. What waits is bounded: beyond a limit
//! ([`Session::accepts`]) the connection reads no further.

mod publishes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use annals_broker::api::connections::ChannelReport;
use annals_clock::Clock;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};

use self::publishes::{BATCH_MAX, Batch, First, Unsafe};
use super::handshake::Client;
use super::replies::{Inbox, Replies, Reply};
use crate::backend::{Arrival, Backend, ConsumerKey, Deliverable, Delivery, Fate, GetAnswer, Got};
use crate::channel::assembler::Command;
use crate::channel::effect::{Answer, Ask, Effect, Publish, Settlement, Verdict};
use crate::channel::publishing::Outcome;
use crate::channel::{Around, Channel, REPLY_TO};
use crate::methods::{Method, basic};
use crate::reply::{
    Exception, Named, frame_error, not_allowed, not_found, not_implemented, syntax_error, unexpected_frame,
};
use crate::rights::Rights;
use crate::wire::Malformed;
use crate::wire::frame::{BODY, Frame, HEADER, METHOD, snippet};
use crate::wire::outbound::{Delivery as Delivered, Outbound, PutProperties};
use crate::wire::text::Text;

/// Publishes whose end is not told. Beyond it, the publisher is read no further.
const UNSAFE_MAX: usize = 16 * 1024;

/// Commands that wait for the answer to an earlier one of their channel. Beyond it, likewise.
const BACKLOG_MAX: usize = 1024;

/// Deliveries that are settled together.
const SETTLED_MAX: usize = 1024;

/// Deliveries that are written without a look at anything else.
const DELIVERIES_AT_ONCE: usize = 256;

/// An open connection's channels.
pub(crate) struct Session<B: Backend> {
    backend: B,
    rights: Rights,
    clock: Clock,
    client: Client,
    message_bytes_max: usize,
    /// By number. A tree, which for a few channels is found through sooner than a hash is computed.
    channels: BTreeMap<u16, Slot<B::Lease>>,
    generations: u64,
    asked: FuturesUnordered<BoxFuture<'static, Answered<B>>>,
    /// Publishes that came one after another for one exchange, and go to the broker together.
    batch: Option<Batch>,
    /// What was settled one after another in the same way, and goes to the broker together.
    settled: Option<Settlement<B::Lease>>,
    unsafe_publishes: VecDeque<Unsafe<B::Ticket>>,
    /// How many these are.
    unsafe_count: usize,
    /// Channels whose publishers may have something to be told.
    to_confirm: Vec<u16>,
    /// Channels with a message that is not all there.
    partial: Vec<u16>,
    backlog: usize,
    /// Whether the client has ever published.
    publishes: bool,
    /// How many of its messages go to the broker together.
    batch_max: usize,
    replies: Arc<Replies>,
    inbox: Inbox,
    reply_receiver: mpsc::Receiver<Reply>,
}

/// A channel with what waits for it.
struct Slot<L> {
    machine: Channel<L>,
    /// Tells channels apart that have the same number one after the other.
    generation: u64,
    backlog: VecDeque<Command>,
    /// Where it receives replies.
    address: Option<Text>,
    /// Its consumers by number.
    consumers: BTreeMap<u32, Taker>,
    /// What all its consumers together may hold; 0 for no limit.
    window: u16,
    /// Consumers whose end is told after the answer that the channel waits for.
    gone: Vec<ConsumerKey>,
}

/// A consumer, as deliveries need it.
struct Taker {
    tag: Text,
    no_ack: bool,
}

/// An answer on its way to the channel that asked.
struct Answered<B: Backend> {
    channel: u16,
    generation: u64,
    what: What<B>,
}

enum What<B: Backend> {
    Answer(Result<Answer, Exception>),
    Got(GetAnswer<B>),
    Committed(Vec<Publish>, Result<Vec<Fate>, Exception>),
}

/// Something that happened outside of what the client sent.
pub(crate) enum Event<B: Backend> {
    Answered(Box<AnsweredEvent<B>>),
    /// The first of the publishes that were not safe has come to its end.
    Safe(Outcome),
    Reply(Reply),
    /// There may be deliveries.
    Deliveries,
}

/// An answer, for [`Session::handle`] alone.
pub(crate) struct AnsweredEvent<B: Backend>(Answered<B>);

/// What a session is made of.
pub(crate) struct Setup<B: Backend> {
    pub(crate) backend: B,
    pub(crate) rights: Rights,
    pub(crate) clock: Clock,
    pub(crate) client: Client,
    pub(crate) message_bytes_max: usize,
    pub(crate) replies: Arc<Replies>,
}

impl<B: Backend> Session<B> {
    pub(crate) fn new(setup: Setup<B>) -> Self {
        let Setup { backend, rights, clock, client, message_bytes_max, replies } = setup;
        let (inbox, reply_receiver) = Inbox::new();
        Self {
            backend,
            rights,
            clock,
            client,
            message_bytes_max,
            channels: BTreeMap::new(),
            generations: 0,
            asked: FuturesUnordered::new(),
            batch: None,
            settled: None,
            unsafe_publishes: VecDeque::new(),
            unsafe_count: 0,
            to_confirm: Vec::new(),
            partial: Vec::new(),
            backlog: 0,
            publishes: false,
            batch_max: BATCH_MAX,
            replies,
            inbox,
            reply_receiver,
        }
    }

    /// Whether more of what the client sends can be taken.
    pub(crate) fn accepts(&self) -> bool {
        self.unsafe_count < UNSAFE_MAX && self.backlog < BACKLOG_MAX
    }

    /// Memory that messages in parts take.
    pub(crate) fn held_bytes(&self) -> usize {
        let held = |channel: &u16| self.channels.get(channel).map_or(0, |slot| slot.machine.held_bytes());
        self.partial.iter().map(held).sum()
    }

    /// How the channels are doing, by number.
    pub(crate) fn report(&self) -> Vec<ChannelReport> {
        let report = |(number, slot): (&u16, &Slot<B::Lease>)| ChannelReport {
            number: *number,
            prefetch_in_all: slot.window.into(),
            ..slot.machine.report()
        };
        let mut channels: Vec<ChannelReport> = self.channels.iter().map(report).collect();
        channels.sort_unstable_by_key(|channel| channel.number);
        channels
    }

    /// Why publishing has to wait, if it has to and the client publishes.
    pub(crate) fn blocked(&self) -> Option<String> {
        if self.publishes { self.backend.blocked() } else { None }
    }

    /// Takes a frame of a channel other than 0.
    ///
    /// # Errors
    /// What ends the connection.
    pub(crate) async fn frame(&mut self, frame: Frame, out: &mut Outbound) -> Result<(), Exception> {
        let Frame { kind, channel, payload } = frame;
        if !self.channels.contains_key(&channel) {
            self.open(channel, kind, &payload)?;
        }
        let Some(slot) = self.channels.get_mut(&channel) else { return Ok(()) };
        let taken = match kind {
            METHOD => read_method(payload).and_then(|method| slot.machine.method(method)),
            HEADER => slot.machine.header(payload, self.message_bytes_max),
            BODY => slot.machine.body(payload),
            _ => Err(unexpected(kind, &payload)),
        };
        if slot.machine.held_bytes() == 0 {
            self.partial.retain(|partial| *partial != channel);
        } else if !self.partial.contains(&channel) {
            self.partial.push(channel);
        }
        match taken {
            Ok(Some(command)) => self.command(channel, command, out).await,
            Ok(None) => self.carry_out(channel, out).await,
            Err(error) => {
                self.flush(out).await?;
                self.failed(channel, error, out).await
            }
        }
    }

    /// A number that is not in use begins a channel, with whatever frame.
    fn open(&mut self, channel: u16, kind: u8, payload: &Bytes) -> Result<(), Exception> {
        if !matches!(kind, METHOD | HEADER | BODY) {
            return Err(unexpected(kind, payload));
        }
        let (open, max) = (self.channels.len(), self.client.channel_max);
        if open >= usize::from(max) {
            let text =
                format!("number of channels opened ({open}) has reached the negotiated channel_max ({max})");
            return Err(not_allowed(text));
        }
        self.generations += 1;
        self.channels.insert(channel, Slot::new(self.generations));
        Ok(())
    }

    /// Lets a channel carry a command out, now or when it is its turn.
    async fn command(&mut self, channel: u16, command: Command, out: &mut Outbound) -> Result<(), Exception> {
        if !gathers(&command) {
            self.flush(out).await?;
        }
        let Some(slot) = self.channels.get_mut(&channel) else { return Ok(()) };
        if slot.machine.is_waiting() {
            slot.backlog.push_back(command);
            self.backlog += 1;
            return Ok(());
        }
        let around = Around { rights: &self.rights, clock: &self.clock };
        match slot.machine.command(command, around) {
            Ok(()) => self.carry_out(channel, out).await,
            Err(error) => {
                // What was published before comes first: it may be what closes the channel.
                self.flush(out).await?;
                self.failed(channel, error, out).await
            }
        }
    }

    /// Ends a channel with an error; one that ends the connection is handed on.
    async fn failed(&mut self, channel: u16, error: Exception, out: &mut Outbound) -> Result<(), Exception> {
        if error.code.ends_connection() {
            return Err(error);
        }
        let Some(slot) = self.channels.get_mut(&channel) else { return Ok(()) };
        // The client was told of the first error; what it sent before it knew is passed over.
        if slot.machine.is_closing() {
            return Ok(());
        }
        tracing::debug!(channel, "channel closed: {error}");
        self.backlog -= slot.backlog.len();
        slot.backlog.clear();
        slot.machine.fail(&error);
        Box::pin(self.carry_out(channel, out)).await
    }

    /// Carries out what a channel wants.
    async fn carry_out(&mut self, channel: u16, out: &mut Outbound) -> Result<(), Exception> {
        while let Some(slot) = self.channels.get_mut(&channel) {
            let Some(effect) = slot.machine.next_effect() else { break };
            match effect {
                Effect::Send(method) => out.method(channel, &method),
                Effect::SendMessage(method, content) => {
                    let max = self.client.frame_bytes_max;
                    out.message(channel, &method, &content.properties, &content.body, max);
                }
                Effect::Ask(ask) => {
                    if let Err(error) = self.ask(channel, ask, out) {
                        return Box::pin(self.failed(channel, error, out)).await;
                    }
                }
                Effect::Publish(publish) => self.publish(channel, publish, out).await?,
                Effect::Settle(settlement) => self.settle(settlement),
                Effect::Replies(address) => self.receive_replies(channel, address),
                Effect::Window(limit) => {
                    let generation = slot.generation;
                    slot.window = limit;
                    self.backend.set_window(channel, generation, limit);
                }
                Effect::Release(leases) => self.release(channel, leases),
                Effect::Free => self.free(channel),
            }
        }
        Ok(())
    }

    /// Asks the broker. What it can answer at once is answered at once: so no delivery comes before its consumer is told.
    fn ask(&mut self, channel: u16, ask: Ask<B::Lease>, out: &mut Outbound) -> Result<(), Exception> {
        let Some(slot) = self.channels.get_mut(&channel) else { return Ok(()) };
        let generation = slot.generation;
        let key = |number| ConsumerKey { channel, generation, number };
        let looks =
            matches!(ask, Ask::Get(_) | Ask::DeclareQueue(_) | Ask::PurgeQueue(_) | Ask::DeleteQueue(_));
        let what: BoxFuture<'static, What<B>> = match ask {
            Ask::FindReplies(address) => {
                return slot.machine.answer(find_replies(&self.replies, &address, &self.rights.vhost));
            }
            Ask::Get(get) => self.backend.get(get).map(What::Got).boxed(),
            Ask::Consume(consume) => {
                let (number, tag) = (consume.key, consume.consume.consumer_tag.detached());
                let taker = Taker { tag, no_ack: consume.consume.no_ack };
                let begun = self.backend.consume(key(number), consume);
                if begun.is_ok() {
                    slot.consumers.insert(number, taker);
                }
                return slot.machine.answer(begun.map(|()| Answer::Done));
            }
            Ask::Cancel(number) => {
                let Some(ended) = self.cancel(key(number), out) else {
                    let machine = self.channels.get_mut(&channel).map(|slot| &mut slot.machine);
                    return machine.map_or(Ok(()), |machine| machine.answer(Ok(Answer::Done)));
                };
                ended.map(|()| What::Answer(Ok(Answer::Done))).boxed()
            }
            Ask::Commit(transaction) => {
                let publishes = transaction.publishes.clone();
                let committed = self.backend.commit(transaction);
                committed.map(move |committed| What::Committed(publishes, committed)).boxed()
            }
            ask => self.backend.ask(ask).map(What::Answer).boxed(),
        };
        let before = if looks { self.until_published() } else { None };
        let asked = async move {
            if let Some(before) = before {
                // The other end goes with the connection.
                let _ = before.await;
            }
            Answered { channel, generation, what: what.await }
        };
        self.asked.push(asked.boxed());
        Ok(())
    }

    /// Ends when all that was published before is there to be found: a client that publishes and then looks sees it.
    fn until_published(&mut self) -> Option<oneshot::Receiver<()>> {
        if self.unsafe_publishes.is_empty() {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        self.unsafe_publishes.push_back(Unsafe::Question(sender));
        Some(receiver)
    }

    /// Ends a consumer, once what it was given and cannot give back is written. Returns what to wait for, if there is
    /// something: its queue goes with it.
    fn cancel(&mut self, key: ConsumerKey, out: &mut Outbound) -> Option<BoxFuture<'static, ()>> {
        let (left, ended) = self.backend.cancel(key);
        for delivery in left {
            self.deliver(key, delivery, out);
        }
        if let Some(slot) = self.channels.get_mut(&key.channel) {
            slot.consumers.remove(&key.number);
        }
        ended
    }

    /// Puts what is settled to what goes to the broker together.
    fn settle(&mut self, settlement: Settlement<B::Lease>) {
        match &mut self.settled {
            Some(before) if before.verdict == settlement.verdict && before.leases.len() < SETTLED_MAX => {
                before.leases.extend(settlement.leases);
            }
            _ => {
                self.flush_settled();
                self.settled = Some(settlement);
            }
        }
    }

    fn flush_settled(&mut self) {
        if let Some(settlement) = self.settled.take() {
            self.backend.settle(settlement);
        }
    }

    /// Hands publishes and settlements that wait to the broker: first the publishes, so that what a message led to is there
    /// before the message is done with.
    pub(crate) async fn flush(&mut self, out: &mut Outbound) -> Result<(), Exception> {
        let flushed = self.flush_publishes(out).await;
        self.flush_settled();
        flushed
    }

    fn receive_replies(&mut self, channel: u16, address: Option<Text>) {
        let Some(slot) = self.channels.get_mut(&channel) else { return };
        if let Some(old) = slot.address.take() {
            self.replies.close(&old);
        }
        if let Some(address) = address {
            self.replies.open(&address, (channel, slot.generation), self.inbox.clone());
            slot.address = Some(address);
        }
    }

    /// Cancels a channel's consumers and gives its deliveries back.
    fn release(&mut self, channel: u16, leases: Vec<B::Lease>) {
        self.flush_settled();
        let Some(slot) = self.channels.get_mut(&channel) else { return };
        let generation = slot.generation;
        let numbers = std::mem::take(&mut slot.consumers).into_keys();
        let keys: Vec<_> = numbers.map(|number| ConsumerKey { channel, generation, number }).collect();
        keys.iter().for_each(|key| self.backend.retire(*key));
        // What it holds is back before its consumers end, so that whoever is served in their stead begins with it.
        if !leases.is_empty() {
            self.backend.settle(Settlement { verdict: Verdict::Requeue, leases });
        }
        for key in keys {
            // What could not be given back is lost with its consumer, as what is on the wire is.
            drop(self.backend.cancel(key));
        }
    }

    fn free(&mut self, channel: u16) {
        if let Some(slot) = self.channels.remove(&channel) {
            self.backlog -= slot.backlog.len();
        }
    }

    /// Waits for something to happen; for deliveries and replies only if there is room for them. Cancel safe.
    pub(crate) async fn event(&mut self, room: bool) -> Event<B> {
        let first = First(self.unsafe_publishes.front_mut());
        tokio::select! {
            Some(answered) = self.asked.next() => Event::Answered(Box::new(AnsweredEvent(answered))),
            outcome = first => Event::Safe(outcome),
            Some(reply) = self.reply_receiver.recv(), if room => Event::Reply(reply),
            () = self.backend.ready(), if room => Event::Deliveries,
        }
    }

    /// Whether nothing is under way any more: no question, no publish.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.unsafe_publishes.is_empty()
    }

    /// Does what follows from an event.
    pub(crate) async fn handle(&mut self, event: Event<B>, out: &mut Outbound) -> Result<(), Exception> {
        match event {
            Event::Answered(answered) => self.answered(answered.0, out).await,
            Event::Safe(outcome) => {
                self.safe(outcome);
                Ok(())
            }
            Event::Reply(reply) => {
                self.reply(&reply, out);
                Ok(())
            }
            Event::Deliveries => Ok(()),
        }
    }

    async fn answered(&mut self, answered: Answered<B>, out: &mut Outbound) -> Result<(), Exception> {
        let Answered { channel, generation, what } = answered;
        let slot = self.channels.get_mut(&channel).filter(|slot| slot.generation == generation);
        let Some(slot) = slot.filter(|slot| !slot.machine.is_closing()) else {
            self.give_back_got(what);
            return Ok(());
        };
        let result = match what {
            What::Answer(answer) => slot.machine.answer(answer),
            What::Got(Ok(Some(got))) => {
                write_got(slot, channel, got, self.client.frame_bytes_max, out);
                Ok(())
            }
            What::Got(Ok(None)) => slot.machine.answer(Ok(Answer::Empty)),
            What::Committed(publishes, Ok(fates)) => {
                let pairs = publishes.iter().zip(fates);
                let lost = pairs.filter(|(publish, fate)| *fate == Fate::Unroutable && publish.mandatory);
                lost.for_each(|(publish, _)| slot.machine.unroutable(publish));
                slot.machine.answer(Ok(Answer::Done))
            }
            What::Got(Err(error)) | What::Committed(_, Err(error)) => slot.machine.answer(Err(error)),
        };
        match result {
            Ok(()) => self.carry_out(channel, out).await?,
            Err(error) => self.failed(channel, error, out).await?,
        }
        let slot = self.channels.get_mut(&channel);
        let gone = slot.map_or_else(Vec::new, |slot| std::mem::take(&mut slot.gone));
        gone.into_iter().for_each(|key| self.consumer_gone(key, out));
        self.take_backlog(channel, out).await
    }

    /// A message came for a channel that is not there any more.
    fn give_back_got(&self, what: What<B>) {
        if let What::Got(Ok(Some(got))) = what {
            let leases = vec![got.delivery.lease];
            self.backend.settle(Settlement { verdict: Verdict::Requeue, leases });
        }
    }

    /// Takes the commands that waited, until one of them waits again.
    async fn take_backlog(&mut self, channel: u16, out: &mut Outbound) -> Result<(), Exception> {
        loop {
            let Some(slot) = self.channels.get_mut(&channel) else { return Ok(()) };
            if slot.machine.is_waiting() {
                return Ok(());
            }
            let Some(command) = slot.backlog.pop_front() else { return Ok(()) };
            self.backlog -= 1;
            self.command(channel, command, out).await?;
        }
    }

    fn reply(&mut self, reply: &Reply, out: &mut Outbound) {
        let slot = self.channels.get_mut(&reply.channel).filter(|slot| slot.generation == reply.generation);
        let Some(slot) = slot else { return };
        let Some(tag) = slot.machine.reply_consumer().cloned() else { return };
        let delivery = Delivered {
            consumer_tag: &tag,
            delivery_tag: slot.machine.deliver_reply(),
            redelivered: false,
            exchange: b"",
            routing_key: reply.routing_key.as_bytes(),
        };
        out.delivery(reply.channel, &delivery, &reply.properties, &reply.body, self.client.frame_bytes_max);
    }

    /// Tells publishers what is safe, and writes deliveries up to `room` bytes; tells whether more may be there.
    pub(crate) fn pump(&mut self, out: &mut Outbound, room: usize) -> bool {
        self.confirm(out);
        for _ in 0..DELIVERIES_AT_ONCE {
            if bytes::Buf::remaining(out) >= room {
                return false;
            }
            match self.backend.next() {
                Some(Arrival::Delivery(key, delivery)) => self.deliver(key, delivery, out),
                Some(Arrival::Gone(key)) => self.consumer_gone(key, out),
                None => return false,
            }
        }
        true
    }

    fn deliver(&mut self, key: ConsumerKey, delivery: Delivery<B::Lease, B::Message>, out: &mut Outbound) {
        let Delivery { lease, message } = delivery;
        let slot = self.channels.get_mut(&key.channel).filter(|slot| slot.generation == key.generation);
        let taker = slot.and_then(|slot| Some((slot.consumers.get(&key.number)?, &mut slot.machine)));
        let Some((taker, machine)) = taker else {
            self.backend.settle(Settlement { verdict: Verdict::Requeue, leases: vec![lease] });
            return;
        };
        let delivered = Delivered {
            consumer_tag: &taker.tag,
            delivery_tag: machine.deliver(lease, taker.no_ack),
            redelivered: message.redelivered(),
            exchange: message.exchange(),
            routing_key: message.routing_key(),
        };
        let properties = PropertiesOf(&message);
        out.delivery(key.channel, &delivered, &properties, message.body(), self.client.frame_bytes_max);
    }

    fn consumer_gone(&mut self, key: ConsumerKey, out: &mut Outbound) {
        let tells = self.client.can("consumer_cancel_notify");
        let slot = self.channels.get_mut(&key.channel).filter(|slot| slot.generation == key.generation);
        let Some(slot) = slot else { return };
        if slot.machine.is_waiting() {
            // Whoever deletes a queue is told that it is gone before its consumers are.
            slot.gone.push(key);
            return;
        }
        let Some(taker) = slot.consumers.remove(&key.number) else { return };
        slot.machine.consumer_gone(&taker.tag);
        if tells {
            out.method(key.channel, &basic::Cancel { consumer_tag: taker.tag, no_wait: true }.into());
        }
    }

    /// Gives back everything that the channels hold and ends what belongs to the connection.
    pub(crate) async fn close(&mut self) {
        if let Some(batch) = self.batch.take() {
            // Nobody is there to be told what comes of it.
            let mut publishes = &batch.publishes[..];
            if self.backend.publish(publishes).await.is_err() {
                while let Some((first, rest)) = publishes.split_first()
                    && self.backend.publish(std::slice::from_ref(first)).await.is_ok()
                {
                    publishes = rest;
                }
            }
        }
        self.flush_settled();
        self.backend.retire_all();
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for channel in numbers {
            if let Some(slot) = self.channels.get_mut(&channel) {
                slot.machine.release();
                // What the machine still wants to say is not said any more.
                while let Some(effect) =
                    self.channels.get_mut(&channel).and_then(|slot| slot.machine.next_effect())
                {
                    match effect {
                        Effect::Release(leases) => self.release(channel, leases),
                        Effect::Replies(address) => self.receive_replies(channel, address),
                        Effect::Settle(settlement) => self.backend.settle(settlement),
                        _ => {}
                    }
                }
            }
            self.free(channel);
        }
        while let Some(answered) = self.asked.next().await {
            self.give_back_got(answered.what);
        }
        self.backend.close().await;
    }
}

impl<L: Clone> Slot<L> {
    fn new(generation: u64) -> Self {
        let (machine, backlog, consumers) = (Channel::default(), VecDeque::new(), BTreeMap::new());
        let gone = Vec::new();
        Self { machine, generation, backlog, address: None, consumers, window: 0, gone }
    }
}

/// The properties of a message that is handed out.
struct PropertiesOf<'a, M>(&'a M);

impl<M: Deliverable> PutProperties for PropertiesOf<'_, M> {
    fn put(&self, out: &mut BytesMut) {
        self.0.put_properties(out);
    }
}

fn write_got<L: Clone, M: Deliverable>(
    slot: &mut Slot<L>,
    channel: u16,
    got: Got<L, M>,
    frame_bytes_max: usize,
    out: &mut Outbound,
) {
    let Got { delivery: Delivery { lease, message }, message_count } = got;
    let method = basic::GetOk {
        delivery_tag: slot.machine.got(lease),
        redelivered: message.redelivered(),
        exchange: Text::cut(&String::from_utf8_lossy(message.exchange())),
        routing_key: Text::cut(&String::from_utf8_lossy(message.routing_key())),
        message_count,
    };
    out.message(channel, &method.into(), &PropertiesOf(&message), message.body(), frame_bytes_max);
}

fn find_replies(replies: &Replies, address: &Text, vhost: &str) -> Result<Answer, Exception> {
    if address.as_str() == REPLY_TO || replies.is_open(address) {
        return Ok(Answer::Queue { message_count: 0, consumer_count: 1 });
    }
    Err(not_found(format!("no {}", Named::queue(address, vhost))))
}

/// Whether what a command leads to may wait for more of its kind.
fn gathers(command: &Command) -> bool {
    match command {
        Command::Publish(..) => true,
        Command::Method(method) => {
            matches!(method, Method::BasicAck(_) | Method::BasicNack(_) | Method::BasicReject(_))
        }
    }
}

/// Reads a method, or tells what is wrong with it.
pub(crate) fn read_method(payload: Bytes) -> Result<Method, Exception> {
    Method::read(payload).map_err(|error| match error {
        Malformed::Method(..) => not_implemented(error.to_string()),
        Malformed::Utf8 => frame_error("Malformed UTF-8 in shortstr"),
        error => syntax_error(error.to_string()),
    })
}

/// A frame that has no place here.
pub(crate) fn unexpected(kind: u8, payload: &[u8]) -> Exception {
    unexpected_frame(format!("type {kind}, {}", snippet(payload)))
}
