//! Several clients, a slow and failing journal and restarts in random order, against what must always hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{GROUP, World, protocol, request};
use crate::group::record::GroupImage;
use crate::group::state::Group;
use crate::group::{
    Caller, CommitRequest, HeartbeatError, JoinError, JoinRequest, Joined, JoinedMember, Leaver, Options,
    Protocol, Response, State, SyncError, SyncRequest, Waiter, WriteError,
};
use crate::offsets::{PartitionCommit, RecordKey, TopicCommit};

/// How a consumer is made; the first two are dynamic, the others static.
const CLIENTS: [(Option<&str>, bool); 5] =
    [(None, true), (None, false), (Some("i"), true), (Some("j"), false), (None, true)];

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Out,
    Joining(Waiter),
    Joined(Box<Joined>),
    Syncing(Waiter, Box<Joined>),
    In(Box<Joined>, Bytes),
}

#[derive(Debug)]
struct Client {
    number: usize,
    member_id: String,
    stage: Stage,
    protocols: Vec<Protocol>,
}

#[derive(Debug, Clone)]
enum Step {
    /// A client does what its protocol asks for next.
    Act(usize),
    Leave(usize),
    /// A client's connection breaks: it never sees the answer that it waits for.
    LoseAnswer(usize),
    /// A client's process ends without a word, and starts anew.
    Crash(usize),
    Prefer(usize, bool),
    Commit(usize),
    Wait(u16),
    Slow(bool),
    Write,
    FailWrite,
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS.len();
    prop_oneof![
        30 => client.clone().prop_map(Step::Act),
        1 => client.clone().prop_map(Step::Leave),
        1 => client.clone().prop_map(Step::LoseAnswer),
        1 => client.clone().prop_map(Step::Crash),
        1 => (client.clone(), any::<bool>()).prop_map(|(client, first)| Step::Prefer(client, first)),
        2 => client.prop_map(Step::Commit),
        4 => prop_oneof![0..3_000_u16, 3_000..20_000_u16].prop_map(Step::Wait),
        2 => any::<bool>().prop_map(Step::Slow),
        4 => Just(Step::Write),
        1 => Just(Step::FailWrite),
        1 => Just(Step::Restart),
    ]
}

/// The world with its clients, and what they have been told.
struct Play {
    world: World,
    clients: Vec<Client>,
    /// Protocol of each generation that somebody was told, in this life of the broker.
    protocols: BTreeMap<i32, Option<std::sync::Arc<str>>>,
    /// Members that were told that they lead a generation and have to assign.
    leaders: BTreeMap<i32, BTreeSet<String>>,
    /// Since a write has failed, memory may be ahead of the log until a generation is stored.
    failed_in: Option<i32>,
}

impl Play {
    fn new(delay: Duration) -> Self {
        let options = Options { initial_rebalance_delay: delay, ..Options::default() };
        let client = |number| Client {
            number,
            member_id: String::new(),
            stage: Stage::Out,
            protocols: vec![protocol("range"), protocol("sticky")],
        };
        Self {
            world: World::with(options),
            clients: (0..CLIENTS.len()).map(client).collect(),
            protocols: BTreeMap::new(),
            leaders: BTreeMap::new(),
            failed_in: None,
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Act(client) => self.act(client),
            Step::Leave(client) => self.leave(client),
            Step::LoseAnswer(client) => self.clients[client].stage = Stage::Out,
            Step::Crash(client) => {
                self.clients[client].stage = Stage::Out;
                self.clients[client].member_id.clear();
            }
            Step::Prefer(client, range_first) => {
                let names = if range_first { ["range", "sticky"] } else { ["sticky", "range"] };
                self.clients[client].protocols = names.map(protocol).to_vec();
            }
            Step::Commit(client) => self.commit(client),
            Step::Wait(ms) => self.world.advance(Duration::from_millis(ms.into())),
            Step::Slow(is_slow) => self.world.is_slow = is_slow,
            Step::Write => {
                self.world.write_one();
            }
            Step::FailWrite => {
                self.world.fails = Some(WriteError::Unavailable);
                self.world.write_one();
                self.world.fails = None;
                self.failed_in = self.world.groups.groups.get(GROUP).map(|group| group.generation);
            }
            Step::Restart => self.restart(),
        }
        self.check();
    }

    fn act(&mut self, client: usize) {
        match self.clients[client].stage.clone() {
            Stage::Out => self.join(client),
            Stage::Joining(waiter) => self.hear_join(client, waiter),
            Stage::Joined(joined) => self.sync(client, joined),
            Stage::Syncing(waiter, joined) => self.hear_sync(client, waiter, joined),
            Stage::In(joined, _) => self.heartbeat(client, &joined),
        }
    }

    fn join(&mut self, client: usize) {
        let (instance_id, require_known_member_id) = CLIENTS[client];
        let member_id = self.clients[client].member_id.clone();
        let request = JoinRequest {
            instance_id,
            require_known_member_id,
            supports_skip_assignment: client != 3,
            protocols: self.clients[client].protocols.clone(),
            rebalance_timeout: Duration::from_secs(20),
            ..request(&member_id)
        };
        let waiter = self.world.send_join(&request);
        self.clients[client].stage = Stage::Joining(waiter);
    }

    fn hear_join(&mut self, client: usize, waiter: Waiter) {
        let Some(answer) = self.world.join_answer(waiter) else { return };
        match answer {
            Ok(joined) => {
                self.note(client, &joined);
                self.clients[client].member_id = joined.member_id.to_string();
                self.clients[client].stage = Stage::Joined(Box::new(joined));
            }
            Err(JoinError::MemberIdRequired { member_id }) => self.out(client, &member_id),
            Err(JoinError::UnknownMember | JoinError::FencedInstanceId) => self.out(client, ""),
            Err(JoinError::NotStored(_)) => self.clients[client].stage = Stage::Out,
            Err(other) => panic!("client {client}: {other}"),
        }
    }

    fn note(&mut self, client: usize, joined: &Joined) {
        assert!(joined.member_id.starts_with(CLIENTS[client].0.unwrap_or("app")));
        let protocol = self.protocols.entry(joined.generation).or_insert_with(|| joined.protocol.clone());
        assert_eq!(*protocol, joined.protocol, "generation {}", joined.generation);
        let leads = joined.leader == joined.member_id;
        assert_eq!(leads, !joined.members.is_empty(), "only the leader learns the members");
        if leads && !joined.skip_assignment {
            let leaders = self.leaders.entry(joined.generation).or_default();
            leaders.insert(joined.member_id.to_string());
            assert_eq!(leaders.len(), 1, "generation {} has several leaders", joined.generation);
        }
    }

    fn sync(&mut self, client: usize, joined: Box<Joined>) {
        let is_leader = joined.leader == joined.member_id && !joined.skip_assignment;
        let members = if is_leader { joined.members.as_slice() } else { &[] };
        // To the instance where there is one: a static member that comes back keeps what its predecessor was given.
        let assign = |member: &JoinedMember| {
            let owner = member.instance_id.as_ref().unwrap_or(&member.member_id);
            Bytes::from(format!("{}:{owner}", joined.generation))
        };
        let request = SyncRequest {
            caller: self.caller(client, &joined),
            protocol_type: Some("consumer"),
            protocol: joined.protocol.as_deref(),
            assignments: members.iter().map(|member| (&*member.member_id, assign(member))).collect(),
        };
        let waiter = self.world.waiter();
        let output = self.world.groups.sync(&request, waiter, self.world.now());
        self.world.take(output);
        self.clients[client].stage = Stage::Syncing(waiter, joined);
    }

    fn hear_sync(&mut self, client: usize, waiter: Waiter, joined: Box<Joined>) {
        let Some(answer) = self.world.sync_answer(waiter) else { return };
        match answer {
            Ok(synced) => {
                assert_eq!(synced.protocol, joined.protocol);
                self.clients[client].stage = Stage::In(joined, synced.assignment);
            }
            Err(SyncError::UnknownMember | SyncError::FencedInstanceId) => self.out(client, ""),
            Err(SyncError::RebalanceInProgress | SyncError::IllegalGeneration | SyncError::NotStored(_)) => {
                self.clients[client].stage = Stage::Out;
            }
            Err(other) => panic!("client {client}: {other}"),
        }
    }

    fn heartbeat(&mut self, client: usize, joined: &Joined) {
        let caller = self.caller(client, joined);
        match self.world.groups.heartbeat(caller, self.world.now()) {
            Ok(()) => {}
            Err(HeartbeatError::UnknownMember | HeartbeatError::FencedInstanceId) => self.out(client, ""),
            Err(HeartbeatError::RebalanceInProgress | HeartbeatError::IllegalGeneration) => {
                self.clients[client].stage = Stage::Out;
            }
            Err(other) => panic!("client {client}: {other}"),
        }
    }

    fn commit(&mut self, client: usize) {
        let Stage::In(joined, _) = self.clients[client].stage.clone() else { return };
        let partitions = vec![PartitionCommit {
            partition: client as i32,
            offset: 1,
            leader_epoch: -1,
            metadata: "".into(),
        }];
        let topics = vec![TopicCommit { topic: "t".into(), topic_id: None, partitions }];
        let request = CommitRequest { caller: self.caller(client, &joined), retention: None, topics };
        let waiter = self.world.waiter();
        let output = self.world.groups.commit(&request, waiter, self.world.now());
        self.world.take(output);
    }

    fn leave(&mut self, client: usize) {
        let member_id = std::mem::take(&mut self.clients[client].member_id);
        let leaver = Leaver { member_id: &member_id, instance_id: CLIENTS[client].0, reason: None };
        let (_, output) = self.world.groups.leave(GROUP, &[leaver], self.world.now());
        self.world.take(output);
        self.clients[client].stage = Stage::Out;
    }

    fn restart(&mut self) {
        self.world.restart();
        self.protocols.clear();
        self.leaders.clear();
        self.failed_in = None;
        for client in &mut self.clients {
            if matches!(client.stage, Stage::Joining(_) | Stage::Syncing(..)) {
                client.stage = Stage::Out;
            }
        }
    }

    fn out(&mut self, client: usize, member_id: &str) {
        self.clients[client].stage = Stage::Out;
        self.clients[client].member_id = member_id.to_owned();
    }

    fn caller<'a>(&self, client: usize, joined: &'a Joined) -> Caller<'a> {
        let instance_id = CLIENTS[self.clients[client].number].0;
        Caller { instance_id, ..super::caller(joined) }
    }

    // --- what must hold ---

    fn check(&self) {
        let Some(group) = self.world.groups.groups.get(GROUP) else { return };
        check_bookkeeping(group);
        assert!(group.wake_at == group.registered);
        let is_certain = self.world.in_flight.is_empty() && self.failed_in != Some(group.generation);
        if group.state == State::Stable && is_certain {
            assert_eq!(self.stored().unwrap(), group.image(None), "what is stored is what is used");
        }
    }

    fn stored(&self) -> Option<GroupImage> {
        let key = RecordKey::Group { group_id: GROUP }.encode();
        self.world.log.get(&key).map(|value| GroupImage::decode(value).unwrap())
    }

    /// From now on everybody behaves. Then the group must become stable with all of them.
    fn settle(&mut self) {
        self.world.is_slow = false;
        self.world.write_one();
        for _ in 0..150 {
            for client in 0..self.clients.len() {
                self.act(client);
                self.check();
            }
            self.world.advance(Duration::from_secs(1));
        }
        assert_eq!(self.world.state(), State::Stable);
        assert_eq!(self.world.member_count(), CLIENTS.len(), "every client, and nobody else");
        let mut generations = BTreeSet::new();
        for client in &self.clients {
            let Stage::In(joined, assignment) = &client.stage else { panic!("{client:?} is stuck") };
            generations.insert(joined.generation);
            let owner = CLIENTS[client.number].0.unwrap_or(&joined.member_id);
            assert_eq!(*assignment, format!("{}:{owner}", joined.generation));
        }
        assert_eq!(generations.len(), 1);
        self.nobody_waits();
        let before = self.world.groups.describe(GROUP).unwrap();
        self.world.restart();
        assert_eq!(self.world.groups.describe(GROUP).unwrap(), before);
    }

    /// Answers that clients have lost may lie around, but no request is without one.
    fn nobody_waits(&self) {
        let group = &self.world.groups.groups[GROUP];
        assert!(group.members.values().all(|member| !member.is_waiting()));
        assert!(self.world.answers.values().all(|answer| !matches!(answer, Response::DeleteGroup(_))));
    }
}

fn check_bookkeeping(group: &Group) {
    let waiting = group.members.values().filter(|member| member.waiting_join.is_some()).count();
    assert_eq!(group.awaiting_join, waiting);
    assert_eq!(group.leader.is_some(), !group.members.is_empty());
    assert!(group.leader.iter().all(|leader| group.members.contains_key(leader)));
    let statics: BTreeMap<_, _> = group
        .members
        .values()
        .filter_map(|member| member.instance_id.clone().map(|instance_id| (instance_id, member.id.clone())))
        .collect();
    assert_eq!(group.static_members, statics);
    assert!(group.pending_sync.iter().all(|id| group.members.contains_key(id)));
    assert!(group.pending_join.keys().all(|id| !group.members.contains_key(id)));
    for member in group.members.values() {
        assert!(
            member.session_deadline.is_some() || member.is_waiting(),
            "{} would stay for ever",
            member.id
        );
        assert!(member.session_deadline.is_none() || group.wake_at <= member.session_deadline);
        for protocol in &member.protocols {
            let supporters = group
                .members
                .values()
                .filter(|other| other.protocols.iter().any(|p| p.name == protocol.name));
            assert_eq!(group.support_of(&protocol.name), supporters.count());
        }
    }
    match group.state {
        State::Empty | State::Dead => assert!(group.members.is_empty()),
        State::PreparingRebalance => assert!(group.join_timer.is_some(), "a rebalance would never end"),
        State::CompletingRebalance => assert!(!group.members.is_empty() && group.protocol.is_some()),
        State::Stable => assert!(group.members.values().all(|member| member.waiting_sync.is_none())),
    }
    assert!(group.join_timer.is_none() || group.state == State::PreparingRebalance);
}

proptest! {
    #[test]
    fn whatever_happens_the_group_becomes_stable(
        steps in prop::collection::vec(any_step(), 0..250),
        delay_ms in prop_oneof![Just(0_u64), Just(100), Just(3_000)],
    ) {
        let mut play = Play::new(Duration::from_millis(delay_ms));
        for step in &steps {
            play.run(step);
        }
        play.settle();
    }

    #[test]
    fn equal_inputs_give_equal_outputs(steps in prop::collection::vec(any_step(), 0..100)) {
        let play = || {
            let mut play = Play::new(Duration::ZERO);
            for step in &steps {
                play.run(step);
            }
            (play.world.log, play.world.answers)
        };
        prop_assert_eq!(play(), play());
    }

    #[test]
    fn applying_arbitrary_records_never_panics(
        records in prop::collection::vec((any::<bool>(), any::<Vec<u8>>(), any::<Option<Vec<u8>>>()), 0..20),
    ) {
        let mut world = World::new();
        world.one_member();
        for (is_group, mut key, mut value) in records {
            key.insert(0, if is_group { 0x11 } else { 0x21 });
            if let Some(value) = &mut value {
                value.insert(0, 1);
            }
            let _ = world.groups.apply(&key, value.as_deref());
        }
        world.advance_secs(100);
    }
}
