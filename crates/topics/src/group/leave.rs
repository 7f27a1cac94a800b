//! LeaveGroup: members say goodbye, or an administrator removes static members (KIP-345, KIP-800).

use std::sync::Arc;

use super::error::{LeaveError, MemberError};
use super::join::client_reason;
use super::message::{Leaver, Left};
use super::state::{Group, State, Turn};

impl Group {
    pub(super) fn leave(&mut self, leavers: &[Leaver<'_>], turn: &mut Turn<'_>) -> Result<Left, LeaveError> {
        if self.state == State::Dead {
            return Err(LeaveError::CoordinatorNotAvailable);
        }
        let members_before = self.members.len();
        let left: Left = leavers.iter().map(|leaver| self.leave_one(leaver, turn)).collect();
        match self.state {
            State::Stable | State::CompletingRebalance if self.members.len() < members_before => {
                self.prepare_rebalance("members have left the group", turn);
            }
            State::PreparingRebalance => self.complete_join_if_ready(turn),
            State::Stable | State::CompletingRebalance | State::Empty | State::Dead => {}
        }
        Ok(left)
    }

    fn leave_one(&mut self, leaver: &Leaver<'_>, turn: &mut Turn<'_>) -> Result<(), MemberError> {
        if self.pending_join.remove(leaver.member_id).is_some() {
            return Ok(());
        }
        let member_id = self.leaving_member(leaver)?;
        let reason = format!("left; client reason: {}", client_reason(leaver.reason));
        self.remove(&member_id, &reason, turn);
        Ok(())
    }

    fn leaving_member(&self, leaver: &Leaver<'_>) -> Result<Arc<str>, MemberError> {
        if leaver.member_id.is_empty() {
            let holder = leaver.instance_id.and_then(|id| self.static_members.get(id));
            return holder.cloned().ok_or(MemberError::UnknownMember);
        }
        self.check_member(leaver.member_id, leaver.instance_id).map(|()| leaver.member_id.into())
    }
}
