//! The rules of the group protocol, each with the behaviour that Kafka documents.

mod joining;
mod leaving;
mod offsets;
mod persistence;
mod property;
mod sessions;
mod statics;
mod syncing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Caller, GroupCoordinator, JoinError, JoinRequest, Joined, Leaver, Now, Options, Output, Protocol,
    Response, State, SyncError, SyncRequest, Synced, Waiter, Write, WriteError,
};

const GROUP: &str = "g";
const WALL_MS: i64 = 1_700_000_000_000;

/// A coordinator with a clock, a journal that can be slow or fail, and a place for the answers.
pub(super) struct World {
    pub(super) groups: GroupCoordinator,
    pub(super) now: Duration,
    pub(super) answers: BTreeMap<Waiter, Response>,
    /// The compacted log.
    pub(super) log: BTreeMap<Bytes, Bytes>,
    pub(super) in_flight: VecDeque<Write>,
    pub(super) is_slow: bool,
    pub(super) fails: Option<WriteError>,
    waiters: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Options { initial_rebalance_delay: Duration::ZERO, ..Options::default() })
    }

    pub(super) fn with(options: Options) -> Self {
        let mut groups = GroupCoordinator::new(options);
        groups.finish_loading(Now { elapsed: Duration::ZERO, wall_ms: WALL_MS });
        Self {
            groups,
            now: Duration::ZERO,
            answers: BTreeMap::new(),
            log: BTreeMap::new(),
            in_flight: VecDeque::new(),
            is_slow: false,
            fails: None,
            waiters: 0,
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { elapsed: self.now, wall_ms: WALL_MS + self.now.as_millis() as i64 }
    }

    pub(super) fn waiter(&mut self) -> Waiter {
        self.waiters += 1;
        Waiter(self.waiters)
    }

    /// Delivers replies, and writes unless the journal is slow.
    pub(super) fn take(&mut self, output: Output) {
        for reply in output.replies {
            let before = self.answers.insert(reply.waiter, reply.response);
            assert!(before.is_none(), "{:?} was answered twice", reply.waiter);
        }
        self.in_flight.extend(output.writes);
        while !self.is_slow && self.write_one() {}
    }

    /// Lets the oldest write arrive, or fail.
    pub(super) fn write_one(&mut self) -> bool {
        let Some(write) = self.in_flight.pop_front() else { return false };
        let written = self.fails.map_or(Ok(()), Err);
        if written.is_ok() {
            for record in write.records() {
                match &record.value {
                    Some(value) => self.log.insert(record.key.clone(), value.clone()),
                    None => self.log.remove(&record.key),
                };
            }
        }
        let output = self.groups.complete(write, written, self.now());
        self.take(output);
        true
    }

    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(deadline) = self.groups.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            let output = self.groups.tick(self.now());
            self.take(output);
        }
        self.now = end;
    }

    pub(super) fn advance_secs(&mut self, secs: u64) {
        self.advance(Duration::from_secs(secs));
    }

    /// A new coordinator from what is in the log, as after a crash.
    pub(super) fn restart(&mut self) {
        let mut groups = GroupCoordinator::new(self.groups.options.clone());
        for (key, value) in &self.log {
            groups.apply(key, Some(value)).unwrap();
        }
        groups.finish_loading(self.now());
        self.groups = groups;
        self.in_flight.clear();
    }

    // --- requests ---

    pub(super) fn send_join(&mut self, request: &JoinRequest<'_>) -> Waiter {
        let waiter = self.waiter();
        let request = JoinRequest { fresh_id: Uuid::from_u128(waiter.0.into()), ..request.clone() };
        let output = self.groups.join(&request, waiter, self.now());
        self.take(output);
        waiter
    }

    pub(super) fn join_answer(&mut self, waiter: Waiter) -> Option<Result<Joined, JoinError>> {
        self.answers.remove(&waiter).map(|response| match response {
            Response::Join(result) => result,
            other => panic!("{other:?} is no answer to a join"),
        })
    }

    pub(super) fn join(&mut self, request: &JoinRequest<'_>) -> Result<Joined, JoinError> {
        let waiter = self.send_join(request);
        self.join_answer(waiter).expect("the join waits")
    }

    pub(super) fn send_sync(&mut self, joined: &Joined, assignments: &[(&str, &'static str)]) -> Waiter {
        let request = SyncRequest {
            caller: caller(joined),
            protocol_type: None,
            protocol: None,
            assignments: assignments
                .iter()
                .map(|(id, bytes)| (*id, Bytes::from_static(bytes.as_bytes())))
                .collect(),
        };
        self.send_sync_request(&request)
    }

    pub(super) fn send_sync_request(&mut self, request: &SyncRequest<'_>) -> Waiter {
        let waiter = self.waiter();
        let output = self.groups.sync(request, waiter, self.now());
        self.take(output);
        waiter
    }

    pub(super) fn sync_answer(&mut self, waiter: Waiter) -> Option<Result<Synced, SyncError>> {
        self.answers.remove(&waiter).map(|response| match response {
            Response::Sync(result) => result,
            other => panic!("{other:?} is no answer to a sync"),
        })
    }

    pub(super) fn sync(
        &mut self,
        joined: &Joined,
        assignments: &[(&str, &'static str)],
    ) -> Result<Bytes, SyncError> {
        let waiter = self.send_sync(joined, assignments);
        self.sync_answer(waiter).expect("the sync waits").map(|synced| synced.assignment)
    }

    pub(super) fn heartbeat(&mut self, joined: &Joined) -> Result<(), super::HeartbeatError> {
        self.groups.heartbeat(caller(joined), self.now())
    }

    pub(super) fn leave(&mut self, member_id: &str, instance_id: Option<&str>) -> super::Left {
        let leaver = Leaver { member_id, instance_id, reason: None };
        let (left, output) = self.groups.leave(GROUP, &[leaver], self.now());
        self.take(output);
        left.unwrap()
    }

    pub(super) fn state(&self) -> State {
        self.groups.describe(GROUP).unwrap().state
    }

    pub(super) fn member_count(&self) -> usize {
        self.groups.describe(GROUP).unwrap().members.len()
    }

    // --- short cuts ---

    /// One member, alone and stable in generation 1, with assignment `a`.
    pub(super) fn one_member(&mut self) -> Joined {
        let joined = self.join(&request("")).unwrap();
        self.sync(&joined, &[(&joined.member_id, "a")]).unwrap();
        joined
    }

    /// A leader and a follower, stable in one generation, with assignments `a` and `b`.
    pub(super) fn two_members(&mut self) -> (Joined, Joined) {
        let first = self.one_member();
        let follower = self.send_join(&request(""));
        let leader = self.send_join(&request(&first.member_id));
        let leader = self.join_answer(leader).unwrap().unwrap();
        let follower = self.join_answer(follower).unwrap().unwrap();
        self.sync(&leader, &[(&leader.member_id, "a"), (&follower.member_id, "b")]).unwrap();
        self.sync(&follower, &[]).unwrap();
        assert_eq!(self.state(), State::Stable);
        (leader, follower)
    }
}

pub(super) fn caller(joined: &Joined) -> Caller<'_> {
    Caller { group_id: GROUP, generation: joined.generation, member_id: &joined.member_id, instance_id: None }
}

pub(super) fn protocol(name: &str) -> Protocol {
    Protocol { name: name.into(), metadata: subscription(&["t"]) }
}

/// ConsumerProtocolSubscription version 0.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

/// A join of a dynamic consumer before KIP-394: session 10 s, rebalance 60 s, protocols `range` and `sticky`.
pub(super) fn request(member_id: &str) -> JoinRequest<'_> {
    JoinRequest {
        group_id: GROUP,
        member_id,
        instance_id: None,
        client_id: "app",
        client_host: "127.0.0.1",
        protocol_type: "consumer",
        protocols: vec![protocol("range"), protocol("sticky")],
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        require_known_member_id: false,
        supports_skip_assignment: true,
        fresh_id: Uuid::nil(),
        reason: None,
    }
}

pub(super) fn static_request<'a>(member_id: &'a str, instance_id: &'a str) -> JoinRequest<'a> {
    JoinRequest { instance_id: Some(instance_id), ..request(member_id) }
}

pub(super) fn with_protocols<'a>(mut request: JoinRequest<'a>, names: &[&str]) -> JoinRequest<'a> {
    request.protocols = names.iter().map(|name| protocol(name)).collect();
    request
}

pub(super) fn name(text: &str) -> Option<Arc<str>> {
    Some(text.into())
}
