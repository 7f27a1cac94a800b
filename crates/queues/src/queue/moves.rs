//! Moves of messages out of a queue, by an operator's wish: what is to be moved, and how far it is.
//!
//! A move belongs to the queue that it takes messages from, and is written to its state log: that it begins, and with each
//! step, in the group that puts messages in their new place and settles them here, how many it has moved. So a step happens
//! whole or not at all, and a move that is interrupted goes on from where it was.

use std::collections::BTreeMap;

use super::Queue;
use super::entry::Operation;
use crate::codec::{DecodeError, Reader, Writer};
use crate::{Text, TimestampMs};

/// So many moves that have ended are remembered.
const ENDED_MAX: usize = 16;

/// Whether a move goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveState {
    /// It does.
    Running,
    /// All is moved.
    Finished,
    /// Somebody has stopped it.
    Cancelled,
    /// It stopped at a message that no queue would get: it is still here, and so are the ones behind it.
    Unroutable {
        /// The exchange that the message was to go to.
        exchange: Text,
        /// Its key.
        routing_key: Text,
    },
}

/// One move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Its number in its queue.
    pub number: u64,
    /// Where messages go: an exchange and a key. Without it, each goes back to the queue in which it died last.
    pub target: Option<(Text, Text)>,
    /// The most messages a second; 0 for no limit.
    pub rate: u32,
    /// How many messages are to be moved.
    pub wanted: u64,
    /// How many were moved.
    pub moved: u64,
    /// When it was asked for.
    pub started_ms: TimestampMs,
    /// Whether it goes on.
    pub state: MoveState,
}

/// The moves of one queue.
#[derive(Debug, Default)]
pub(super) struct Moves(BTreeMap<u64, Movement>);

impl Moves {
    fn put(&mut self, movement: Movement) {
        self.0.insert(movement.number, movement);
        let ended = |movement: &Movement| movement.state != MoveState::Running;
        let surplus = self.0.values().filter(|movement| ended(movement)).count().saturating_sub(ENDED_MAX);
        let oldest: Vec<u64> =
            self.0.values().filter(|movement| ended(movement)).map(|movement| movement.number).collect();
        // The latest number stays, so that none is given twice.
        oldest.into_iter().take(surplus).for_each(|number| drop(self.0.remove(&number)));
    }

    fn moved(&mut self, number: u64, moved: u64) {
        if let Some(movement) = self.0.get_mut(&number) {
            movement.moved = moved;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Movement> {
        self.0.values()
    }

    pub(super) fn recover(&mut self, movement: Movement) {
        self.put(movement);
    }

    pub(super) fn recover_moved(&mut self, number: u64, moved: u64) {
        self.moved(number, moved);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Queue {
    /// A move begins. Returns its number.
    pub fn start_move(
        &mut self,
        target: Option<(Text, Text)>,
        rate: u32,
        wanted: u64,
        now_ms: TimestampMs,
    ) -> u64 {
        let number = self.moves.0.last_key_value().map_or(0, |(last, _)| *last) + 1;
        let state = MoveState::Running;
        self.note_move(Movement { number, target, rate, wanted, moved: 0, started_ms: now_ms, state });
        number
    }

    /// One move, if it is remembered.
    pub fn movement(&self, number: u64) -> Option<&Movement> {
        self.moves.0.get(&number)
    }

    /// All moves that are remembered, in the order in which they began.
    pub fn movements(&self) -> impl Iterator<Item = &Movement> {
        self.moves.iter()
    }

    /// Whether a move goes on.
    pub fn is_moving(&self, number: u64) -> bool {
        self.movement(number).is_some_and(|movement| movement.state == MoveState::Running)
    }

    /// More messages of a move were moved.
    pub fn moved(&mut self, number: u64, more: u64) {
        if let Some(movement) = self.moves.0.get_mut(&number) {
            movement.moved += more;
            self.state.note(Operation::Moved { number, moved: movement.moved });
        }
    }

    /// A move ends, or goes on after it had ended. Returns whether it is remembered.
    pub fn set_move(&mut self, number: u64, state: MoveState) -> bool {
        let Some(movement) = self.moves.0.get(&number) else { return false };
        if movement.state != state {
            self.note_move(Movement { state, ..movement.clone() });
        }
        true
    }

    fn note_move(&mut self, movement: Movement) {
        self.state.note(Operation::Move(movement.clone()));
        self.moves.put(movement);
    }
}

impl Movement {
    /// The most bytes that it is stored in.
    pub(super) fn len_max(&self) -> usize {
        let target = self.target.as_ref().map_or(0, |(exchange, key)| exchange.len() + key.len());
        let reason = match &self.state {
            MoveState::Unroutable { exchange, routing_key } => exchange.len() + routing_key.len(),
            MoveState::Running | MoveState::Finished | MoveState::Cancelled => 0,
        };
        80 + target + reason
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.number(self.number).optional(self.target.as_ref(), |out, (exchange, key)| {
            out.text(exchange).text(key);
        });
        out.number(self.rate.into()).number(self.wanted).number(self.moved).signed(self.started_ms);
        match &self.state {
            MoveState::Running => out.byte(1),
            MoveState::Finished => out.byte(2),
            MoveState::Cancelled => out.byte(3),
            MoveState::Unroutable { exchange, routing_key } => out.byte(4).text(exchange).text(routing_key),
        };
    }

    pub(super) fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        const WHAT: &str = "move";
        Ok(Self {
            number: input.number(WHAT)?,
            target: input.optional(WHAT, |input| Ok((input.text(WHAT)?, input.text(WHAT)?)))?,
            rate: input.narrow(WHAT)?,
            wanted: input.number(WHAT)?,
            moved: input.number(WHAT)?,
            started_ms: input.signed(WHAT)?,
            state: match input.byte(WHAT)? {
                1 => MoveState::Running,
                2 => MoveState::Finished,
                3 => MoveState::Cancelled,
                4 => MoveState::Unroutable { exchange: input.text(WHAT)?, routing_key: input.text(WHAT)? },
                _ => return Err(DecodeError::Malformed { what: WHAT }),
            },
        })
    }
}
