//! Appending events.

use std::sync::Arc;

use annals_eventstore::append::{Append, NewEvent, Prepared, Sealed, StreamWrite};
use annals_eventstore::index::Direction;
use annals_eventstore::store::{Decision, Refused};
use annals_eventstore::{Expected, Position, Revision};
use annals_journal::{Durability, Group, Payload, Permit, Purpose, Ticket};
use annals_topics::batch::{
    Attributes, Batch, BatchHeader, HEADER_LEN, LENGTH_END, NO_PRODUCER_ID, NO_SEQUENCE, PREFIX_LEN,
    TimestampType,
};
use annals_topics::partition::{self, Entry};

use super::read::{Failed, LogReader};
use super::{StoreEntry, TAIL_EVENTS_MAX};
use crate::api::Caller;
use crate::api::stores::{self as api, AppendEvents, AppendEventsError, Appended, ReadEventsError};
use crate::storage::Unavailable;
use crate::{Broker, Inner};

/// An append that is decided and on its way to the disk.
struct Submitted {
    decision: Decision,
    counts: Vec<u64>,
    /// Resolves when the decision is durable; `None` if it is already.
    ticket: Option<Ticket>,
}

/// What came of a try to decide.
enum Decided {
    Submitted(Submitted),
    Refused { prepared: Prepared, permit: Permit, refused: Refused, next: Position },
}

impl Broker {
    /// Appends events to streams of a store, all or none. Durable on return.
    ///
    /// Any number of appends may be under way; those of one task are decided in the order of their calls. Cancelling takes
    /// nothing back.
    ///
    /// # Errors
    /// [`AppendEventsError`]; then none of the events is there, unless the storage failed meanwhile.
    pub async fn append_events(
        &self,
        _caller: &Caller,
        request: AppendEvents,
    ) -> Result<Appended, AppendEventsError> {
        let store = self.inner.state.stores.by_name(&request.store);
        let store = store.ok_or_else(|| AppendEventsError::UnknownStore(Arc::clone(&request.store)))?;
        let sealed = self.inner.seal_all(&store, &request).await?;
        let prepared = engine_append(request, sealed).prepare(&store.terms)?;
        self.inner.append_prepared(&store, prepared).await
    }
}

impl Inner {
    /// Decides an append, writes it and waits until it is durable.
    pub(super) async fn append_prepared(
        self: &Arc<Self>,
        store: &Arc<StoreEntry>,
        prepared: Prepared,
    ) -> Result<Appended, AppendEventsError> {
        store.wait_for_room().await;
        let permit = self.admit_append(&prepared).await?;
        let submitted = self.submit_append(store, prepared, permit).await?;
        if let Some(ticket) = submitted.ticket {
            ticket.await.map_err(|error| AppendEventsError::from(Unavailable::from(error)))?;
        }
        Ok(appended(&submitted.decision, &submitted.counts))
    }

    /// Encrypts what is to be. Empty if nothing is.
    async fn seal_all(
        &self,
        store: &StoreEntry,
        request: &AppendEvents,
    ) -> Result<Vec<Option<Sealed>>, AppendEventsError> {
        let encrypts = |new: &api::NewEvent| new.encrypt_for.is_some();
        if !request.writes.iter().any(|write| write.events.iter().any(encrypts)) {
            return Ok(Vec::new());
        }
        let mut sealed = Vec::new();
        for write in &request.writes {
            for new in &write.events {
                sealed.push(match (&new.encrypt_for, new.event.data()) {
                    (Some(subject), Some(data)) => {
                        let place = (write.stream.as_str(), new.event.id());
                        Some(self.seal(store, subject, place, data).await?)
                    }
                    _ => None,
                });
            }
        }
        Ok(sealed)
    }

    async fn admit_append(&self, prepared: &Prepared) -> Result<Permit, AppendEventsError> {
        let mut stand_in = Group::new();
        stand_in.push(annals_journal::LogId(0), 0, 1, 0, Payload::default());
        let bytes = stand_in.stored_len() + HEADER_LEN + prepared.body_len();
        Ok(self.journal.admit(bytes, Purpose::Data).await.map_err(Unavailable::from)?)
    }

    /// Decides until every condition was looked at, in memory and in the index.
    async fn submit_append(
        self: &Arc<Self>,
        store: &Arc<StoreEntry>,
        prepared: Prepared,
        permit: Permit,
    ) -> Result<Submitted, AppendEventsError> {
        let (mut prepared, mut permit, mut verified) = (prepared, permit, Position(0));
        loop {
            let decided = self.try_submit(store, prepared, permit, verified)?;
            let (refused, next);
            (prepared, permit, refused, next) = match decided {
                Decided::Submitted(submitted) => return Ok(submitted),
                Decided::Refused { prepared, permit, refused, next } => (prepared, permit, refused, next),
            };
            let Refused::Unverified { below } = refused else {
                return self.resolve(store, prepared, permit, refused, next).await;
            };
            let from = verified;
            let (checked, outcome) = self.verify(store, prepared, from..below).await;
            prepared = checked;
            if let Some(refused) = outcome? {
                return Err(refused_error(refused));
            }
            verified = below;
        }
    }

    /// Decides with the store locked, and hands the batch to the journal before anybody else decides.
    fn try_submit(
        &self,
        store: &StoreEntry,
        prepared: Prepared,
        permit: Permit,
        verified: Position,
    ) -> Result<Decided, AppendEventsError> {
        if store.is_deleted() {
            return Err(AppendEventsError::UnknownStore(Arc::clone(&store.name)));
        }
        let now_ms = self.clock.now_ms();
        let counts = prepared.streams().map(|(_, count)| count as u64).collect();
        let mut state = store.lock();
        let decision = match state.decide(&prepared, verified, now_ms) {
            Ok(decision) => decision,
            Err(refused) => {
                let next = state.next();
                return Ok(Decided::Refused { prepared, permit, refused, next });
            }
        };
        if decision.repeated {
            let is_durable = decision.end <= state.applied();
            // An empty group behind the one in flight tells when that is durable.
            let ticket = (!is_durable).then(|| self.journal.submit(permit, Group::new()));
            return Ok(Decided::Submitted(Submitted { decision, counts, ticket }));
        }
        let group = self.append_group(store, prepared, &decision)?;
        let ticket = Some(self.journal.submit(permit, group));
        drop(state);
        Ok(Decided::Submitted(Submitted { decision, counts, ticket }))
    }

    fn append_group(
        &self,
        store: &StoreEntry,
        prepared: Prepared,
        decision: &Decision,
    ) -> Result<Group, AppendEventsError> {
        let count = prepared.event_count() as i32;
        let batch = batch(prepared.finish(&decision.first_revisions), count, decision.recorded_ms);
        let mut partition = store.partition.lock();
        let appended = partition.append(vec![batch], decision.recorded_ms, TimestampType::Create);
        drop(partition);
        let entries = match appended {
            Ok(partition::Append::New { entries, .. }) => entries,
            Ok(partition::Append::Duplicate { .. }) => Vec::new(),
            Err(error) => {
                // The store has decided already: it cannot go on.
                self.journal.stop(&format!("store {}: {error}", store.name));
                return Err(AppendEventsError::Unavailable(error.to_string()));
            }
        };
        let mut group = Group::new();
        entries.into_iter().for_each(|entry| push(&mut group, store, entry));
        Ok(group.with_durability(self.store_durability()))
    }

    /// A store is as durable as the server is told to be.
    fn store_durability(&self) -> Durability {
        self.options.durability
    }

    /// Looks for events that conditions forbid, where only the index knows.
    async fn verify(
        self: &Arc<Self>,
        store: &Arc<StoreEntry>,
        prepared: Prepared,
        range: std::ops::Range<Position>,
    ) -> (Prepared, Result<Option<Refused>, AppendEventsError>) {
        let (inner, entry) = (Arc::clone(self), Arc::clone(store));
        self.blocking(move || {
            let outcome = inner.find_forbidden(&entry, &prepared, &range);
            (prepared, outcome.map_err(|failed| ReadEventsError::from(failed).into()))
        })
        .await
    }

    /// What to answer to an append that is refused, once that is durable which it is refused for.
    async fn resolve(
        self: &Arc<Self>,
        store: &Arc<StoreEntry>,
        prepared: Prepared,
        permit: Permit,
        refused: Refused,
        next: Position,
    ) -> Result<Submitted, AppendEventsError> {
        if store.lock().applied() < next {
            let ticket = self.journal.submit(permit, Group::new());
            ticket.await.map_err(|error| AppendEventsError::from(Unavailable::from(error)))?;
        }
        if let Refused::Conflict { .. } = refused {
            let counts = prepared.streams().map(|(_, count)| count as u64).collect();
            if let Some(decision) = self.sent_before(store, Arc::new(prepared)).await {
                return Ok(Submitted { decision, counts, ticket: None });
            }
        }
        Err(refused_error(refused))
    }
}

impl Inner {
    /// Where the events are, if this append was made before: they stand right behind what it expects. Only an append that
    /// expects an exact state of every stream can be found so; others are known by their ids for a while.
    async fn sent_before(
        self: &Arc<Self>,
        store: &Arc<StoreEntry>,
        prepared: Arc<Prepared>,
    ) -> Option<Decision> {
        let found = self.read_blocking(store, move |inner, store| inner.find_sent(store, &prepared)).await;
        found.unwrap_or_else(|error| {
            tracing::debug!(store = %store.name, %error, "cannot tell whether an append is a repetition");
            None
        })
    }

    fn find_forbidden(
        &self,
        store: &StoreEntry,
        prepared: &Prepared,
        range: &std::ops::Range<Position>,
    ) -> Result<Option<Refused>, Failed> {
        for (index, (query, from)) in prepared.conditions().enumerate() {
            let range = from.max(range.start).0..range.end.0;
            let found = self.finder(store).find(query, &range, 1, Direction::Forward)?;
            if let Some(position) = found.first() {
                return Ok(Some(Refused::ConditionFailed { index, position: Position(*position) }));
            }
        }
        Ok(None)
    }

    pub(super) fn find_sent(
        &self,
        store: &StoreEntry,
        prepared: &Prepared,
    ) -> Result<Option<Decision>, Failed> {
        let finder = self.finder(store);
        let (mut first_revisions, mut positions) = (Vec::new(), Vec::new());
        for (number, (stream, count)) in prepared.streams().enumerate() {
            let first = match prepared.expected(number) {
                Some(Expected::Exact(revision)) => revision.0 + 1,
                Some(Expected::NoStream) => 0,
                _ => return Ok(None),
            };
            let revisions = first..first + count as u64;
            // What is sent again was mostly sent lately.
            let places = finder.stream(stream.as_str(), &revisions, count, Direction::Backward)?;
            let at: Vec<u64> = places.into_iter().rev().map(|(_, position)| position).collect();
            let mut same = 0;
            LogReader::new(&self.journal, store.log).pick(&at, |event| {
                let is_same = prepared.is_event(number, same, &event, &store.terms);
                same += usize::from(is_same);
                is_same
            })?;
            if same < count {
                return Ok(None);
            }
            first_revisions.push(first);
            positions.extend(at);
        }
        let (Some(first), Some(last)) = (positions.iter().min(), positions.iter().max()) else {
            return Ok(None);
        };
        let (first, end) = (Position(*first), Position(last + 1));
        Ok(Some(Decision { first, end, first_revisions, recorded_ms: 0, repeated: true }))
    }
}

impl StoreEntry {
    /// Waits until the index has taken enough out of the memory.
    async fn wait_for_room(&self) {
        while self.lock().tail_len() >= TAIL_EVENTS_MAX {
            let mut flushed = std::pin::pin!(self.flushed.notified());
            flushed.as_mut().enable();
            if self.lock().tail_len() < TAIL_EVENTS_MAX || self.is_deleted() {
                return;
            }
            flushed.await;
        }
    }
}

/// The append as the engine takes it; `sealed` has what is encrypted, event by event.
pub(super) fn engine_append(request: AppendEvents, sealed: Vec<Option<Sealed>>) -> Append {
    let mut sealed = sealed.into_iter();
    let mut event =
        |new: api::NewEvent| NewEvent { event: new.event, tags: new.tags, sealed: sealed.next().flatten() };
    let write = |write: api::WriteStream| StreamWrite {
        stream: write.stream,
        expected: write.expected,
        events: write.events.into_iter().map(&mut event).collect(),
    };
    Append {
        writes: request.writes.into_iter().map(write).collect(),
        guards: request.guards,
        conditions: request.conditions,
    }
}

/// The batch of an append: its records share one timestamp.
fn batch(body: Vec<u8>, count: i32, recorded_ms: i64) -> Batch {
    let mut header = BatchHeader {
        base_offset: 0,
        length: (body.len() + HEADER_LEN - LENGTH_END) as u32,
        leader_epoch: partition::LEADER_EPOCH,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: count - 1,
        base_timestamp: recorded_ms,
        max_timestamp: recorded_ms,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: -1,
        base_sequence: NO_SEQUENCE,
        record_count: count,
    };
    let head = crc32c::crc32c(&header.to_bytes()[PREFIX_LEN..]);
    header.crc = crc32c::crc32c_append(head, &body);
    Batch { header, body: body.into() }
}

fn push(group: &mut Group, store: &StoreEntry, entry: Entry) {
    let (base, count) = (entry.base_offset().cast_unsigned(), entry.offset_count());
    let timestamp = entry.max_timestamp();
    group.push(store.log, base, count, timestamp, Payload::with_head(&entry.head, entry.body, entry.crc));
}

fn appended(decision: &Decision, counts: &[u64]) -> Appended {
    let last = |(first, count): (&u64, &u64)| Revision(first + count - 1);
    Appended {
        first_position: decision.first,
        last_position: Position(decision.end.0 - 1),
        last_revisions: decision.first_revisions.iter().zip(counts).map(last).collect(),
        repeated: decision.repeated,
    }
}

pub(super) fn refused_error(refused: Refused) -> AppendEventsError {
    match refused {
        Refused::Conflict { stream, expected, actual } => {
            AppendEventsError::Conflict { stream, expected, actual }
        }
        Refused::ConditionFailed { index, position } => {
            AppendEventsError::ConditionFailed { index, position }
        }
        Refused::IdTaken { stream, index, revision } => {
            AppendEventsError::IdTaken { stream, index, revision }
        }
        Refused::Unverified { .. } => AppendEventsError::Index(refused.to_string()),
    }
}

impl From<Unavailable> for AppendEventsError {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::DiskFull => Self::DiskFull,
            Unavailable::Stopped(reason) => Self::Unavailable(reason),
        }
    }
}
