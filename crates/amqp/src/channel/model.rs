//! Random methods and answers: every delivery is settled or given back exactly once, and every method gets its answer.

use std::collections::BTreeSet;

use annals_clock::Clock;

use super::effect::Settlement;
use super::*;
use crate::methods::tx;
use crate::rights::Permission;
use crate::wire::outbound::Content;

/// A channel and what must be true of it.
struct Walk {
    channel: Channel<u64>,
    rights: Rights,
    clock: Clock,
    /// Deliveries that are neither settled nor given back.
    open: BTreeSet<u64>,
    next_lease: u64,
    /// Answers that the client waits for.
    expected: Vec<&'static str>,
    /// What was published with a number, and what was told of it.
    numbered: u64,
    told: u64,
    is_free: bool,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut walk = Self {
            channel: Channel::default(),
            rights: Rights::new("guest", "/", Permission::all()),
            clock: Clock::manual(0, seed).0,
            open: BTreeSet::new(),
            next_lease: 1,
            expected: Vec::new(),
            numbered: 0,
            told: 0,
            is_free: false,
        };
        walk.send(channel::Open::default(), "channel.open-ok");
        walk
    }

    fn random(&self, below: u64) -> u64 {
        self.clock.random() % below
    }

    fn send(&mut self, method: impl Into<Method>, answer: &'static str) {
        let was_closing = self.channel.is_closing();
        let command = self.channel.method(method.into()).expect("in turn");
        if !was_closing && !answer.is_empty() {
            self.expected.push(answer);
        }
        if let Some(command) = command {
            self.command(command);
        }
        self.carry_out();
    }

    fn command(&mut self, command: Command) {
        let around = Around { rights: &self.rights, clock: &self.clock };
        if let Err(error) = self.channel.command(command, around) {
            self.fail(&error);
        }
    }

    /// The method that failed gets no answer but the end of the channel.
    fn fail(&mut self, error: &Exception) {
        assert!(!error.code.ends_connection(), "{error}");
        self.expected.clear();
        self.expected.push("channel.close");
        self.channel.fail(error);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.channel.next_effect() {
            match effect {
                Effect::Send(method) => self.told(&method),
                Effect::SendMessage(..) | Effect::Replies(_) | Effect::Window(_) => {}
                Effect::Ask(ask) => self.answer(&ask),
                Effect::Publish(publish) => {
                    self.numbered = publish.number.unwrap_or(self.numbered);
                    if let Some(number) = publish.number {
                        self.channel.published(number, publishing::Outcome::Safe);
                    }
                }
                Effect::Settle(settlement) => self.close(&settlement),
                Effect::Release(leases) => {
                    leases
                        .iter()
                        .for_each(|lease| assert!(self.open.remove(lease), "{lease} is given back once"));
                    assert!(self.open.is_empty(), "all is given back");
                }
                Effect::Free => self.is_free = true,
            }
        }
        let mut last = self.told;
        self.channel.confirm(|method| {
            let Method::BasicAck(ack) = method else { panic!("all is safe") };
            assert!(ack.delivery_tag > last);
            last = ack.delivery_tag;
        });
        self.told = last;
    }

    fn close(&mut self, settlement: &Settlement<u64>) {
        settlement
            .leases
            .iter()
            .for_each(|lease| assert!(self.open.remove(lease), "{lease} is settled once"));
    }

    fn told(&mut self, method: &Method) {
        assert_eq!(self.expected.first(), Some(&method.name()), "answers come in order");
        self.expected.remove(0);
    }

    fn answer(&mut self, ask: &Ask<u64>) {
        assert!(self.channel.is_waiting());
        if self.random(12) == 0 {
            let error = precondition_failed("the broker does not want to");
            let error = self.channel.answer(Err(error)).expect_err("it is told");
            return self.fail(&error);
        }
        let answer = match ask {
            Ask::DeclareQueue(_) => Answer::Queue { message_count: 0, consumer_count: 0 },
            Ask::DeleteQueue(_) | Ask::PurgeQueue(_) => Answer::Count(0),
            Ask::Get(get) => {
                let lease = self.lease(get.no_ack);
                self.channel.got(lease);
                self.expected.retain(|name| *name != "basic.get-ok");
                return;
            }
            Ask::Commit(transaction) => {
                transaction.settlements.iter().for_each(|settlement| self.close(settlement));
                Answer::Done
            }
            _ => Answer::Done,
        };
        self.channel.answer(Ok(answer)).expect("it makes sense");
    }

    fn lease(&mut self, no_ack: bool) -> u64 {
        let lease = self.next_lease;
        self.next_lease += 1;
        if !no_ack {
            self.open.insert(lease);
        }
        lease
    }

    fn step(&mut self) {
        let tag = self.random(self.next_lease + 2);
        let (bit, other) = (self.random(2) == 0, self.random(3) == 0);
        let queue = || Text::from("q");
        match self.random(16) {
            0 => self.send(queue::Declare { queue: queue(), ..Default::default() }, "queue.declare-ok"),
            1 => self.send(queue::Purge { queue: queue(), ..Default::default() }, "queue.purge-ok"),
            2 => self.send(queue::Delete { queue: queue(), ..Default::default() }, "queue.delete-ok"),
            3 => self.send(basic::Get { queue: queue(), no_ack: bit, ..Default::default() }, "basic.get-ok"),
            4 => self.send(basic::Recover { requeue: true }, "basic.recover-ok"),
            5 if other => self.send(tx::Select {}, "tx.select-ok"),
            6 if other => self.send(confirm::Select::default(), "confirm.select-ok"),
            7 => self.send(tx::Commit {}, "tx.commit-ok"),
            8 => self.send(tx::Rollback {}, "tx.rollback-ok"),
            9 => self.send(basic::Nack { delivery_tag: tag, multiple: bit, requeue: other }, ""),
            10 | 11 => self.send(basic::Ack { delivery_tag: tag, multiple: bit }, ""),
            12 => {
                let content = Content { properties: Bytes::from_static(b"\0\0"), body: Bytes::new() };
                if !self.channel.is_closing() {
                    self.command(Command::Publish(basic::Publish::default(), content));
                    self.carry_out();
                }
            }
            _ if !self.channel.is_closing() => {
                let lease = self.lease(other);
                self.channel.deliver(lease, other);
            }
            _ => {}
        }
    }
}

#[test]
fn whatever_happens_every_delivery_is_settled_or_given_back_once() {
    for seed in 0..300 {
        let mut walk = Walk::new(seed);
        for _ in 0..200 {
            walk.step();
            if walk.channel.is_closing() && walk.random(4) == 0 {
                assert_eq!(walk.expected, [""; 0], "the client was told");
                walk.send(channel::CloseOk {}, "");
                assert!(walk.is_free && walk.open.is_empty());
                walk = Walk::new(walk.random(u64::MAX));
            }
        }
        if !walk.channel.is_closing() {
            assert_eq!(walk.told, walk.numbered, "every publish is confirmed");
            walk.send(channel::Close::default(), "channel.close-ok");
        }
        assert!(walk.open.is_empty() && walk.expected.is_empty());
    }
}
