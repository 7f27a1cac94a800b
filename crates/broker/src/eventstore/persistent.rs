//! Persistent subscriptions over a store: reading ahead, giving events to consumers, and writing down how far they came.
//!
//! The state machine is `annals_eventstore::subscription`. What it is like is written to a keyed log now and then, and when a
//! subscription is created or an operator intervenes; a crash in between gives events again that were acknowledged.

mod record;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_clock::Uuid;
use annals_eventstore::record::RecordedEvent;
use annals_eventstore::subscription::{ConsumerId, Lease, Nack, NotLeased, Subscription};
use annals_eventstore::{Position, TimestampMs};
use annals_journal::LogId;
use annals_topics::offsets::Record;
use bytes::Bytes;
use tokio::sync::Notify;

use super::StoreEntry;
use super::read::{Cursor, Failed, LogReader};
use crate::api::Caller;
use crate::api::stores::{Place, ReadEventsError, Selection};
use crate::api::subscriptions::{
    Delivered, NewSubscription, Options, ParkedEvent, SubscriptionDescription, SubscriptionError,
};
use crate::table::Waiting;
use crate::{Broker, Inner};

/// Definitions and states of persistent subscriptions.
pub(crate) const SUBSCRIPTIONS_LOG: LogId = LogId(9);

/// How often states are written and late consumers looked for.
const TICK: Duration = Duration::from_millis(500);
/// Bytes of a subscription's name.
const NAME_BYTES_MAX: usize = 200;
/// Bytes of events that are looked at for reading ahead, which keeps only their positions.
const AHEAD_BYTES: usize = 8 << 20;
/// Bytes of events that are given at once, one event at least.
const GIVEN_BYTES: usize = 16 << 20;

/// Subscriptions by their store and name.
type ByName = BTreeMap<(Uuid, Arc<str>), Arc<Group>>;

/// All persistent subscriptions.
#[derive(Default)]
pub(crate) struct Groups {
    groups: Mutex<ByName>,
}

/// One persistent subscription.
pub(crate) struct Group {
    store: Uuid,
    name: Arc<str>,
    selection: Selection,
    with_system: bool,
    state: Mutex<Subscription>,
    /// Held while events are read ahead.
    reading: tokio::sync::Mutex<()>,
    /// Held while the state is written.
    writing: tokio::sync::Mutex<()>,
    /// Told when events may be given.
    ready: Notify,
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, Subscription> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self) -> SubscriptionDescription {
        let state = self.lock();
        SubscriptionDescription {
            name: Arc::clone(&self.name),
            selection: self.selection.clone(),
            options: state.options(),
            status: state.status(),
        }
    }
}

impl Groups {
    fn lock(&self) -> MutexGuard<'_, ByName> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, store: Uuid, name: &Arc<str>) -> Option<Arc<Group>> {
        self.lock().get(&(store, Arc::clone(name))).cloned()
    }

    fn of(&self, store: Uuid) -> Vec<Arc<Group>> {
        self.lock().values().filter(|group| group.store == store).cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Group>> {
        self.lock().values().cloned().collect()
    }

    /// In recovery: takes in a batch of the subscriptions' log.
    pub(crate) fn recover(&self, batch: Bytes) {
        for (store, name, group) in record::decode(batch) {
            match group {
                Some(group) => drop(self.lock().insert((store, name), Arc::new(group))),
                None => drop(self.lock().remove(&(store, name))),
            }
        }
    }
}

impl Broker {
    /// Creates a persistent subscription. Durable on return.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub async fn create_subscription(
        &self,
        _caller: &Caller,
        request: NewSubscription,
    ) -> Result<SubscriptionDescription, SubscriptionError> {
        let inner = &self.inner;
        let store = inner.group_store(&request.store)?;
        check_name(&request.name)?;
        let from = inner.first_position(&store, &request).await?;
        let group = Group {
            store: store.id,
            name: Arc::clone(&request.name),
            selection: request.selection,
            with_system: request.with_system,
            state: Mutex::new(Subscription::new(request.options, from)),
            reading: tokio::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            ready: Notify::new(),
        };
        let _changing = inner.changing.lock().await;
        if inner.state.stores.groups.get(store.id, &request.name).is_some() {
            let (store, name) = (request.store, request.name);
            return Err(SubscriptionError::AlreadyExists { store, name });
        }
        let group = Arc::new(group);
        inner.write_state(&group).await?;
        inner.state.stores.groups.lock().insert((store.id, request.name), Arc::clone(&group));
        Ok(group.describe())
    }

    /// The persistent subscriptions of a store, by name.
    ///
    /// # Errors
    /// [`SubscriptionError::UnknownStore`].
    pub async fn subscriptions(
        &self,
        _caller: &Caller,
        store: &Arc<str>,
    ) -> Result<Vec<SubscriptionDescription>, SubscriptionError> {
        let store = self.inner.group_store(store)?;
        Ok(self.inner.state.stores.groups.of(store.id).iter().map(|group| group.describe()).collect())
    }

    /// Changes the choices of a persistent subscription. Durable on return.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub async fn change_subscription(
        &self,
        _caller: &Caller,
        store: &Arc<str>,
        name: &Arc<str>,
        options: Options,
    ) -> Result<SubscriptionDescription, SubscriptionError> {
        let (_, group) = self.inner.group(store, name)?;
        group.lock().set_options(options);
        self.inner.save_of(store, &group).await?;
        group.ready.notify_waiters();
        Ok(group.describe())
    }

    /// Deletes a persistent subscription. Durable on return.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub async fn delete_subscription(
        &self,
        _caller: &Caller,
        store: &Arc<str>,
        name: &Arc<str>,
    ) -> Result<(), SubscriptionError> {
        let inner = &self.inner;
        let _changing = inner.changing.lock().await;
        let (_, group) = inner.group(store, name)?;
        let _writing = group.writing.lock().await;
        let record = Record { key: record::key(group.store, name), value: None };
        inner.write_group(record).await?;
        inner.state.stores.groups.lock().remove(&(group.store, Arc::clone(name)));
        group.ready.notify_waiters();
        Ok(())
    }

    /// What a persistent subscription has put aside, from a position on, at most `limit` events.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub async fn parked_events(
        &self,
        _caller: &Caller,
        (store, name): (&Arc<str>, &Arc<str>),
        from: Position,
        limit: usize,
    ) -> Result<Vec<ParkedEvent>, SubscriptionError> {
        let (_, group) = self.inner.group(store, name)?;
        let parked = group.lock().parked(from, limit);
        let event = |(position, parked): (Position, annals_eventstore::subscription::Parked)| ParkedEvent {
            position,
            reason: parked.reason,
            deliveries: parked.deliveries,
            since_ms: parked.since_ms,
        };
        Ok(parked.into_iter().map(event).collect())
    }

    /// Gives parked events again; `None` takes all. Says how many. Durable on return.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub async fn replay_parked(
        &self,
        _caller: &Caller,
        (store, name): (&Arc<str>, &Arc<str>),
        positions: Option<&[Position]>,
    ) -> Result<usize, SubscriptionError> {
        let (_, group) = self.inner.group(store, name)?;
        let count = group.lock().replay(positions);
        self.inner.save_of(store, &group).await?;
        group.ready.notify_waiters();
        Ok(count)
    }

    /// Forgets parked events; `None` takes all. Says how many. Durable on return.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub async fn discard_parked(
        &self,
        _caller: &Caller,
        (store, name): (&Arc<str>, &Arc<str>),
        positions: Option<&[Position]>,
    ) -> Result<usize, SubscriptionError> {
        let (_, group) = self.inner.group(store, name)?;
        let count = group.lock().discard(positions);
        self.inner.save_of(store, &group).await?;
        Ok(count)
    }

    /// Becomes a consumer of a persistent subscription.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub async fn consume_subscription(
        &self,
        _caller: &Caller,
        store: &Arc<str>,
        name: &Arc<str>,
    ) -> Result<SubscriptionConsumer, SubscriptionError> {
        let (store, group) = self.inner.group(store, name)?;
        let id = group.lock().connect();
        let notify = Arc::new(Notify::new());
        let waiting = store.partition.wait(&notify);
        Ok(SubscriptionConsumer {
            inner: Arc::clone(&self.inner),
            store,
            group,
            id,
            notify,
            _waiting: waiting,
        })
    }
}

fn check_name(name: &str) -> Result<(), SubscriptionError> {
    let is_fine = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    let reason =
        || format!("a subscription's name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
    let wrong = || SubscriptionError::Invalid { field: "name".to_owned(), reason: reason() };
    if is_fine { Ok(()) } else { Err(wrong()) }
}

impl Inner {
    fn group_store(&self, store: &Arc<str>) -> Result<Arc<StoreEntry>, SubscriptionError> {
        let entry = self.state.stores.by_name(store);
        entry.ok_or_else(|| SubscriptionError::UnknownStore(Arc::clone(store)))
    }

    fn group(
        &self,
        store: &Arc<str>,
        name: &Arc<str>,
    ) -> Result<(Arc<StoreEntry>, Arc<Group>), SubscriptionError> {
        let entry = self.group_store(store)?;
        let unknown =
            || SubscriptionError::UnknownSubscription { store: Arc::clone(store), name: Arc::clone(name) };
        let group = self.state.stores.groups.get(entry.id, name).ok_or_else(unknown)?;
        Ok((entry, group))
    }

    /// Where a new subscription begins to look.
    async fn first_position(
        self: &Arc<Self>,
        store: &Arc<StoreEntry>,
        request: &NewSubscription,
    ) -> Result<Position, SubscriptionError> {
        let (selection, after) = (request.selection.clone(), request.after);
        let with_system = request.with_system;
        let find = move |inner: &Inner, store: &Arc<StoreEntry>| {
            // Also without a place: the selection is checked.
            Cursor::from_position(store, &selection, with_system, 0)?;
            after.map_or(Ok(Position(0)), |after| inner.position_behind(store, &selection, after))
        };
        Ok(self.read_blocking(store, find).await?)
    }

    /// The first position behind a place.
    fn position_behind(
        &self,
        store: &Arc<StoreEntry>,
        selection: &Selection,
        place: Place,
    ) -> Result<Position, Failed> {
        let Place::Revision(revision) = place else {
            let cursor = Cursor::from_position(store, &Selection::All, false, 0)?;
            return Ok(Position(cursor.number(self, store, place, true)?));
        };
        let unknown = || ReadEventsError::Invalid {
            field: "after_revision".to_owned(),
            reason: format!("there is no revision {revision} to begin behind"),
        };
        let Selection::Stream(name) = selection else { return Err(unknown().into()) };
        let found = self.position_of(store, name, revision)?;
        Ok(Position(found.ok_or_else(unknown)?.0 + 1))
    }

    /// As [`Inner::save`], for somebody who named the subscription.
    async fn save_of(&self, store: &Arc<str>, group: &Arc<Group>) -> Result<(), SubscriptionError> {
        if self.save(group).await? {
            return Ok(());
        }
        let (store, name) = (Arc::clone(store), Arc::clone(&group.name));
        Err(SubscriptionError::UnknownSubscription { store, name })
    }

    /// Writes the state of a subscription, if it has changed. `false` if it was deleted meanwhile: it must not come back.
    pub(super) async fn save(&self, group: &Arc<Group>) -> Result<bool, SubscriptionError> {
        let _writing = group.writing.lock().await;
        let now = self.state.stores.groups.get(group.store, &group.name);
        if now.is_none_or(|now| !Arc::ptr_eq(&now, group)) {
            return Ok(false);
        }
        self.write_state(group).await?;
        Ok(true)
    }

    async fn write_state(&self, group: &Group) -> Result<(), SubscriptionError> {
        let Some(image) = group.lock().image() else { return Ok(()) };
        let value = record::value(&group.selection, group.with_system, &image.0);
        let record = Record { key: record::key(group.store, &group.name), value: Some(value) };
        let written = self.write_group(record).await;
        if written.is_err() {
            group.lock().not_written();
        }
        written
    }

    async fn write_group(&self, record: Record) -> Result<(), SubscriptionError> {
        let now_ms = self.clock.now_ms();
        let written = self.subscriptions_log.append(&self.journal, &[record], now_ms, &[]).await;
        written.map_err(|error| SubscriptionError::Unavailable(error.to_string()))
    }
}

/// Takes back what consumers are late with, and writes what has changed.
pub(crate) async fn keep(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        for group in inner.state.stores.groups.all() {
            if inner.state.stores.by_id(group.store).is_none() {
                inner.forget(&group).await;
                continue;
            }
            if group.lock().expire(inner.clock.now_ms()) > 0 {
                group.ready.notify_waiters();
            }
            if let Err(error) = inner.save(&group).await {
                tracing::warn!(subscription = %group.name, %error, "the state of a subscription is not written");
            }
        }
    }
}

impl Inner {
    /// The store of a subscription is gone.
    async fn forget(&self, group: &Group) {
        let _writing = group.writing.lock().await;
        let record = Record { key: record::key(group.store, &group.name), value: None };
        if self.write_group(record).await.is_ok() {
            self.state.stores.groups.lock().remove(&(group.store, Arc::clone(&group.name)));
        }
    }
}

/// A consumer of a persistent subscription. Dropping it gives what it has to others.
pub struct SubscriptionConsumer {
    inner: Arc<Inner>,
    store: Arc<StoreEntry>,
    group: Arc<Group>,
    id: ConsumerId,
    notify: Arc<Notify>,
    _waiting: Waiting,
}

impl SubscriptionConsumer {
    /// Waits for events, and gives up to `limit` of them. Each must be acknowledged in time.
    ///
    /// Cancelling the wait loses nothing that was not given; what was, comes again when its time has passed.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub async fn next(&self, limit: usize) -> Result<Vec<Delivered>, SubscriptionError> {
        self.next_or(limit, std::future::pending()).await
    }

    /// As [`SubscriptionConsumer::next`], but gives nothing if `end` comes first. What is there is given even if `end` is there
    /// already: unlike a wait that is cancelled, this never ends between taking events for the consumer and giving them.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub async fn next_or(
        &self,
        limit: usize,
        end: impl Future<Output = ()>,
    ) -> Result<Vec<Delivered>, SubscriptionError> {
        let mut end = std::pin::pin!(end);
        loop {
            let mut ready = std::pin::pin!(self.group.ready.notified());
            ready.as_mut().enable();
            self.check()?;
            self.read_ahead().await?;
            let now_ms = self.inner.clock.now_ms();
            let leases = self.group.lock().lease(self.id, limit, now_ms);
            if !leases.is_empty() {
                let delivered = self.fetch(leases).await?;
                if !delivered.is_empty() {
                    return Ok(delivered);
                }
                continue;
            }
            let due = self.group.lock().next_due_ms();
            tokio::select! {
                () = self.notify.notified() => {}
                () = ready => {}
                () = tokio::time::sleep(wait_for(due, now_ms)) => {}
                () = &mut end => return Ok(Vec::new()),
            }
            if self.group.lock().expire(self.inner.clock.now_ms()) > 0 {
                self.group.ready.notify_waiters();
            }
        }
    }

    /// These events are handled.
    ///
    /// # Errors
    /// [`NotLeased`], for the first whose time had passed: it comes again. The others are acknowledged all the same.
    pub fn ack(&self, positions: &[Position]) -> Result<(), NotLeased> {
        let mut state = self.group.lock();
        let results: Vec<_> = positions.iter().map(|position| state.ack(self.id, *position)).collect();
        drop(state);
        self.group.ready.notify_waiters();
        results.into_iter().collect()
    }

    /// This event could not be handled.
    ///
    /// # Errors
    /// [`NotLeased`] if its time had passed: it comes again.
    pub fn nack(&self, position: Position, nack: &Nack) -> Result<(), NotLeased> {
        let result = self.group.lock().nack(self.id, position, nack, self.inner.clock.now_ms());
        self.group.ready.notify_waiters();
        result
    }

    /// Whether the subscription is still there.
    fn check(&self) -> Result<(), SubscriptionError> {
        let groups = &self.inner.state.stores.groups;
        let is_there = groups.get(self.group.store, &self.group.name);
        if self.store.is_deleted() {
            return Err(SubscriptionError::UnknownStore(Arc::clone(&self.store.name)));
        }
        if is_there.is_none_or(|group| !Arc::ptr_eq(&group, &self.group)) {
            let (store, name) = (Arc::clone(&self.store.name), Arc::clone(&self.group.name));
            return Err(SubscriptionError::UnknownSubscription { store, name });
        }
        Ok(())
    }

    /// Looks for more events, if there is room for them.
    async fn read_ahead(&self) -> Result<(), SubscriptionError> {
        let _reading = self.group.reading.lock().await;
        let (wanted, from) = {
            let state = self.group.lock();
            (state.wanted(), state.status().looked_to)
        };
        let end = self.store.lock().applied();
        if wanted == 0 || from >= end {
            return Ok(());
        }
        let (selection, with_system) = (self.group.selection.clone(), self.group.with_system);
        let look = move |inner: &Inner, store: &Arc<StoreEntry>| {
            let now_ms = inner.clock.now_ms();
            let start = Cursor::from_position(store, &selection, with_system, 0)?;
            let number = start.number(inner, store, Place::Position(from), false)?;
            let mut cursor = Cursor::from_position(store, &selection, with_system, number)?;
            cursor.extend(store, end, now_ms);
            let selected = cursor.read(inner, store, (wanted, AHEAD_BYTES), now_ms)?;
            let last = selected.events.last().map_or(from, |event| Position(event.position().0 + 1));
            let looked_to = match cursor.place() {
                // A stream is read up to its end, which may have moved beyond that of the store meanwhile.
                None => end.max(last),
                Some(Place::Position(position)) => position,
                Some(_) => last,
            };
            let stream = |event: &RecordedEvent| store.stream_number(event.stream());
            let found =
                selected.events.iter().map(|event| (event.position(), stream(event))).collect::<Vec<_>>();
            Ok((found, looked_to))
        };
        let (found, looked_to) = self.inner.read_blocking(&self.store, look).await?;
        self.group.lock().feed(found, looked_to);
        self.group.ready.notify_waiters();
        Ok(())
    }

    /// The events of leases. What is not there any more counts as handled; what is too much at once waits on.
    async fn fetch(&self, leases: Vec<Lease>) -> Result<Vec<Delivered>, SubscriptionError> {
        let wanted = leases.clone();
        let pick = move |inner: &Inner, store: &Arc<StoreEntry>| -> Result<_, Failed> {
            let positions: Vec<u64> = wanted.iter().map(|lease| lease.position.0).collect();
            let (mut events, mut bytes) = (Vec::with_capacity(positions.len()), 0);
            LogReader::new(&inner.journal, store.log).pick(&positions, |event| {
                bytes += event.size_bytes();
                events.push(event);
                bytes < GIVEN_BYTES
            })?;
            let unread = events.last().filter(|_| bytes >= GIVEN_BYTES).map(RecordedEvent::position);
            let now_ms = inner.clock.now_ms();
            let state = store.lock();
            events.retain(|event| !state.hides(event, now_ms));
            drop(state);
            inner.state.stores.keys.open(&mut events);
            Ok((events, unread))
        };
        let (events, unread) = self.inner.read_blocking(&self.store, pick).await?;
        let mut found = events.into_iter().peekable();
        let mut delivered = Vec::with_capacity(leases.len());
        let mut state = self.group.lock();
        for lease in leases {
            if unread.is_some_and(|last| lease.position > last) {
                state.not_given(self.id, lease.position);
                continue;
            }
            match found.next_if(|event| event.position() == lease.position) {
                Some(event) => delivered.push(Delivered { event, delivery: lease.delivery }),
                None => state.gone(self.id, lease.position),
            }
        }
        Ok(delivered)
    }
}

/// How long to wait for what is due, at most as long as it takes to notice other changes.
fn wait_for(due_ms: Option<TimestampMs>, now_ms: TimestampMs) -> Duration {
    let wait = due_ms.map_or(i64::MAX, |due| due.saturating_sub(now_ms).max(1));
    Duration::from_millis(wait.unsigned_abs()).min(Duration::from_secs(10))
}

impl Drop for SubscriptionConsumer {
    fn drop(&mut self) {
        self.group.lock().disconnect(self.id);
        self.group.ready.notify_waiters();
    }
}

impl std::fmt::Debug for SubscriptionConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscriptionConsumer").field("subscription", &self.group.name).finish_non_exhaustive()
    }
}

impl From<ReadEventsError> for SubscriptionError {
    fn from(error: ReadEventsError) -> Self {
        match error {
            ReadEventsError::UnknownStore(store) => Self::UnknownStore(store),
            ReadEventsError::NotAuthorized(store) => Self::NotAuthorized(store),
            ReadEventsError::Invalid { field, reason } => Self::Invalid { field, reason },
            ReadEventsError::NoStream { .. } | ReadEventsError::Corrupt(_) | ReadEventsError::Storage(_) => {
                Self::Storage(error.to_string())
            }
        }
    }
}
