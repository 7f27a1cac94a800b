//! Groups that are accepted and kept: the sessions of Azure Service Bus.

use bytes::Bytes;

use super::Queue;
use super::entry::Operation;
use super::groups::{GroupError, Holder};
use crate::{Text, TimestampMs};

impl Queue {
    /// Gives a group to a holder until then: that of this name, whether it has messages or not, or the first that has some
    /// and is free. Meanwhile nobody else is handed messages of it.
    ///
    /// # Errors
    /// [`GroupError::Held`], [`GroupError::NoneFree`].
    pub fn accept_group(
        &mut self,
        name: Option<&Text>,
        holder: Holder,
        until_ms: TimestampMs,
    ) -> Result<Text, GroupError> {
        self.groups.as_mut().ok_or(GroupError::NoneFree)?.accept(name, holder, until_ms)
    }

    /// Has a holder keep its group until then.
    ///
    /// # Errors
    /// [`GroupError::NotHeld`].
    pub fn renew_group(
        &mut self,
        name: &Text,
        holder: Holder,
        until_ms: TimestampMs,
    ) -> Result<(), GroupError> {
        self.groups.as_mut().ok_or(GroupError::NotHeld)?.renew(name, holder, until_ms)
    }

    /// Has a holder let its group go. Messages of it that it holds stay leased; until they are settled, nobody else gets the
    /// group.
    pub fn release_group(&mut self, name: &Text, holder: Holder) {
        if let Some(groups) = &mut self.groups {
            groups.release(name, holder);
        }
    }

    /// What was left with a group.
    pub fn group_state(&self, name: &Text) -> Option<&Bytes> {
        self.groups.as_ref()?.state(name)
    }

    /// Leaves something with a group, or takes it away. It outlives messages and restarts.
    pub fn set_group_state(&mut self, name: &Text, state: Option<Bytes>) {
        if let Some(groups) = &mut self.groups {
            groups.set_state(name, state.clone());
            self.state.note(Operation::Group { name: name.clone(), state });
        }
    }
}
