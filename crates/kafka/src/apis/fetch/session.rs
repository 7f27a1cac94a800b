//! Fetch sessions: what a polling client asked for last time, so that it need not ask again (KIP-227).
//!
//! A client opens a session with a full request. From then on its requests name only the partitions that it adds,
//! changes or forgets, and the answers tell only of partitions with records, with moved bounds, or with errors. Epochs
//! number the requests, so that a lost one is noticed and the client starts over with a full request.
//!
//! Invariants: sessions, and the partitions in them, are bounded in number; one that was used lately is not given up
//! for another; a partition that had records goes to the end of its session's queue, so that none starves where the
//! answer is limited.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_broker::api::fetch::FetchPartition;
use annals_broker::api::topics::TopicRef;
use annals_clock::Clock;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchTopic, ForgottenTopic};

use super::Outcome;
use crate::apis::values::shared;

/// Partitions in all sessions together.
const PARTITIONS_MAX: usize = 200_000;

/// No topic has a longer name, so one that does is not worth remembering.
const NAME_BYTES_MAX: usize = 249;

/// A session that rests for so long may be given up for a new one.
const REST: Duration = Duration::from_secs(120);

/// The epoch of a request that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that wants none, and ends the one that it names.
const FINAL_EPOCH: i32 = -1;
/// Topics are named by their ids from this version on.
const TOPIC_IDS_FROM: i16 = 13;

/// One partition that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) topic: TopicRef,
    pub(super) partition: i32,
    /// The epoch of the leader that the client knows, or -1.
    pub(super) leader_epoch: i32,
    pub(super) offset: i64,
    pub(super) max_bytes: i32,
}

impl Wanted {
    fn is_absurd(&self) -> bool {
        matches!(&self.topic, TopicRef::Name(name) if name.len() > NAME_BYTES_MAX)
    }

    pub(super) fn query(&self) -> FetchPartition {
        FetchPartition {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: self.offset,
            max_bytes: usize::try_from(self.max_bytes).unwrap_or(0),
        }
    }
}

/// What one request comes to.
#[derive(Debug)]
pub(super) struct Turn {
    /// The session to tell the client; 0 for none.
    pub(super) session_id: i32,
    /// Whether to leave out partitions without changes.
    is_incremental: bool,
    /// All partitions to read, in the order of service.
    pub(super) wanted: Vec<Wanted>,
}

/// The sessions of all clients.
#[derive(Debug)]
pub(crate) struct Sessions {
    clock: Clock,
    sessions_max: usize,
    partitions_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<i32, Session>,
    partitions: usize,
}

#[derive(Debug)]
struct Session {
    /// The epoch of the next request.
    epoch: i32,
    by_id: bool,
    last_used: Duration,
    /// In the order of service.
    queue: BTreeMap<u64, Cached>,
    places: HashMap<(TopicRef, i32), u64>,
    next_place: u64,
    /// Holds what no session should.
    is_absurd: bool,
}

/// A partition, and what the client was last told of it.
#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    high_watermark: i64,
    log_start_offset: i64,
}

impl Sessions {
    pub(crate) fn new(sessions_max: usize, clock: Clock) -> Self {
        Self { clock, sessions_max, partitions_max: PARTITIONS_MAX, table: Mutex::default() }
    }

    /// Takes a request in: what to read for it, and under which session.
    ///
    /// # Errors
    /// Those of KIP-227, and of KIP-516 when topics change from names to ids; the client then sends a full request.
    pub(super) fn begin(&self, request: &FetchRequest, version: i16) -> Result<Turn, ResponseError> {
        let by_id = version >= TOPIC_IDS_FROM;
        let mut table = self.table();
        match request.session_epoch {
            FINAL_EPOCH | INITIAL_EPOCH => table.end(request.session_id),
            epoch => return table.go_on(request, epoch, by_id, self),
        }
        let wanted = wanted(&request.topics, by_id);
        let session_id = match request.session_epoch {
            INITIAL_EPOCH => self.open(&mut table, &wanted, by_id),
            _ => 0,
        };
        Ok(Turn { session_id, is_incremental: false, wanted })
    }

    /// Remembers what the client is told; says of each partition whether it is told of.
    pub(super) fn finish(&self, turn: &Turn, outcomes: &[Outcome]) -> Vec<bool> {
        let mut table = self.table();
        let Some(session) = table.sessions.get_mut(&turn.session_id) else {
            return vec![true; outcomes.len()];
        };
        let partitions = turn.wanted.iter().zip(outcomes);
        partitions.map(|(wanted, outcome)| session.tell(wanted, outcome) || !turn.is_incremental).collect()
    }

    /// Opens a session if there is room; returns its id, or 0.
    fn open(&self, table: &mut Table, wanted: &[Wanted], by_id: bool) -> i32 {
        let now = self.clock.monotonic();
        if wanted.len() > self.partitions_max || wanted.iter().any(Wanted::is_absurd) {
            return 0;
        }
        while table.sessions.len() >= self.sessions_max
            || table.partitions + wanted.len() > self.partitions_max
        {
            if !table.give_up_one(now) {
                return 0;
            }
        }
        let mut session = Session::new(by_id, now);
        wanted.iter().for_each(|wanted| session.put(wanted.clone()));
        let id = self.new_id(table);
        table.partitions += session.queue.len();
        table.sessions.insert(id, session);
        id
    }

    fn new_id(&self, table: &Table) -> i32 {
        loop {
            // The sign bit is cut off: ids are positive.
            let id = (self.clock.random() >> 33) as i32;
            if id != 0 && !table.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn end(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partitions -= session.queue.len();
        }
    }

    /// Ends the session that has rested longest, if it has rested long enough.
    fn give_up_one(&mut self, now: Duration) -> bool {
        let oldest = self.sessions.iter().min_by_key(|(_, session)| session.last_used);
        match oldest {
            Some((&id, session)) if now.saturating_sub(session.last_used) >= REST => {
                self.end(id);
                true
            }
            _ => false,
        }
    }

    fn go_on(
        &mut self,
        request: &FetchRequest,
        epoch: i32,
        by_id: bool,
        limits: &Sessions,
    ) -> Result<Turn, ResponseError> {
        let id = request.session_id;
        let session = self.sessions.get_mut(&id).ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.by_id != by_id {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        if session.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        self.partitions -= session.queue.len();
        session.change(request);
        self.partitions += session.queue.len();
        session.last_used = limits.clock.monotonic();
        let is_absurd = session.is_absurd;
        if self.partitions > limits.partitions_max || is_absurd {
            self.end(id);
            return Err(ResponseError::FetchSessionIdNotFound);
        }
        let wanted = session.queue.values().map(|cached| cached.wanted.clone()).collect();
        Ok(Turn { session_id: id, is_incremental: true, wanted })
    }
}

impl Session {
    fn new(by_id: bool, now: Duration) -> Self {
        let (queue, places) = (BTreeMap::new(), HashMap::new());
        Self { epoch: 1, by_id, last_used: now, queue, places, next_place: 0, is_absurd: false }
    }

    fn change(&mut self, request: &FetchRequest) {
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        for key in forgotten(&request.forgotten_topics_data, self.by_id) {
            self.forget(&key);
        }
        for wanted in wanted(&request.topics, self.by_id) {
            self.is_absurd |= wanted.is_absurd();
            self.put(wanted);
        }
    }

    /// Adds a partition at the end, or changes it where it is.
    fn put(&mut self, wanted: Wanted) {
        let key = (wanted.topic.clone(), wanted.partition);
        if let Some(cached) = self.places.get(&key).and_then(|place| self.queue.get_mut(place)) {
            cached.wanted = wanted;
            return;
        }
        self.places.insert(key, self.next_place);
        self.queue.insert(self.next_place, Cached { wanted, high_watermark: -1, log_start_offset: -1 });
        self.next_place += 1;
    }

    fn forget(&mut self, key: &(TopicRef, i32)) {
        if let Some(place) = self.places.remove(key) {
            self.queue.remove(&place);
        }
    }

    /// Remembers what the client is about to be told of a partition; says whether that is news.
    fn tell(&mut self, wanted: &Wanted, outcome: &Outcome) -> bool {
        let key = (wanted.topic.clone(), wanted.partition);
        let Some(place) = self.places.get_mut(&key) else { return true };
        let Some(cached) = self.queue.get_mut(place) else { return true };
        let Ok(fetched) = outcome else {
            // What follows an error is news.
            cached.high_watermark = -1;
            return true;
        };
        let has_records = fetched.bytes() > 0;
        let told = (fetched.high_watermark, fetched.log_start_offset);
        let is_news = has_records || told != (cached.high_watermark, cached.log_start_offset);
        (cached.high_watermark, cached.log_start_offset) = told;
        if has_records && let Some(cached) = self.queue.remove(place) {
            *place = self.next_place;
            self.queue.insert(self.next_place, cached);
            self.next_place += 1;
        }
        is_news
    }
}

fn wanted(topics: &[FetchTopic], by_id: bool) -> Vec<Wanted> {
    let partitions = topics.iter().flat_map(|topic| {
        let reference =
            if by_id { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(shared(&topic.topic)) };
        topic.partitions.iter().map(move |partition| Wanted {
            topic: reference.clone(),
            partition: partition.partition,
            leader_epoch: partition.current_leader_epoch,
            offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
        })
    });
    partitions.collect()
}

fn forgotten(topics: &[ForgottenTopic], by_id: bool) -> Vec<(TopicRef, i32)> {
    let keys = topics.iter().flat_map(|topic| {
        let reference =
            if by_id { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(shared(&topic.topic)) };
        topic.partitions.iter().map(move |partition| (reference.clone(), *partition))
    });
    keys.collect()
}

#[cfg(test)]
mod tests;
