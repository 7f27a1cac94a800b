//! From one generation to the next: preparing, completing, and the clocks of both phases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::{SyncError, WriteError};
use super::message::Event;
use super::state::{Group, JoinTimer, State, Turn, answer_sync};
use super::write::Then;

/// A rebalance that nobody has joined is not looked at again before this, whatever timeout the members chose.
const RETRY_MIN: Duration = Duration::from_secs(1);

impl Group {
    fn can_rebalance(&self) -> bool {
        matches!(self.state, State::Empty | State::CompletingRebalance | State::Stable)
    }

    /// Begins a rebalance, or ends the one that goes on if this was the last that it waited for.
    pub(super) fn rebalance_or_complete(&mut self, reason: &str, turn: &mut Turn<'_>) {
        if self.can_rebalance() {
            self.prepare_rebalance(reason, turn);
        } else {
            self.complete_join_if_ready(turn);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, reason: &str, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance {
            self.reset_assignment(SyncError::RebalanceInProgress, turn);
        }
        self.pending_sync.clear();
        self.sync_deadline = None;
        let is_initial = self.state == State::Empty;
        self.transition(State::PreparingRebalance, turn.now);
        let (group_id, reason) = (Arc::clone(&self.id), reason.to_owned());
        turn.out.events.push(Event::RebalanceStarted { group_id, generation: self.generation, reason });
        if is_initial {
            self.start_initial_delay(turn);
        } else if self.has_all_joined() {
            self.complete_join(turn);
        } else {
            self.start_join_timer(self.rebalance_timeout(), turn);
        }
    }

    fn start_initial_delay(&mut self, turn: &mut Turn<'_>) {
        let delay = turn.options.initial_rebalance_delay;
        self.new_member_added = false;
        if delay.is_zero() {
            return self.complete_join(turn);
        }
        let remaining = self.rebalance_timeout().saturating_sub(delay);
        self.set_initial_timer(delay, remaining, turn);
    }

    fn set_initial_timer(&mut self, delay: Duration, remaining: Duration, turn: &Turn<'_>) {
        let deadline = turn.now.elapsed.saturating_add(delay);
        self.join_timer = Some(JoinTimer::Initial { deadline, delay, remaining });
        self.wake(deadline);
    }

    fn start_join_timer(&mut self, timeout: Duration, turn: &Turn<'_>) {
        let deadline = turn.now.elapsed.saturating_add(timeout);
        self.join_timer = Some(JoinTimer::Rebalance { deadline });
        self.wake(deadline);
    }

    /// Called when the join timer has run out.
    pub(super) fn join_timer_ended(&mut self, timer: JoinTimer, turn: &mut Turn<'_>) {
        match timer {
            JoinTimer::Initial { delay, remaining, .. } if self.new_member_added && !remaining.is_zero() => {
                self.new_member_added = false;
                let next = turn.options.initial_rebalance_delay.min(remaining);
                self.set_initial_timer(next, remaining.saturating_sub(delay), turn);
            }
            JoinTimer::Initial { .. } | JoinTimer::Rebalance { .. } => self.complete_join(turn),
        }
    }

    /// Ends the join phase if everybody is there. The first generation waits for its delay in any case.
    pub(super) fn complete_join_if_ready(&mut self, turn: &mut Turn<'_>) {
        let is_rebalance = self.state == State::PreparingRebalance && self.previous != State::Empty;
        if is_rebalance && self.has_all_joined() {
            self.complete_join(turn);
        }
    }

    /// Ends the join phase: the dynamic members that did not come are out, and a new generation begins.
    pub(super) fn complete_join(&mut self, turn: &mut Turn<'_>) {
        self.join_timer = None;
        self.remove_absent(turn);
        if !self.elect_leader() && !self.members.is_empty() {
            // Only static members are left, and none of them has come: wait until one does or its session ends.
            return self.start_join_timer(self.rebalance_timeout().max(RETRY_MIN), turn);
        }
        self.begin_generation(turn);
        if self.state == State::Empty {
            let image = self.image(None);
            self.store(&image, Then::Nothing, turn.out);
        } else {
            self.answer_joins(turn);
            self.start_sync_timer(turn);
        }
    }

    fn remove_absent(&mut self, turn: &mut Turn<'_>) {
        let is_absent =
            |member: &&super::member::Member| member.waiting_join.is_none() && !member.is_static();
        let absent: Vec<_> =
            self.members.values().filter(is_absent).map(|member| Arc::clone(&member.id)).collect();
        for member_id in absent {
            self.remove(&member_id, "did not rejoin within the rebalance timeout", turn);
        }
    }

    /// Makes sure that the leader is a member that has joined. False if there is none.
    fn elect_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else { return false };
        let is_waiting = |member: &super::member::Member| member.waiting_join.is_some();
        if self.members.get(leader).is_some_and(is_waiting) {
            return true;
        }
        match self.members.values().find(|member| is_waiting(member)) {
            Some(joined) => {
                self.leader = Some(Arc::clone(&joined.id));
                true
            }
            None => false,
        }
    }

    fn begin_generation(&mut self, turn: &mut Turn<'_>) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.select_protocol();
        self.subscribed = self.compute_subscribed();
        let state = if self.members.is_empty() { State::Empty } else { State::CompletingRebalance };
        self.transition(state, turn.now);
        self.pending_sync.clear();
        let (group_id, members) = (Arc::clone(&self.id), self.members.len());
        turn.out.events.push(Event::GenerationStarted { group_id, generation: self.generation, members });
    }

    fn answer_joins(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            self.answer_join_of(&id, |group| Ok(group.joined(&id)), turn.out);
            self.refresh_session(&id, turn.now);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.pending_sync.insert(id);
        }
    }

    fn start_sync_timer(&mut self, turn: &Turn<'_>) {
        let deadline = turn.now.elapsed.saturating_add(self.rebalance_timeout());
        self.sync_deadline = Some(deadline);
        self.wake(deadline);
    }

    /// Members that have not asked for their assignment in time are out.
    pub(super) fn sync_timer_ended(&mut self, turn: &mut Turn<'_>) {
        self.sync_deadline = None;
        let late = std::mem::take(&mut self.pending_sync);
        if !matches!(self.state, State::CompletingRebalance | State::Stable) || late.is_empty() {
            return;
        }
        for member_id in &late {
            self.remove(member_id, "did not sync within the rebalance timeout", turn);
        }
        self.prepare_rebalance("members did not sync in time", turn);
    }

    /// Notes that a member has asked for its assignment.
    pub(super) fn has_synced(&mut self, member_id: &str) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            self.sync_deadline = None;
        }
    }

    /// Takes back all assignments and tells the members that wait for theirs why.
    fn reset_assignment(&mut self, error: SyncError, turn: &mut Turn<'_>) {
        let mut answered = Vec::new();
        for member in self.members.values_mut() {
            member.assignment.clear();
            if answer_sync(member, Err(error), turn.out) {
                answered.push(Arc::clone(&member.id));
            }
        }
        for member_id in answered {
            self.refresh_session(&member_id, turn.now);
        }
    }

    /// The assignment of `generation` is durable: gives it to those who wait.
    pub(super) fn assignment_stored(&mut self, generation: i32, turn: &mut Turn<'_>) {
        if self.state != State::Stable || self.generation != generation {
            return;
        }
        let synced: BTreeMap<_, _> =
            self.members.values().map(|member| (Arc::clone(&member.id), self.synced(member))).collect();
        for (member_id, synced) in synced {
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            if answer_sync(member, Ok(synced), turn.out) {
                self.refresh_session(&member_id, turn.now);
            }
        }
        let group_id = Arc::clone(&self.id);
        turn.out.events.push(Event::RebalanceCompleted { group_id, generation });
    }

    /// The assignment of `generation` could not be stored: the generation has to start over.
    pub(super) fn assignment_failed(&mut self, generation: i32, error: WriteError, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance && self.generation == generation {
            self.reset_assignment(SyncError::NotStored(error), turn);
            self.rebalance_or_complete("the assignment could not be stored", turn);
        }
    }
}
