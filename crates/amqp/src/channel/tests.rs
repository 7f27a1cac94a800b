//! Methods in, effects out: without a socket and without a broker.

use annals_clock::Clock;
use bytes::BytesMut;

use super::effect::{Publish, Settlement, Verdict};
use super::publishing::Outcome;
use super::*;
use crate::methods::{exchange, tx};
use crate::reply::not_found;
use crate::rights::Permission;
use crate::wire::outbound::Content;
use crate::wire::properties::Properties;
use crate::wire::table::Table;
use crate::wire::value::Value;

/// A channel with what is around it. Deliveries are known by numbers.
struct Bench {
    channel: Channel<u64>,
    rights: Rights,
    clock: Clock,
}

impl Bench {
    fn new() -> Self {
        Self::with(Permission::all())
    }

    fn with(permission: Permission) -> Self {
        let rights = Rights::new("guest", "/", permission);
        let mut bench = Self { channel: Channel::default(), rights, clock: Clock::manual(0, 1).0 };
        let opened = bench.send(channel::Open::default());
        assert_eq!(opened, Ok(vec![Effect::Send(channel::OpenOk::default().into())]));
        bench
    }

    /// Sends a method; returns what follows.
    fn send(&mut self, method: impl Into<Method>) -> Result<Vec<Effect<u64>>, Exception> {
        let around = Around { rights: &self.rights, clock: &self.clock };
        if let Some(command) = self.channel.method(method.into())? {
            self.channel.command(command, around)?;
        }
        Ok(self.effects())
    }

    /// Sends a message.
    fn publish(
        &mut self,
        publish: basic::Publish,
        properties: &Properties<'_>,
    ) -> Result<Vec<Effect<u64>>, Exception> {
        let mut bytes = BytesMut::new();
        properties.write(&mut bytes);
        let content = Content { properties: bytes.freeze(), body: "body".into() };
        let around = Around { rights: &self.rights, clock: &self.clock };
        self.channel.command(Command::Publish(publish, content), around)?;
        Ok(self.effects())
    }

    fn answer(&mut self, answer: Answer) -> Vec<Effect<u64>> {
        self.channel.answer(Ok(answer)).expect("no error");
        self.effects()
    }

    fn effects(&mut self) -> Vec<Effect<u64>> {
        std::iter::from_fn(|| self.channel.next_effect()).collect()
    }

    fn confirms(&mut self) -> Vec<Method> {
        let mut told = Vec::new();
        self.channel.confirm(|method| told.push(method));
        told
    }

    /// Begins a consumer under a tag; returns its number.
    fn consume(&mut self, tag: &'static str) -> u32 {
        let consume = basic::Consume { queue: "q".into(), consumer_tag: tag.into(), ..Default::default() };
        let asked = self.send(consume).expect("no error");
        let [Effect::Ask(Ask::Consume(consume))] = &asked[..] else { panic!("not asked: {asked:?}") };
        let ok = self.answer(Answer::Done);
        assert_eq!(ok[0], Effect::Send(basic::ConsumeOk { consumer_tag: tag.into() }.into()));
        consume.key
    }

    fn error(&mut self, method: impl Into<Method>) -> String {
        self.send(method).expect_err("an error").to_string()
    }
}

fn sent(method: impl Into<Method>) -> Effect<u64> {
    Effect::Send(method.into())
}

fn settled(verdict: Verdict, leases: &[u64]) -> Effect<u64> {
    Effect::Settle(Settlement { verdict, leases: leases.to_vec() })
}

fn ack(delivery_tag: u64, multiple: bool) -> basic::Ack {
    basic::Ack { delivery_tag, multiple }
}

#[test]
fn a_channel_is_opened_once_and_first() {
    let mut bench = Bench::new();
    assert_eq!(bench.error(channel::Open::default()), "CHANNEL_ERROR - second 'channel.open' seen");
    bench.channel = Channel::default();
    assert_eq!(bench.error(basic::Qos::default()), "CHANNEL_ERROR - expected 'channel.open'");
}

#[test]
fn a_queue_is_declared_when_the_broker_says_so() {
    let mut bench = Bench::new();
    let declare = queue::Declare { queue: "q\r\n".into(), durable: true, ..Default::default() };
    let asked = queue::Declare { queue: "q".into(), ..declare.clone() };
    assert_eq!(bench.send(declare), Ok(vec![Effect::Ask(Ask::DeclareQueue(asked))]));
    assert!(bench.channel.is_waiting());
    let answer = Answer::Queue { message_count: 2, consumer_count: 1 };
    let ok = queue::DeclareOk { queue: "q".into(), message_count: 2, consumer_count: 1 };
    assert_eq!(bench.answer(answer), [sent(ok)]);
    assert!(!bench.channel.is_waiting());
}

#[test]
fn the_server_chooses_a_name_that_short_cuts_then_mean() {
    let mut bench = Bench::new();
    let none = "NOT_FOUND - no previously declared queue";
    assert_eq!(bench.error(queue::Purge::default()), none);
    let asked = bench.send(queue::Declare::default()).expect("no error");
    let [Effect::Ask(Ask::DeclareQueue(declare))] = &asked[..] else { panic!("not asked: {asked:?}") };
    let name = declare.queue.clone();
    assert!(name.starts_with("amq.gen-") && name.len() == 30, "{name}");
    bench.answer(Answer::Queue { message_count: 0, consumer_count: 0 });

    let bind = queue::Bind { exchange: "x".into(), ..Default::default() };
    let asked = queue::Bind { queue: name.clone(), routing_key: name.clone(), ..bind.clone() };
    assert_eq!(bench.send(bind), Ok(vec![Effect::Ask(Ask::BindQueue(asked))]));
    assert_eq!(bench.answer(Answer::Done), [sent(queue::BindOk {})]);

    let asked = bench.send(queue::Delete { no_wait: true, ..Default::default() });
    let delete = queue::Delete { queue: name, no_wait: true, ..Default::default() };
    assert_eq!(asked, Ok(vec![Effect::Ask(Ask::DeleteQueue(delete))]));
    assert_eq!(bench.answer(Answer::Count(3)), [], "nobody wants to know");
}

#[test]
fn exchanges_have_a_known_type_and_a_name() {
    let mut bench = Bench::new();
    let declare = |exchange: &'static str, kind: &'static str| exchange::Declare {
        exchange: exchange.into(),
        kind: kind.into(),
        ..Default::default()
    };
    assert_eq!(bench.error(declare("x", "strange")), "PRECONDITION_FAILED - unknown exchange type 'strange'");
    assert_eq!(
        bench.error(declare("", "direct")),
        "ACCESS_REFUSED - operation not permitted on the default exchange"
    );
    let delete = exchange::Delete { exchange: "amq.topic".into(), ..Default::default() };
    assert_eq!(
        bench.error(delete),
        "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed"
    );
    let arguments = Table::from_entries([("alternate-exchange", Value::I32(1))]);
    assert_eq!(
        bench.error(exchange::Declare { arguments, ..declare("x", "fanout") }),
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'x' in vhost '/'"
    );
    assert!(bench.send(declare("x", "topic")).is_ok());
}

#[test]
fn nothing_happens_without_a_right() {
    let mut bench = Bench::with(Permission::parse("^c", "^w", "^r").expect("patterns"));
    let refused = |what: &str| format!("ACCESS_REFUSED - {what} in vhost '/' refused for user 'guest'");
    assert_eq!(
        bench.error(queue::Declare { queue: "q".into(), ..Default::default() }),
        refused("configure access to queue 'q'")
    );
    let bind = queue::Bind { queue: "w".into(), exchange: "x".into(), ..Default::default() };
    assert_eq!(bench.error(bind.clone()), refused("read access to exchange 'x'"));
    assert_eq!(bench.error(queue::Bind { queue: "q".into(), ..bind }), refused("write access to queue 'q'"));
    let consume = basic::Consume { queue: "w".into(), ..Default::default() };
    assert_eq!(bench.error(consume), refused("read access to queue 'w'"));
    let publish = bench.publish(basic::Publish::default(), &Properties::default());
    assert_eq!(publish.expect_err("no right").to_string(), refused("write access to exchange 'amq.default'"));
    let passive = queue::Declare { queue: "q".into(), passive: true, ..Default::default() };
    assert!(bench.send(passive).is_ok(), "looking is allowed");
}

#[test]
fn an_error_gives_everything_back_and_stops_the_channel_until_it_is_acknowledged() {
    let mut bench = Bench::new();
    bench.consume("c");
    assert_eq!([bench.channel.deliver(70, false), bench.channel.deliver(71, false)], [1, 2]);
    let error = bench.send(ack(9, false)).expect_err("no such tag");
    assert_eq!(error.to_string(), "PRECONDITION_FAILED - unknown delivery tag 9");
    bench.channel.fail(&error);
    let close = channel::Close {
        reply_code: 406,
        reply_text: "PRECONDITION_FAILED - unknown delivery tag 9".into(),
        class_id: 60,
        method_id: 80,
    };
    assert_eq!(bench.effects(), [Effect::Release(vec![70, 71]), sent(close)]);
    assert_eq!(bench.send(ack(1, false)), Ok(vec![]), "sent before the client knew");
    assert_eq!(bench.send(channel::Close::default()), Ok(vec![sent(channel::CloseOk {})]));
    assert_eq!(bench.send(channel::CloseOk {}), Ok(vec![Effect::Free]));
}

#[test]
fn a_client_closes_a_channel() {
    let mut bench = Bench::new();
    bench.consume("c");
    bench.channel.deliver(70, false);
    let expected = vec![Effect::Release(vec![70]), sent(channel::CloseOk {}), Effect::Free];
    assert_eq!(bench.send(channel::Close::default()), Ok(expected));
}

#[test]
fn deliveries_are_settled_by_their_tags() {
    let mut bench = Bench::new();
    bench.consume("c");
    let tags: Vec<_> = (70..76).map(|lease| bench.channel.deliver(lease, false)).collect();
    assert_eq!(tags, [1, 2, 3, 4, 5, 6]);
    assert_eq!(bench.send(ack(3, true)), Ok(vec![settled(Verdict::Ack, &[70, 71, 72])]));
    let reject = basic::Reject { delivery_tag: 5, requeue: false };
    assert_eq!(bench.send(reject), Ok(vec![settled(Verdict::Reject, &[74])]));
    let nack = basic::Nack { delivery_tag: 0, multiple: true, requeue: true };
    assert_eq!(bench.send(nack), Ok(vec![settled(Verdict::Requeue, &[73, 75])]));
    assert_eq!(bench.send(ack(0, true)), Ok(vec![]), "there is none");
}

#[test]
fn a_delivery_that_needs_no_acknowledgement_takes_a_tag_only() {
    let mut bench = Bench::new();
    bench.consume("c");
    assert_eq!([bench.channel.deliver(70, true), bench.channel.deliver(71, false)], [1, 2]);
    assert!(bench.error(ack(1, false)).ends_with("unknown delivery tag 1"));
}

#[test]
fn recovering_gives_back_all() {
    let mut bench = Bench::new();
    bench.consume("c");
    (70..72).for_each(|lease| _ = bench.channel.deliver(lease, false));
    let expected = vec![settled(Verdict::Requeue, &[70, 71]), sent(basic::RecoverOk {})];
    assert_eq!(bench.send(basic::Recover { requeue: true }), Ok(expected));
    assert_eq!(bench.error(basic::Recover { requeue: false }), "NOT_IMPLEMENTED - requeue=false");
}

#[test]
fn a_single_message_is_fetched() {
    let mut bench = Bench::new();
    let get = basic::Get { queue: "q".into(), ..Default::default() };
    assert_eq!(bench.send(get.clone()), Ok(vec![Effect::Ask(Ask::Get(get.clone()))]));
    assert_eq!(bench.answer(Answer::Empty), [sent(basic::GetEmpty::default())]);
    bench.send(get).expect("no error");
    assert_eq!(bench.channel.got(70), 1);
    assert!(!bench.channel.is_waiting());
    assert_eq!(bench.send(ack(1, false)), Ok(vec![settled(Verdict::Ack, &[70])]));
}

#[test]
fn limits_say_how_many_may_be_unsettled() {
    let mut bench = Bench::new();
    let qos = |prefetch_count, global| basic::Qos { prefetch_size: 0, prefetch_count, global };
    assert_eq!(bench.send(qos(2, true)), Ok(vec![Effect::Window(2), sent(basic::QosOk {})]));
    assert_eq!(bench.send(qos(7, false)), Ok(vec![Effect::Window(0), sent(basic::QosOk {})]));
    let consume = basic::Consume { queue: "q".into(), ..Default::default() };
    let asked = bench.send(consume.clone()).expect("no error");
    assert!(matches!(&asked[..], [Effect::Ask(Ask::Consume(consume))] if consume.prefetch == 7));
    bench.answer(Answer::Done);
    let asked = bench.send(basic::Consume { no_ack: true, ..consume }).expect("no error");
    assert!(
        matches!(&asked[..], [Effect::Ask(Ask::Consume(consume))] if consume.prefetch == 7),
        "the queue knows what it means"
    );
    bench.answer(Answer::Done);
    let size = basic::Qos { prefetch_size: 1, ..Default::default() };
    assert_eq!(bench.error(size), "NOT_IMPLEMENTED - prefetch_size!=0 (1)");
}

#[test]
fn a_tag_is_used_once_at_a_time() {
    let mut bench = Bench::new();
    bench.consume("c");
    let again = basic::Consume { queue: "q".into(), consumer_tag: "c".into(), ..Default::default() };
    assert_eq!(bench.error(again), "NOT_ALLOWED - attempt to reuse consumer tag 'c'");
    let cancel = basic::Cancel { consumer_tag: "c".into(), no_wait: false };
    assert_eq!(bench.send(cancel.clone()), Ok(vec![Effect::Ask(Ask::Cancel(1))]));
    let ok = basic::CancelOk { consumer_tag: "c".into() };
    assert_eq!(bench.answer(Answer::Done), [sent(ok.clone())]);
    assert_eq!(bench.send(cancel), Ok(vec![sent(ok)]), "nobody minds a tag that is not there");
    bench.consume("c");
}

#[test]
fn the_tag_of_a_consumer_whose_queue_is_gone_is_free() {
    let mut bench = Bench::new();
    bench.consume("c");
    bench.channel.consumer_gone(&"c".into());
    bench.consume("c");
}

#[test]
fn publishes_are_numbered_and_confirmed() {
    let mut bench = Bench::new();
    let publish = basic::Publish { exchange: "x".into(), mandatory: true, ..Default::default() };
    let plain = Properties::default();
    let numbers = |effects: Vec<Effect<u64>>| match &effects[..] {
        [Effect::Publish(Publish { number, mandatory: true, .. })] => *number,
        other => panic!("not published: {other:?}"),
    };
    assert_eq!(numbers(bench.publish(publish.clone(), &plain).expect("no error")), None);
    let ok = vec![sent(confirm::SelectOk {})];
    assert_eq!(bench.send(confirm::Select::default()), Ok(ok.clone()));
    for expected in 1..=3 {
        let effects = bench.publish(publish.clone(), &plain).expect("no error");
        assert_eq!(numbers(effects), Some(expected));
    }
    assert_eq!(bench.send(confirm::Select::default()), Ok(ok), "again");
    bench.channel.published(2, Outcome::Failed);
    assert_eq!(bench.confirms(), []);
    bench.channel.published(1, Outcome::Safe);
    let nack = basic::Nack { delivery_tag: 2, multiple: false, requeue: false };
    assert_eq!(bench.confirms(), [ack(1, false).into(), nack.into()]);
    assert_eq!(bench.channel.unconfirmed(), 1);
    assert_eq!(bench.error(tx::Select {}), "PRECONDITION_FAILED - cannot switch from confirm to tx mode");
}

#[test]
fn a_message_that_goes_nowhere_goes_back() {
    let mut bench = Bench::new();
    let publish = basic::Publish { exchange: "x".into(), routing_key: "k".into(), ..Default::default() };
    let effects = bench.publish(publish, &Properties::default()).expect("no error");
    let [Effect::Publish(publish)] = &effects[..] else { panic!("not published: {effects:?}") };
    bench.channel.unroutable(publish);
    let expected = basic::Return {
        reply_code: 312,
        reply_text: "NO_ROUTE".into(),
        exchange: "x".into(),
        routing_key: "k".into(),
    };
    assert_eq!(bench.effects(), [Effect::SendMessage(expected.into(), publish.content.clone())]);
}

#[test]
fn what_a_message_says_about_itself_is_checked() {
    let mut bench = Bench::new();
    let mut error = |properties: Properties<'_>| {
        bench.publish(basic::Publish::default(), &properties).expect_err("refused").to_string()
    };
    assert_eq!(
        error(Properties { expiration: Some(b"soon"), ..Default::default() }),
        "PRECONDITION_FAILED - invalid expiration 'soon': no_integer"
    );
    assert_eq!(
        error(Properties { user_id: Some(b"root"), ..Default::default() }),
        "PRECONDITION_FAILED - user_id property set to 'root' but authenticated user was 'guest'"
    );
    assert_eq!(
        error(Properties { reply_to: Some(b"amq.rabbitmq.reply-to"), ..Default::default() }),
        "PRECONDITION_FAILED - fast reply consumer does not exist"
    );
    let immediate = basic::Publish { immediate: true, ..Default::default() };
    let error = bench.publish(immediate, &Properties::default()).expect_err("refused");
    assert_eq!(
        (error.to_string().as_str(), error.method),
        ("NOT_IMPLEMENTED - immediate=true", Some((60, 40)))
    );
}

#[test]
fn replies_have_an_address_that_requests_carry() {
    let mut bench = Bench::new();
    let consume = basic::Consume {
        queue: "amq.rabbitmq.reply-to".into(),
        consumer_tag: "r".into(),
        no_ack: true,
        ..Default::default()
    };
    let acknowledging = basic::Consume { no_ack: false, ..consume.clone() };
    assert_eq!(bench.error(acknowledging), "PRECONDITION_FAILED - reply consumer cannot acknowledge");
    let effects = bench.send(consume.clone()).expect("no error");
    let [Effect::Replies(Some(address)), ok] = &effects[..] else { panic!("no address: {effects:?}") };
    assert_eq!(*ok, sent(basic::ConsumeOk { consumer_tag: "r".into() }));
    assert!(address.starts_with("amq.rabbitmq.reply-to.") && address.len() > 40);
    assert_eq!(
        bench.error(basic::Consume { consumer_tag: "s".into(), ..consume }),
        "PRECONDITION_FAILED - reply consumer already set"
    );
    let request =
        Properties { reply_to: Some(b"amq.rabbitmq.reply-to"), priority: Some(3), ..Default::default() };
    let effects = bench.publish(basic::Publish::default(), &request).expect("no error");
    let [Effect::Publish(publish)] = &effects[..] else { panic!("not published: {effects:?}") };
    let properties = publish.properties();
    let properties = Properties::read(&properties).expect("well formed");
    assert_eq!((properties.reply_to, properties.priority), (Some(address.as_bytes()), Some(3)));
    let cancel = basic::Cancel { consumer_tag: "r".into(), no_wait: true };
    assert_eq!(bench.send(cancel), Ok(vec![Effect::Replies(None)]));
}

#[test]
fn a_transaction_is_one_question() {
    let mut bench = Bench::new();
    assert_eq!(bench.error(tx::Commit {}), "PRECONDITION_FAILED - channel is not transactional");
    assert_eq!(bench.send(tx::Select {}), Ok(vec![sent(tx::SelectOk {})]));
    bench.consume("c");
    (70..73).for_each(|lease| _ = bench.channel.deliver(lease, false));
    assert_eq!(bench.publish(basic::Publish::default(), &Properties::default()), Ok(vec![]));
    assert_eq!(bench.send(ack(2, true)), Ok(vec![]));
    let asked = bench.send(tx::Commit {}).expect("no error");
    let [Effect::Ask(Ask::Commit(transaction))] = &asked[..] else { panic!("not asked: {asked:?}") };
    assert_eq!(transaction.publishes.len(), 1);
    assert_eq!(transaction.settlements, [Settlement { verdict: Verdict::Ack, leases: vec![70, 71] }]);
    assert_eq!(bench.answer(Answer::Done), [sent(tx::CommitOk {})]);
    assert_eq!(bench.send(ack(3, false)), Ok(vec![]));
    assert_eq!(bench.send(tx::Rollback {}), Ok(vec![sent(tx::RollbackOk {})]));
    assert_eq!(bench.send(ack(3, false)), Ok(vec![]), "it is unsettled again");
    assert_eq!(
        bench.error(confirm::Select::default()),
        "PRECONDITION_FAILED - cannot switch from tx to confirm mode"
    );
}

#[test]
fn a_transaction_is_told_at_once_that_there_is_no_such_exchange() {
    let mut bench = Bench::new();
    bench.send(tx::Select {}).expect("no error");
    let publish = basic::Publish { exchange: "x".into(), ..Default::default() };
    let asked = [Effect::Ask(Ask::Publishable("x".into()))];
    assert_eq!(bench.publish(publish.clone(), &Properties::default()), Ok(asked.to_vec()));
    assert_eq!(bench.answer(Answer::Done), []);
    bench.publish(publish, &Properties::default()).expect("asked");
    let failed = bench.channel.answer(Err(not_found("no exchange 'x'"))).expect_err("failed");
    assert_eq!(failed.method, Some((60, 40)));
}

#[test]
fn queues_that_must_be_found_again_are_named_by_clients() {
    let mut bench = Bench::new();
    let arguments = Table::from_entries([("x-queue-type", Value::string("quorum"))]);
    let declare = queue::Declare { durable: true, arguments, ..Default::default() };
    assert_eq!(
        bench.error(declare),
        "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue"
    );
}

#[test]
fn a_transaction_that_fails_gives_everything_back() {
    let mut bench = Bench::new();
    bench.send(tx::Select {}).expect("no error");
    bench.consume("c");
    (70..72).for_each(|lease| _ = bench.channel.deliver(lease, false));
    bench.send(ack(1, false)).expect("there");
    bench.send(tx::Commit {}).expect("no error");
    let failed = bench.channel.answer(Err(internal_error("the disk is gone"))).expect_err("failed");
    assert_eq!(failed.method, Some((90, 20)));
    bench.channel.fail(&failed);
    assert_eq!(bench.effects()[0], Effect::Release(vec![70, 71]));
}

#[test]
fn methods_that_only_a_server_sends_are_refused() {
    let mut bench = Bench::new();
    let refused = "COMMAND_INVALID - unimplemented method";
    assert_eq!(bench.error(basic::GetEmpty::default()), refused);
    assert_eq!(bench.error(queue::BindOk {}), refused);
    assert_eq!(bench.error(channel::Flow { active: false }), "NOT_IMPLEMENTED - active=false");
}
