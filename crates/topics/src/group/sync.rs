//! SyncGroup: the leader hands in the assignment, everybody gets theirs.
//!
//! The assignment is stored before anybody hears of it, so that a restart never meets a member that works on an
//! assignment that the group does not know. Sources: Kafka protocol guide (SyncGroup), KIP-559.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::SyncError;
use super::message::{Response, SyncRequest, Waiter};
use super::state::{Group, State, Turn, answer_sync};
use super::write::Then;

impl Group {
    pub(super) fn sync(&mut self, request: &SyncRequest<'_>, waiter: Waiter, turn: &mut Turn<'_>) {
        let member_id = request.caller.member_id;
        if let Err(error) = self.check_sync(request) {
            return turn.out.reply(waiter, Response::Sync(Err(error)));
        }
        self.has_synced(member_id);
        if self.state == State::Stable {
            self.answer_stable(member_id, waiter, turn);
            return;
        }
        if let Some(member) = self.members.get_mut(member_id) {
            // A client that lost its connection asks again; nobody listens to the first answer any more.
            answer_sync(member, Err(SyncError::RebalanceInProgress), turn.out);
            member.waiting_sync = Some(waiter);
        }
        if self.is_leader(member_id) {
            self.store_assignment(request, turn);
        }
    }

    fn check_sync(&self, request: &SyncRequest<'_>) -> Result<(), SyncError> {
        let caller = request.caller;
        match self.state {
            State::Dead => return Err(SyncError::CoordinatorNotAvailable),
            State::Empty => return Err(SyncError::UnknownMember),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {}
        }
        self.check_member(caller.member_id, caller.instance_id)?;
        let differs =
            |given: Option<&str>, ours: &Option<Arc<str>>| given.is_some() && given != ours.as_deref();
        if caller.generation != self.generation {
            Err(SyncError::IllegalGeneration)
        } else if differs(request.protocol_type, &self.protocol_type)
            || differs(request.protocol, &self.protocol)
        {
            Err(SyncError::InconsistentProtocol)
        } else if self.state == State::PreparingRebalance {
            Err(SyncError::RebalanceInProgress)
        } else {
            Ok(())
        }
    }

    fn answer_stable(&self, member_id: &str, waiter: Waiter, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get(member_id) {
            turn.out.reply(waiter, Response::Sync(Ok(self.synced(member))));
        }
    }

    /// Members that the leader has left out get an empty assignment.
    fn store_assignment(&mut self, request: &SyncRequest<'_>, turn: &mut Turn<'_>) {
        let assignments: BTreeMap<_, _> =
            request.assignments.iter().map(|(id, bytes)| (*id, bytes.clone())).collect();
        let image = self.image(Some(&assignments));
        let then = Then::Assign { group_id: Arc::clone(&self.id), generation: self.generation };
        self.store(&image, then, turn.out);
    }
}
