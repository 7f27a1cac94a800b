//! One channel as a state machine: methods and answers in, effects out.
//!
//! Methods are taken one after another; one that needs the broker's answer makes the channel wait
//! ([`Channel::is_waiting`]), while others of the same connection go on. Publishes and acknowledgements do not wait: what
//! becomes of a publish is told later ([`Channel::published`]).
//!
//! Invariants: replies leave in the order of their methods. After an error nothing is taken until the client has
//! acknowledged it, and every delivery goes back. Each class of methods has its own file.
//!
//! Source: AMQP 0-9-1, sections 1.2 to 1.9 of the class reference; RabbitMQ's documentation of its extensions and of
//! channels' errors.

pub(crate) mod assembler;
mod confirms;
mod consuming;
pub(crate) mod effect;
mod exchanges;
#[cfg(test)]
mod model;
pub(crate) mod publishing;
mod queues;
mod settling;
#[cfg(test)]
mod tests;
mod transactions;
mod unacked;

use std::collections::{HashMap, VecDeque};

use annals_broker::api::connections::ChannelReport;
use annals_clock::Clock;
use bytes::Bytes;

use self::assembler::{Assembler, Command};
use self::confirms::Confirms;
use self::effect::{Answer, Ask, Effect, Transaction};
use self::unacked::Unacked;
use crate::methods::{Method, MethodId, access, basic, channel, confirm, queue};
use crate::reply::{
    Exception, channel_error, command_invalid, internal_error, not_implemented, precondition_failed,
};
use crate::rights::Rights;
use crate::wire::text::Text;

/// What a channel's machine may look at besides its own state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    pub(crate) rights: &'a Rights,
    /// For names that the server chooses.
    pub(crate) clock: &'a Clock,
}

/// A channel. `L` is what the broker knows a delivery by.
#[derive(Debug)]
pub(crate) struct Channel<L> {
    state: State,
    assembler: Assembler,
    effects: VecDeque<Effect<L>>,
    /// What the client is told when the answer is there.
    awaited: Option<(MethodId, Awaited)>,
    /// The queue that an empty name means.
    last_queue: Text,
    /// Their numbers by their tags.
    consumers: HashMap<Text, u32>,
    next_consumer: u32,
    reply_consumer: Option<ReplyConsumer>,
    unacked: Unacked<L>,
    next_tag: u64,
    /// Of consumers to come; 0 for no limit.
    prefetch: u16,
    confirms: Option<Confirms>,
    transaction: Option<Uncommitted<L>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its first frame is there.
    Starting,
    Running,
    /// The client was told of an error, and has not answered yet.
    Closing,
}

/// The consumer of replies.
#[derive(Debug)]
struct ReplyConsumer {
    tag: Text,
    /// What the client's own address is to others.
    address: Text,
}

/// What a transaction holds until it is committed.
#[derive(Debug)]
struct Uncommitted<L> {
    transaction: Transaction<L>,
    /// For a rollback.
    settled: Vec<(u64, L)>,
}

/// What the client is told when an answer is there.
#[derive(Debug)]
enum Awaited {
    /// This, if it wants to be told at all.
    Ok(Option<Method>),
    Declare {
        queue: Text,
        no_wait: bool,
    },
    Purge {
        no_wait: bool,
    },
    Delete {
        no_wait: bool,
    },
    Consume {
        tag: Text,
        key: u32,
        no_wait: bool,
    },
    Get {
        no_ack: bool,
    },
    Commit,
}

impl<L: Clone> Default for Channel<L> {
    fn default() -> Self {
        Self {
            state: State::Starting,
            assembler: Assembler::default(),
            effects: VecDeque::new(),
            awaited: None,
            last_queue: Text::default(),
            consumers: HashMap::new(),
            next_consumer: 1,
            reply_consumer: None,
            unacked: Unacked::default(),
            next_tag: 1,
            prefetch: 0,
            confirms: None,
            transaction: None,
        }
    }
}

impl<L: Clone> Channel<L> {
    /// Takes the payload of a method frame, once it is decoded.
    pub(crate) fn method(&mut self, method: Method) -> Result<Option<Command>, Exception> {
        if self.state != State::Closing {
            return self.assembler.method(method);
        }
        match method {
            Method::ChannelCloseOk(_) => self.effects.push_back(Effect::Free),
            Method::ChannelClose(_) => self.send(channel::CloseOk {}),
            // What the client sent before it knew of the error.
            _ => {}
        }
        Ok(None)
    }

    /// Takes the payload of a header frame.
    pub(crate) fn header(
        &mut self,
        payload: Bytes,
        body_bytes_max: usize,
    ) -> Result<Option<Command>, Exception> {
        if self.state == State::Closing { Ok(None) } else { self.assembler.header(payload, body_bytes_max) }
    }

    /// Takes the payload of a body frame.
    pub(crate) fn body(&mut self, payload: Bytes) -> Result<Option<Command>, Exception> {
        if self.state == State::Closing { Ok(None) } else { self.assembler.body(payload) }
    }

    /// Memory that a message in parts takes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.assembler.held_bytes()
    }

    /// Whether it waits for an answer: then it is not to be given any command.
    pub(crate) fn is_waiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// How it is doing. The window of the whole channel is known elsewhere.
    pub(crate) fn report(&self) -> ChannelReport {
        let uncommitted = self.transaction.as_ref();
        ChannelReport {
            consumers: u32::try_from(self.consumers.len()).unwrap_or(u32::MAX),
            unacknowledged: self.unacked.len() as u64,
            unconfirmed: self.confirms.as_ref().map_or(0, |confirms| confirms.open() as u64),
            uncommitted: uncommitted.map_or(0, |held| held.transaction.publishes.len() as u64),
            uncommitted_settlements: uncommitted.map_or(0, |held| held.settled.len() as u64),
            prefetch: self.prefetch.into(),
            confirms: self.confirms.is_some(),
            is_transactional: uncommitted.is_some(),
            ..ChannelReport::default()
        }
    }

    /// Whether it has been closed by an error that the client has not acknowledged.
    pub(crate) fn is_closing(&self) -> bool {
        self.state == State::Closing
    }

    /// The next thing to do.
    pub(crate) fn next_effect(&mut self) -> Option<Effect<L>> {
        self.effects.pop_front()
    }

    /// Carries a command out.
    ///
    /// # Errors
    /// What the client is to be told. If it ends the channel only, [`Channel::fail`] is to be called with it.
    pub(crate) fn command(&mut self, command: Command, around: Around<'_>) -> Result<(), Exception> {
        debug_assert!(!self.is_waiting());
        if self.state == State::Closing {
            return Ok(());
        }
        match command {
            Command::Publish(publish, content) => {
                let id = (basic::CLASS, basic::Publish::ID);
                self.check_open().and_then(|()| self.publish(publish, content, around)).map_err(|e| e.by(id))
            }
            Command::Method(method) => {
                let id = method.id();
                self.dispatch(method, around).map_err(|error| error.by(id))
            }
        }
    }

    /// Ends the channel with an error.
    pub(crate) fn fail(&mut self, error: &Exception) {
        self.release();
        self.state = State::Closing;
        // Nobody is there to be told any more.
        (self.confirms, self.awaited) = (None, None);
        self.effects.push_back(Effect::Send(error.close_channel()));
    }

    /// The broker's answer to what was asked.
    pub(crate) fn answer(&mut self, answer: Result<Answer, Exception>) -> Result<(), Exception> {
        let Some((method, awaited)) = self.awaited.take() else { return Ok(()) };
        self.tell(awaited, answer).map_err(|error| error.by(method))
    }

    fn tell(&mut self, awaited: Awaited, answer: Result<Answer, Exception>) -> Result<(), Exception> {
        match (awaited, answer?) {
            (Awaited::Ok(method), Answer::Done) => self.effects.extend(method.map(Effect::Send)),
            (Awaited::Declare { queue, no_wait }, Answer::Queue { message_count, consumer_count }) => {
                self.queue_declared(queue, no_wait, (message_count, consumer_count));
            }
            (Awaited::Purge { no_wait }, Answer::Count(message_count)) => {
                self.send_unless(no_wait, queue::PurgeOk { message_count });
            }
            (Awaited::Delete { no_wait }, Answer::Count(message_count)) => {
                self.send_unless(no_wait, queue::DeleteOk { message_count });
            }
            (Awaited::Consume { tag, key, no_wait }, Answer::Done) => self.consuming(tag, key, no_wait),
            (Awaited::Get { .. }, Answer::Empty) => self.send(basic::GetEmpty::default()),
            (Awaited::Commit, Answer::Done) => self.committed(),
            (awaited, answer) => {
                return Err(internal_error(format!("the answer {answer:?} to {awaited:?} makes no sense")));
            }
        }
        Ok(())
    }

    fn dispatch(&mut self, method: Method, around: Around<'_>) -> Result<(), Exception> {
        match &method {
            Method::ChannelOpen(_) => return self.open(),
            Method::ChannelClose(_) => return self.closed_by_client(),
            _ => self.check_open()?,
        }
        match method {
            Method::AccessRequest(_) => {
                self.send(access::RequestOk { ticket: 1 });
                Ok(())
            }
            Method::ChannelFlow(flow) => self.flow(&flow),
            Method::ExchangeDeclare(declare) => self.declare_exchange(declare, around),
            Method::ExchangeDelete(delete) => self.delete_exchange(delete, around),
            Method::ExchangeBind(bind) => self.bind_exchange(bind, around),
            Method::ExchangeUnbind(unbind) => self.unbind_exchange(unbind, around),
            Method::QueueDeclare(declare) => self.declare_queue(declare, around),
            Method::QueueBind(bind) => self.bind_queue(bind, around),
            Method::QueueUnbind(unbind) => self.unbind_queue(unbind, around),
            Method::QueuePurge(purge) => self.purge_queue(purge, around),
            Method::QueueDelete(delete) => self.delete_queue(delete, around),
            Method::BasicQos(qos) => self.qos(&qos),
            Method::BasicConsume(consume) => self.consume(consume, around),
            Method::BasicCancel(cancel) => self.cancel(cancel),
            Method::BasicGet(get) => self.get(get, around),
            Method::BasicAck(ack) => self.ack(&ack),
            Method::BasicReject(reject) => self.reject(&reject),
            Method::BasicNack(nack) => self.nack(&nack),
            Method::BasicRecoverAsync(recover) => self.recover(recover.requeue),
            Method::BasicRecover(recover) => {
                self.recover(recover.requeue)?;
                self.send(basic::RecoverOk {});
                Ok(())
            }
            Method::ConfirmSelect(select) => self.select_confirms(&select),
            Method::TxSelect(_) => self.select_transactions(),
            Method::TxCommit(_) => self.commit(),
            Method::TxRollback(_) => self.rollback(),
            _ => Err(command_invalid("unimplemented method")),
        }
    }

    fn check_open(&self) -> Result<(), Exception> {
        match self.state {
            State::Starting => Err(channel_error("expected 'channel.open'")),
            State::Running | State::Closing => Ok(()),
        }
    }

    fn open(&mut self) -> Result<(), Exception> {
        if self.state != State::Starting {
            return Err(channel_error("second 'channel.open' seen"));
        }
        self.state = State::Running;
        self.send(channel::OpenOk::default());
        Ok(())
    }

    fn closed_by_client(&mut self) -> Result<(), Exception> {
        self.check_open()?;
        self.release();
        self.send(channel::CloseOk {});
        self.effects.push_back(Effect::Free);
        Ok(())
    }

    fn flow(&mut self, flow: &channel::Flow) -> Result<(), Exception> {
        if !flow.active {
            return Err(not_implemented("active=false"));
        }
        self.send(channel::FlowOk { active: true });
        Ok(())
    }

    fn select_confirms(&mut self, select: &confirm::Select) -> Result<(), Exception> {
        if self.transaction.is_some() {
            return Err(precondition_failed("cannot switch from tx to confirm mode"));
        }
        self.confirms.get_or_insert_default();
        self.send_unless(select.no_wait, confirm::SelectOk {});
        Ok(())
    }

    /// Gives back all that the channel holds: its connection ends, or it does.
    pub(crate) fn release(&mut self) {
        self.forget_transaction();
        let unsettled = self.unacked.take_all().into_iter().map(|(_, lease)| lease).collect();
        self.consumers.clear();
        if self.reply_consumer.take().is_some() {
            self.effects.push_back(Effect::Replies(None));
        }
        self.assembler = Assembler::default();
        self.effects.push_back(Effect::Release(unsettled));
    }

    fn ask(&mut self, method: MethodId, ask: Ask<L>, awaited: Awaited) {
        self.awaited = Some((method, awaited));
        self.effects.push_back(Effect::Ask(ask));
    }

    fn send(&mut self, method: impl Into<Method>) {
        self.effects.push_back(Effect::Send(method.into()));
    }

    fn send_unless(&mut self, no_wait: bool, method: impl Into<Method>) {
        if !no_wait {
            self.send(method);
        }
    }
}

/// The name that stands for the channel's own address for replies, and that addresses begin with.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A name that the server chooses, as RabbitMQ's look: `amq.gen-` and 22 letters.
fn chosen_name(start: &str, clock: &Clock) -> Text {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random = u128::from(clock.random()) << 64 | u128::from(clock.random());
    let letter = |place: u32| char::from(LETTERS[(random >> (6 * place) & 63) as usize]);
    let letters: String = (0..22).map(letter).collect();
    Text::cut(&format!("{start}{letters}"))
}

/// A name without line breaks, which RabbitMQ takes out.
fn without_breaks(name: Text) -> Text {
    if name.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Text::cut(&name.replace(['\r', '\n'], ""));
    }
    name
}

/// The method's number, for [`Channel::ask`].
macro_rules! id {
    ($class:ident :: $name:ident) => {
        ($class::CLASS, $class::$name::ID)
    };
}
use id;
