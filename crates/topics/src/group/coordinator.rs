//! All groups of a shard: finds the group, keeps the timers, applies records, and completes writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::error::{ApplyError, HeartbeatError, JoinError, LeaveError, MemberError, SyncError, WriteError};
use super::expire::Sweep;
use super::join::{Join, check_request};
use super::message::{Caller, JoinRequest, Leaver, Left, Now, Output, Response, SyncRequest, Waiter};
use super::options::Options;
use super::record::GroupImage;
use super::state::{Group, State, Turn};
use super::write::{Then, Write, commit_response, delete_offsets_response, delete_response};
use crate::offsets::{OffsetStore, OffsetValue, RecordKey};

/// The consumer groups and committed offsets of a broker, or of one shard of its groups.
///
/// It does nothing by itself: requests, time and durable records go in, and every call gives an [`Output`] of replies
/// to deliver and writes to make durable. It starts empty and loading: give it every record of the `offsets` log
/// with [`apply`](Self::apply), then call [`finish_loading`](Self::finish_loading). Call [`tick`](Self::tick) no later
/// than [`next_deadline`](Self::next_deadline).
///
/// A consumer that is alone in its group joins, and is the leader of generation 1:
///
/// ```
/// use std::time::Duration;
/// use annals_topics::group::{GroupCoordinator, JoinRequest, Now, Options, Protocol, Response, Waiter};
///
/// let at = |ms| Now { elapsed: Duration::from_millis(ms), wall_ms: 1_700_000_000_000 + ms as i64 };
/// let mut groups = GroupCoordinator::new(Options::default());
/// groups.finish_loading(at(0));
///
/// let range = Protocol { name: "range".into(), metadata: Vec::new().into() };
/// let request = JoinRequest {
///     group_id: "billing",
///     member_id: "",
///     instance_id: None,
///     client_id: "app",
///     client_host: "127.0.0.1",
///     protocol_type: "consumer",
///     protocols: vec![range],
///     session_timeout: Duration::from_secs(45),
///     rebalance_timeout: Duration::from_secs(300),
///     require_known_member_id: false,
///     supports_skip_assignment: true,
///     fresh_id: uuid::Uuid::from_u128(7),
///     reason: None,
/// };
/// let waits = groups.join(&request, Waiter(1), at(0));
/// assert!(waits.replies.is_empty(), "the first generation waits a moment for more members");
///
/// let output = groups.tick(at(100));
/// let Response::Join(Ok(joined)) = &output.replies[0].response else { panic!("{output:?}") };
/// assert_eq!((joined.generation, &joined.leader), (1, &joined.member_id));
/// ```
#[derive(Debug)]
pub struct GroupCoordinator {
    pub(super) options: Options,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) offsets: OffsetStore,
    pub(super) sweep: Sweep,
    timers: BTreeSet<(Duration, Arc<str>)>,
    is_loading: bool,
}

impl GroupCoordinator {
    /// A coordinator without groups, which loads until [`finish_loading`](Self::finish_loading).
    pub fn new(options: Options) -> Self {
        Self {
            options,
            groups: BTreeMap::new(),
            offsets: OffsetStore::default(),
            sweep: Sweep::default(),
            timers: BTreeSet::new(),
            is_loading: true,
        }
    }

    /// Whether the groups are still being read from the journal.
    pub fn is_loading(&self) -> bool {
        self.is_loading
    }

    /// The committed offsets.
    pub fn offsets(&self) -> &OffsetStore {
        &self.offsets
    }

    // --- requests ---

    /// JoinGroup. Answered when the new generation begins, or at once if it is refused or changes nothing.
    pub fn join(&mut self, request: &JoinRequest<'_>, waiter: Waiter, now: Now) -> Output {
        let mut out = Output::default();
        if let Err(error) = self.check_join(request) {
            out.reply(waiter, Response::Join(Err(error)));
            return out;
        }
        let group_id = self.group_id(request.group_id);
        self.groups.entry(Arc::clone(&group_id)).or_insert_with(|| Group::new(group_id));
        self.with_group(request.group_id, now, &mut out, |group, turn| {
            group.join(&Join { request, waiter }, turn);
        });
        out
    }

    fn check_join(&self, request: &JoinRequest<'_>) -> Result<(), JoinError> {
        check_request(request, &self.options)?;
        if self.is_loading {
            return Err(JoinError::CoordinatorLoading);
        }
        let is_known = request.member_id.is_empty() || self.groups.contains_key(request.group_id);
        if is_known { Ok(()) } else { Err(JoinError::UnknownMember) }
    }

    /// SyncGroup. Answered when the leader's assignment is durable.
    pub fn sync(&mut self, request: &SyncRequest<'_>, waiter: Waiter, now: Now) -> Output {
        let mut out = Output::default();
        let group_id = request.caller.group_id;
        let refused = if group_id.is_empty() {
            Some(SyncError::InvalidGroupId)
        } else if self.is_loading {
            // A rebalance that went on before the restart is lost: its members have to start over.
            Some(SyncError::RebalanceInProgress)
        } else if !self.groups.contains_key(group_id) {
            Some(SyncError::UnknownMember)
        } else {
            None
        };
        match refused {
            Some(error) => out.reply(waiter, Response::Sync(Err(error))),
            None => {
                self.with_group(group_id, now, &mut out, |group, turn| group.sync(request, waiter, turn));
            }
        }
        out
    }

    /// Heartbeat. While the coordinator loads, every heartbeat is taken on trust, so that a restart causes no
    /// rebalance.
    ///
    /// # Errors
    /// See [`HeartbeatError`].
    pub fn heartbeat(&mut self, caller: Caller<'_>, now: Now) -> Result<(), HeartbeatError> {
        if caller.group_id.is_empty() {
            return Err(HeartbeatError::InvalidGroupId);
        }
        if self.is_loading {
            return Ok(());
        }
        let group = self.groups.get_mut(caller.group_id).ok_or(HeartbeatError::UnknownMember)?;
        let result = group.heartbeat(caller, now);
        self.settle(caller.group_id);
        result
    }

    /// LeaveGroup: the outcome for each member, in their order, and what it leads to for the others.
    pub fn leave(
        &mut self,
        group_id: &str,
        leavers: &[Leaver<'_>],
        now: Now,
    ) -> (Result<Left, LeaveError>, Output) {
        let mut out = Output::default();
        if group_id.is_empty() {
            return (Err(LeaveError::InvalidGroupId), out);
        }
        if self.is_loading {
            return (Err(LeaveError::CoordinatorLoading), out);
        }
        let left = self.with_group(group_id, now, &mut out, |group, turn| group.leave(leavers, turn));
        let unknown = || Ok(vec![Err(MemberError::UnknownMember); leavers.len()]);
        (left.unwrap_or_else(unknown), out)
    }

    // --- time ---

    /// The latest time at which [`tick`](Self::tick) must be called. It may turn out to have nothing to do then.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.is_loading {
            return None;
        }
        let group = self.timers.first().map(|(deadline, _)| *deadline);
        Some(group.map_or(self.sweep.at, |deadline| deadline.min(self.sweep.at)))
    }

    /// Ends sessions, join phases and retention whose time has come.
    pub fn tick(&mut self, now: Now) -> Output {
        let mut out = Output::default();
        if self.is_loading {
            return out;
        }
        let due = self.timers.iter().take_while(|(deadline, _)| *deadline <= now.elapsed);
        let due: Vec<_> = due.map(|(_, group_id)| Arc::clone(group_id)).collect();
        for group_id in due {
            self.with_group(&group_id, now, &mut out, Group::tick);
        }
        self.sweep(now, &mut out);
        out
    }

    // --- durable state ---

    /// Takes over one record of the `offsets` log: at a restart, and for every record that has become durable.
    ///
    /// [`complete`](Self::complete) does this for the coordinator's own writes. Without a value the record is a
    /// tombstone.
    ///
    /// # Errors
    /// [`ApplyError`] if the record cannot be read. Nothing has changed then.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ApplyError> {
        match RecordKey::decode(key).map_err(ApplyError::Key)? {
            RecordKey::Group { group_id } => match value {
                Some(value) => {
                    self.apply_group(group_id, GroupImage::decode(value).map_err(ApplyError::Value)?);
                }
                None => self.apply_group_tombstone(group_id),
            },
            RecordKey::Offset { group_id, topic, partition } => match value {
                Some(value) => {
                    let value = OffsetValue::decode(value).map_err(ApplyError::Value)?;
                    self.offsets.put(group_id, topic, partition, value);
                    self.ensure_stored(group_id);
                }
                None => self.offsets.remove(group_id, topic, partition),
            },
        }
        Ok(())
    }

    fn apply_group(&mut self, group_id: &str, image: GroupImage) {
        match self.groups.get_mut(group_id) {
            Some(group) if !self.is_loading => group.install(image),
            _ => {
                let id = self.group_id(group_id);
                self.groups.insert(Arc::clone(&id), Group::from_image(id, image));
            }
        }
        self.settle(group_id);
    }

    fn apply_group_tombstone(&mut self, group_id: &str) {
        let is_over = |group: &Group| self.is_loading || group.state == State::Dead;
        if self.groups.get(group_id).is_some_and(is_over) {
            self.forget(group_id);
        }
        if self.offsets.has_offsets(group_id) {
            self.ensure_stored(group_id);
        }
    }

    /// Offsets make a group, even if nobody ever joins it.
    fn ensure_stored(&mut self, group_id: &str) {
        if !self.groups.contains_key(group_id) {
            let id: Arc<str> = group_id.into();
            self.groups.insert(Arc::clone(&id), Group::new(id));
        }
        if let Some(group) = self.groups.get_mut(group_id) {
            group.is_stored = true;
        }
    }

    /// All records have been applied. Members have a whole session from now on to show that they are alive.
    pub fn finish_loading(&mut self, now: Now) {
        self.is_loading = false;
        self.sweep.at = now.elapsed.saturating_add(self.options.offsets_retention_check_interval);
        let group_ids: Vec<_> = self.groups.keys().cloned().collect();
        for group_id in group_ids {
            if let Some(group) = self.groups.get_mut(&group_id) {
                group.wake_at = None;
                group.start_missing_sessions(now);
            }
            self.settle(&group_id);
        }
    }

    /// What follows when a write is durable, or could not be made so.
    ///
    /// Writes must be completed in the order in which they were given out.
    pub fn complete(&mut self, write: Write, written: Result<(), WriteError>, now: Now) -> Output {
        let mut out = Output::default();
        if written.is_ok() {
            for record in &write.records {
                let applied = self.apply(&record.key, record.value.as_deref());
                debug_assert_eq!(applied, Ok(()), "a record that was encoded here must be readable");
            }
        }
        self.follow_up(write.then, written, now, &mut out);
        out
    }

    fn follow_up(&mut self, then: Then, written: Result<(), WriteError>, now: Now, out: &mut Output) {
        match then {
            Then::Nothing => {}
            Then::Assign { group_id, generation } => {
                self.with_group(&group_id, now, out, |group, turn| match written {
                    Ok(()) => group.assignment_stored(generation, turn),
                    Err(error) => group.assignment_failed(generation, error, turn),
                });
            }
            Then::Rejoin { group_id, rejoin } => {
                self.with_group(&group_id, now, out, |group, turn| match written {
                    Ok(()) => group.rejoin_stored(&rejoin, turn),
                    Err(error) => group.rejoin_failed(&rejoin, error, turn),
                });
            }
            Then::Commit { group_id, keys, waiter, outcome } => {
                self.offsets.end(&group_id, &keys);
                self.settle(&group_id);
                out.reply(waiter, commit_response(outcome, written));
            }
            Then::Delete { group_ids, waiter } => {
                if written.is_err() {
                    self.revive(&group_ids);
                }
                out.replies.extend(
                    waiter.map(|waiter| super::message::Reply { waiter, response: delete_response(written) }),
                );
            }
            Then::DeleteOffsets { waiter, outcome } => {
                out.reply(waiter, delete_offsets_response(outcome, written));
            }
        }
    }

    /// The groups could not be deleted after all.
    fn revive(&mut self, group_ids: &[Arc<str>]) {
        for group_id in group_ids {
            if let Some(group) = self.groups.get_mut(group_id).filter(|group| group.state == State::Dead) {
                group.state = State::Empty;
            }
        }
    }

    // --- the table of groups ---

    /// The group's id, shared with the group if there is one.
    pub(super) fn group_id(&self, group_id: &str) -> Arc<str> {
        self.groups.get_key_value(group_id).map_or_else(|| group_id.into(), |(id, _)| Arc::clone(id))
    }

    fn with_group<R>(
        &mut self,
        group_id: &str,
        now: Now,
        out: &mut Output,
        act: impl FnOnce(&mut Group, &mut Turn<'_>) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(group_id)?;
        let result = act(group, &mut Turn { options: &self.options, now, out });
        self.settle(group_id);
        Some(result)
    }

    /// After every change of a group: its place in the timers, and whether it is worth keeping.
    pub(super) fn settle(&mut self, group_id: &str) {
        let Some(group) = self.groups.get_mut(group_id) else { return };
        if group.is_trivial() && !self.offsets.has_offsets(group_id) {
            return self.forget(group_id);
        }
        if group.registered != group.wake_at {
            if let Some(old) = group.registered.take() {
                self.timers.remove(&(old, Arc::clone(&group.id)));
            }
            if let Some(new) = group.wake_at {
                self.timers.insert((new, Arc::clone(&group.id)));
            }
            group.registered = group.wake_at;
        }
    }

    fn forget(&mut self, group_id: &str) {
        let Some((id, group)) = self.groups.remove_entry(group_id) else { return };
        if let Some(registered) = group.registered {
            self.timers.remove(&(registered, id));
        }
    }
}
