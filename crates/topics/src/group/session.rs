//! Heartbeats, session timeouts and the other clocks of a group.
//!
//! A heartbeat only moves the member's own deadline; `wake_at` stays, and the tick that it causes finds nothing to do
//! and moves it on. So a heartbeat costs the same in a group of any size.

use std::sync::Arc;
use std::time::Duration;

use super::error::HeartbeatError;
use super::message::{Caller, Now};
use super::state::{Group, State, Turn};

/// A clock that has run out.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Join,
    Sync,
    Promise(Arc<str>),
    Session(Arc<str>),
}

impl Group {
    pub(super) fn heartbeat(&mut self, caller: Caller<'_>, now: Now) -> Result<(), HeartbeatError> {
        if self.state == State::Dead {
            return Err(HeartbeatError::CoordinatorNotAvailable);
        }
        self.check_member(caller.member_id, caller.instance_id)?;
        if caller.generation != self.generation {
            return Err(HeartbeatError::IllegalGeneration);
        }
        self.refresh_session(caller.member_id, now);
        if self.state == State::PreparingRebalance {
            Err(HeartbeatError::RebalanceInProgress)
        } else {
            Ok(())
        }
    }

    /// Lets everything happen whose time has come, in the order of the deadlines.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        self.start_missing_sessions(turn.now);
        loop {
            let due = self.due(turn.now.elapsed);
            if due.is_empty() {
                break;
            }
            for (_, due) in due {
                self.run_out(due, turn);
            }
        }
        self.wake_at = self.earliest_deadline();
    }

    /// Members loaded from the journal have no deadline yet: they get a whole session from now on.
    pub(super) fn start_missing_sessions(&mut self, now: Now) {
        let is_missing =
            |member: &&super::member::Member| member.session_deadline.is_none() && !member.is_waiting();
        let missing: Vec<_> =
            self.members.values().filter(is_missing).map(|member| Arc::clone(&member.id)).collect();
        for member_id in missing {
            self.refresh_session(&member_id, now);
        }
    }

    fn due(&self, now: Duration) -> Vec<(Duration, Due)> {
        let join = self.join_timer.map(|timer| (timer.deadline(), Due::Join));
        let sync = self.sync_deadline.map(|deadline| (deadline, Due::Sync));
        let promises =
            self.pending_join.iter().map(|(id, deadline)| (*deadline, Due::Promise(Arc::clone(id))));
        let sessions = self.members.values().filter_map(|member| {
            member.session_deadline.map(|deadline| (deadline, Due::Session(Arc::clone(&member.id))))
        });
        let all = join.into_iter().chain(sync).chain(promises).chain(sessions);
        let mut due: Vec<_> = all.filter(|(deadline, _)| *deadline <= now).collect();
        due.sort();
        due
    }

    /// One clock has run out, unless something that ran out before it has stopped or moved it.
    fn run_out(&mut self, due: Due, turn: &mut Turn<'_>) {
        let now = turn.now.elapsed;
        match due {
            Due::Join => {
                if let Some(timer) = self.join_timer.filter(|timer| timer.deadline() <= now) {
                    self.join_timer = None;
                    self.join_timer_ended(timer, turn);
                }
            }
            Due::Sync if self.sync_deadline.is_some_and(|deadline| deadline <= now) => {
                self.sync_timer_ended(turn);
            }
            Due::Promise(id) if self.pending_join.get(&id).is_some_and(|deadline| *deadline <= now) => {
                self.pending_join.remove(&id);
                self.member_gone(false, turn);
            }
            Due::Session(id) => self.session_ended(&id, turn),
            Due::Sync | Due::Promise(_) => {}
        }
    }

    fn session_ended(&mut self, member_id: &str, turn: &mut Turn<'_>) {
        let now = turn.now.elapsed;
        let Some(member) = self.members.get_mut(member_id) else { return };
        if member.session_deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        if member.is_excused() {
            // The answer that it waits for starts its session anew.
            member.session_deadline = None;
            return;
        }
        self.remove(member_id, "session timeout", turn);
        self.member_gone(true, turn);
    }

    /// A member, or somebody who was promised an id, will not come any more.
    fn member_gone(&mut self, was_member: bool, turn: &mut Turn<'_>) {
        match self.state {
            State::Stable | State::CompletingRebalance if was_member => {
                self.prepare_rebalance("a member's session has timed out", turn);
            }
            State::PreparingRebalance if self.has_all_joined() => self.complete_join(turn),
            State::Stable
            | State::CompletingRebalance
            | State::PreparingRebalance
            | State::Empty
            | State::Dead => {}
        }
    }

    fn earliest_deadline(&self) -> Option<Duration> {
        let sessions = self.members.values().filter_map(|member| member.session_deadline);
        let join = self.join_timer.map(super::state::JoinTimer::deadline);
        sessions.chain(self.pending_join.values().copied()).chain(join).chain(self.sync_deadline).min()
    }
}
