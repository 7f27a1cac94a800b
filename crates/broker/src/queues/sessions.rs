//! Sessions, deferred and scheduled messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use annals_queues::Text;
use annals_queues::queue::{Holder, Place};
use bytes::Bytes;

use super::consume::delivered;
use super::entry::QueueState;
use super::{QueueEntry, load};
use crate::api::Caller;
use crate::api::queues::consume::Delivery;
use crate::api::queues::sessions::{Session, SessionError};
use crate::api::queues::{QueueError, QueueRef};
use crate::{Broker, Inner};

impl Broker {
    /// A number for somebody who holds sessions.
    pub fn new_holder(&self) -> Holder {
        Holder(self.inner.queues().next_consumer.fetch_add(1, Ordering::Relaxed))
    }

    /// Gives a session to a holder for `lock_ms`: that of this name, or the first that has messages and is free.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn accept_session(
        &self,
        _caller: &Caller,
        queue: QueueRef,
        group: Option<&Text>,
        holder: Holder,
        lock_ms: u64,
    ) -> Result<Session, SessionError> {
        let entry = self.inner.plain_queue(&queue)?;
        let until_ms = self.inner.clock.now_ms().saturating_add_unsigned(lock_ms);
        let group = self.inner.change(&entry, |state| state.queue.accept_group(group, holder, until_ms))?;
        Ok(Session { queue, group, holder })
    }

    /// Has the holder of a session keep it for `lock_ms` from now.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn renew_session(
        &self,
        _caller: &Caller,
        session: &Session,
        lock_ms: u64,
    ) -> Result<(), SessionError> {
        let entry = self.inner.queue(&session.queue)?;
        let until_ms = self.inner.clock.now_ms().saturating_add_unsigned(lock_ms);
        let renew =
            |state: &mut QueueState| state.queue.renew_group(&session.group, session.holder, until_ms);
        Ok(self.inner.change(&entry, renew)?)
    }

    /// Has the holder of a session let it go. What it was handed stays leased; until that is settled, nobody else gets the
    /// session.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn release_session(&self, _caller: &Caller, session: &Session) -> Result<(), QueueError> {
        let entry = self.inner.queue(&session.queue)?;
        self.inner.change(&entry, |state| state.queue.release_group(&session.group, session.holder));
        Ok(())
    }

    /// Takes up to `max` messages of a session that are ready now.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub async fn get_of_session(
        &self,
        _caller: &Caller,
        session: &Session,
        max: usize,
        no_ack: bool,
    ) -> Result<Vec<Delivery>, SessionError> {
        let inner = &self.inner;
        let entry = inner.queue(&session.queue)?;
        loop {
            let now_ms = inner.clock.now_ms();
            let got = inner.change(&entry, |state| {
                state.queue.get_of_group(&session.group, session.holder, max.max(1), no_ack, now_ms)
            })?;
            match got {
                Ok(taken) => {
                    return Ok(taken.into_iter().map(|delivery| delivered(entry.id(), delivery)).collect());
                }
                Err(need) => load::load(inner, &entry, need).await,
            }
        }
    }

    /// What was left with a session.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn session_state(
        &self,
        _caller: &Caller,
        queue: &QueueRef,
        group: &Text,
    ) -> Result<Option<Bytes>, QueueError> {
        Ok(self.inner.queue(queue)?.lock().queue.group_state(group).cloned())
    }

    /// Leaves something with a session, or takes it away. Durable on return.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn set_session_state(
        &self,
        _caller: &Caller,
        queue: &QueueRef,
        group: &Text,
        state: Option<Bytes>,
    ) -> Result<(), QueueError> {
        let entry = self.inner.queue(queue)?;
        self.inner.change_durably(&entry, |queue| queue.queue.set_group_state(group, state)).await
    }

    /// Makes a deferred message ready again, at its place. Returns whether there is one. Durable on return.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn undefer(
        &self,
        _caller: &Caller,
        queue: &QueueRef,
        priority: u8,
        sequence: u64,
    ) -> Result<bool, QueueError> {
        let entry = self.inner.plain_queue(queue)?;
        let place = Place::journaled(priority.into(), sequence);
        self.inner.change_durably(&entry, |state| state.queue.undefer(place)).await
    }
}

impl Inner {
    /// Changes a queue and lets it go on.
    fn change<T>(&self, entry: &QueueEntry, change: impl FnOnce(&mut QueueState) -> T) -> T {
        let mut state = entry.lock();
        let changed = change(&mut state);
        entry.advance(&mut state, self.queues());
        changed
    }

    /// Changes a queue, and waits until that is on disk.
    pub(super) async fn change_durably<T>(
        &self,
        entry: &Arc<QueueEntry>,
        change: impl FnOnce(&mut QueueState) -> T,
    ) -> Result<T, QueueError> {
        let (changed, offset) = self.change(entry, |state| {
            let changed = change(state);
            (changed, state.queue.has_changes().then(|| state.queue.state_end()))
        });
        match offset {
            Some(offset) if !entry.until_durable(offset, self).await => {
                Err(QueueError::Unavailable(self.journal.stopped().unwrap_or_default()))
            }
            Some(_) | None => Ok(changed),
        }
    }
}
