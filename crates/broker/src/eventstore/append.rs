//! Appending events.

use std::sync::Arc;

use annals_eventstore::append::{Append, NewEvent, Prepared, Sealed, StreamWrite};
use annals_eventstore::index::Direction;
use annals_eventstore::store::{Decision, Refused};
use annals_eventstore::{Expected, Position, Revision, StreamName};
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
    /// An append that is made again, with the same ids in the same streams, is answered as the first time, and nothing is stored.
    /// How long that works depends on what it expects:
    ///
    /// - of one of its streams [`Expected::Exact`], or [`Expected::NoStream`] while the stream is not deleted; or its
    ///   conditions forbid one of its own events: for good, until one of its events is scavenged;
    /// - otherwise: while all of its events are among the latest 65,536 of the store, which is a second or two where tens of
    ///   thousands come in a second. Later it is stored a second time.
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
                // What the index holds is durable.
                return self.resolve(store, prepared, permit, refused, Position(0)).await;
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
        let counts = prepared.streams().map(|(_, count)| count as u64).collect();
        match self.sent_before(store, prepared, refused.clone()).await {
            Some(decision) => Ok(Submitted { decision, counts, ticket: None }),
            None => Err(refused_error(refused)),
        }
    }
}

/// An append that was made so long ago that its ids are forgotten is refused when it is made again, for what it did itself. Its
/// events lie side by side, so each of them tells where all of them would be:
///
/// - a stream of which it expects an exact revision, or that it is not there: the event right behind that;
/// - a condition that does not hold any more: the event that it found;
/// - an id that is not forgotten: the event that has it.
///
/// It is the same append if all that is there now, event by event, is in the same stream and has the same id. Of an append
/// that nothing refuses, nothing is known.
impl Inner {
    /// Where the events are, if this append was made before.
    async fn sent_before(
        self: &Arc<Self>,
        store: &Arc<StoreEntry>,
        prepared: Prepared,
        refused: Refused,
    ) -> Option<Decision> {
        let find = move |inner: &Self, store: &Arc<StoreEntry>| inner.find_sent(store, &prepared, &refused);
        self.read_blocking(store, find).await.unwrap_or_else(|error| {
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
        refused: &Refused,
    ) -> Result<Option<Decision>, Failed> {
        match refused {
            Refused::Conflict { .. } => self.sent_as_expected(store, prepared),
            Refused::ConditionFailed { position, .. } => self.sent_with(store, prepared, *position),
            Refused::IdTaken { stream, revision, .. } => {
                let found = self.place(store, stream, revision.0)?;
                found.map_or(Ok(None), |position| self.sent_with(store, prepared, position))
            }
            Refused::Unverified { .. } => Ok(None),
        }
    }

    /// Looks behind what is expected of the first stream of which the append expects one exact state.
    fn sent_as_expected(&self, store: &StoreEntry, prepared: &Prepared) -> Result<Option<Decision>, Failed> {
        let exact = prepared.streams().enumerate().find_map(|(number, (stream, _))| {
            let revisions = match prepared.expected(number)? {
                Expected::Exact(revision) => vec![revision.0.checked_add(1)?],
                // If it had been deleted it went on behind that.
                Expected::NoStream => vec![0, store.lock().truncated_before(stream.as_str()).0],
                Expected::Any | Expected::Exists => return None,
            };
            Some((number, stream, revisions))
        });
        let Some((number, stream, mut revisions)) = exact else { return Ok(None) };
        revisions.dedup();
        let before: usize = prepared.streams().take(number).map(|(_, count)| count).sum();
        for revision in revisions {
            let Some(position) = self.place(store, stream, revision)? else { continue };
            let Some(first) = position.0.checked_sub(before as u64) else { continue };
            if let Some(decision) = self.sent_at(store, prepared, first)? {
                return Ok(Some(decision));
            }
        }
        Ok(None)
    }

    /// If the event at `position` is one of the append, looks at those around it.
    fn sent_with(
        &self,
        store: &StoreEntry,
        prepared: &Prepared,
        position: Position,
    ) -> Result<Option<Decision>, Failed> {
        let mut first = None;
        LogReader::new(&self.journal, store.log).pick(&[position.0], |event| {
            let id = store.terms.id_of(&event);
            let index = prepared.ids().position(|(_, wanted)| wanted == id);
            first = index.and_then(|index| position.0.checked_sub(index as u64));
            false
        })?;
        first.map_or(Ok(None), |first| self.sent_at(store, prepared, first))
    }

    /// Compares the whole append with what is in the log from `first` on.
    fn sent_at(
        &self,
        store: &StoreEntry,
        prepared: &Prepared,
        first: u64,
    ) -> Result<Option<Decision>, Failed> {
        let end = first.saturating_add(prepared.event_count() as u64);
        if end > store.lock().applied().0 {
            return Ok(None);
        }
        let positions: Vec<u64> = (first..end).collect();
        let mut wanted = prepared.ids().zip(first..);
        let (mut same, mut first_revisions) = (0, Vec::new());
        LogReader::new(&self.journal, store.log).pick(&positions, |event| {
            let Some(((write, id), position)) = wanted.next() else { return false };
            let is_same = event.position().0 == position && store.terms.id_of(&event) == id;
            if is_same && first_revisions.len() == write {
                first_revisions.push(event.revision().0);
            }
            same += usize::from(is_same);
            is_same
        })?;
        let decision = Decision {
            first: Position(first),
            end: Position(end),
            first_revisions,
            recorded_ms: 0,
            repeated: true,
        };
        Ok((same == positions.len()).then_some(decision))
    }

    /// Where an event of a stream is.
    fn place(
        &self,
        store: &StoreEntry,
        stream: &StreamName,
        revision: u64,
    ) -> Result<Option<Position>, Failed> {
        let revisions = revision..revision.saturating_add(1);
        // What is sent again was mostly sent lately.
        let places = self.finder(store).stream(stream.as_str(), &revisions, 1, Direction::Backward)?;
        Ok(places.first().map(|(_, position)| Position(*position)))
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
