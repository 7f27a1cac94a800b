//! Admission by space: what is admitted can be written, whatever the disk does meanwhile.
//!
//! The owner of a log changes its state before the journal writes; taking that back is not possible. So a group is refused
//! before it is admitted or never. Disk space is therefore reserved ahead: the segment being written and one spare, both
//! allocated. Invariant: everything admitted and not yet written fits into the spare alone, or, without a spare, into
//! what is left of the active segment; so it fits wherever the roll from one to the other falls.
//!
//! On a full disk, data stops before the active segment is used up: what is left is for the state of owners, such as the
//! offsets that consumers commit, and the last bytes are for trims and deletions, since they are what frees space
//! ([`Purpose`]).

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::frame::{BLOCK_LEN, padded};

/// Bytes of the active segment that only trims and deletions may use when there is no spare.
const CONTROL_RESERVE: u64 = 128 << 10;
/// Bytes of the active segment that data may not use when there is no spare.
const STATE_RESERVE: u64 = 256 << 10;
/// The same once the disk is known to be full.
const STATE_RESERVE_FULL: u64 = 1 << 20;

/// What a group is for: how far it may go when the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Records of users. The first to be refused.
    Data,
    /// What an owner must note so that others can go on: acknowledgements, offsets, configuration.
    State,
    /// Trims and deletions: they free space. Refused only when nothing at all can be written.
    Control,
}

impl Purpose {
    /// Bytes of the active segment that are for others, when there is no spare.
    fn reserve(self, full: bool) -> u64 {
        match self {
            Self::Data if full => STATE_RESERVE_FULL,
            Self::Data => STATE_RESERVE,
            Self::State => CONTROL_RESERVE,
            Self::Control => 0,
        }
    }
}

pub(crate) struct Space {
    state: Mutex<State>,
    changed: Notify,
    /// Held by the group of data that is next to be admitted, so that those behind it cannot overtake it for ever. What
    /// frees space or notes a state does not queue behind data.
    data_turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Reserved by groups that are admitted and not yet written.
    admitted: u64,
    /// What the active segment can still take.
    active_left: u64,
    /// What the spare segment can take, if there is one.
    spare: Option<u64>,
    /// The last try to allocate a spare found no space.
    full: bool,
    /// A spare of at least this size is waited for.
    wanted: u64,
}

impl State {
    fn may_roll_early(&self) -> bool {
        self.spare.is_some_and(|spare| self.admitted <= spare)
    }
}

/// The answer to a group that asks to be admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    Admitted,
    /// A spare segment is on its way.
    Wait,
    /// There is no space on the disk.
    Full,
}

/// The most a group can take in a segment, padding included.
pub(crate) fn reservation(stored_len: usize) -> u64 {
    padded(stored_len as u64) + BLOCK_LEN as u64
}

impl Space {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), data_turn: tokio::sync::Mutex::new(()) }
    }

    pub(crate) fn try_admit(&self, reservation: u64, purpose: Purpose) -> Admission {
        let mut state = self.lock();
        let total = state.admitted + reservation;
        let room = match state.spare {
            Some(spare) => spare,
            None => state.active_left.saturating_sub(purpose.reserve(state.full)),
        };
        if total <= room {
            state.admitted = total;
            return Admission::Admitted;
        }
        // Only a spare larger than the usual one can ever take this group.
        state.wanted = state.wanted.max(reservation);
        if state.full { Admission::Full } else { Admission::Wait }
    }

    /// Waits until those who came before with data are admitted or have given up. What is returned is kept until then.
    pub(crate) async fn turn(&self, purpose: Purpose) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        match purpose {
            Purpose::Data => Some(self.data_turn.lock().await),
            Purpose::State | Purpose::Control => None,
        }
    }

    /// Waits until the answer of [`Space::try_admit`] may be another.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Groups were written: their reservations end, `used` bytes of the active segment are gone.
    pub(crate) fn written(&self, reservations: u64, used: u64) {
        let mut state = self.lock();
        state.admitted = state.admitted.saturating_sub(reservations);
        state.active_left = state.active_left.saturating_sub(used);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes `bytes` of the active segment without a reservation, unless what is admitted may need them.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        let free = state.spare.is_some() || state.admitted + bytes <= state.active_left;
        if free {
            state.active_left = state.active_left.saturating_sub(bytes);
        }
        free
    }

    /// Whether the active segment can be closed before it is full: everything admitted fits into the spare. The answer holds for
    /// now only: the spare may be withdrawn.
    pub(crate) fn may_roll_early(&self) -> bool {
        self.lock().may_roll_early()
    }

    /// Has the active segment take no more before it is full, if that can be. From then on the spare stays for what is admitted.
    pub(crate) fn close_early(&self) -> bool {
        let mut state = self.lock();
        let may = state.may_roll_early();
        if may {
            state.active_left = 0;
        }
        may
    }

    /// The active segment takes no more.
    pub(crate) fn closed(&self) {
        self.lock().active_left = 0;
    }

    /// The spare became the active segment.
    pub(crate) fn rolled(&self, capacity: u64) {
        let mut state = self.lock();
        state.active_left = capacity;
        state.spare = None;
        drop(state);
        self.changed.notify_waiters();
    }

    /// A spare of `capacity` bytes is allocated.
    pub(crate) fn spare_ready(&self, capacity: u64) {
        let mut state = self.lock();
        state.spare = Some(capacity);
        state.full = false;
        state.wanted = 0;
        drop(state);
        self.changed.notify_waiters();
    }

    /// Gives up the spare, unless what is admitted may need it. `true` if it is given up.
    pub(crate) fn withdraw_spare(&self) -> bool {
        let mut state = self.lock();
        let free = state.admitted <= state.active_left;
        if free {
            state.spare = None;
        }
        free
    }

    /// Has everybody who waits look again.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// No spare could be allocated.
    pub(crate) fn no_space(&self) {
        let mut state = self.lock();
        state.full = true;
        // Whoever wanted a large one is refused now; the next try is for the usual size.
        state.wanted = 0;
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lock().full
    }

    /// The size a group waits for, if the present spare is too small for it.
    pub(crate) fn wanted(&self) -> Option<u64> {
        let state = self.lock();
        (state.wanted > state.spare.unwrap_or(0)).then_some(state.wanted)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn what_is_admitted_fits_into_the_spare() {
        let space = Space::new();
        assert_eq!(space.try_admit(10, Purpose::Data), Admission::Wait);
        space.spare_ready(1 << 20);
        assert_eq!(space.try_admit(900 << 10, Purpose::Data), Admission::Admitted);
        assert_eq!(
            space.try_admit(200 << 10, Purpose::Data),
            Admission::Wait,
            "together they need more than the spare"
        );
        space.written(900 << 10, 850 << 10);
        assert_eq!(space.try_admit(200 << 10, Purpose::Data), Admission::Admitted);
    }

    #[test]
    fn a_full_disk_leaves_room_for_state_and_the_last_of_it_for_trims() {
        let space = Space::new();
        space.spare_ready(1 << 20);
        space.rolled(STATE_RESERVE_FULL + 100);
        space.no_space();
        assert_eq!(space.try_admit(101, Purpose::Data), Admission::Full);
        assert_eq!(space.try_admit(101, Purpose::State), Admission::Admitted);
        space.written(101, STATE_RESERVE_FULL + 100 - CONTROL_RESERVE);
        assert_eq!(space.try_admit(101, Purpose::State), Admission::Full);
        assert_eq!(space.try_admit(101, Purpose::Control), Admission::Admitted);
        space.spare_ready(1 << 20);
        assert_eq!(space.try_admit(101, Purpose::Data), Admission::Admitted);
    }

    #[test]
    fn a_large_group_asks_for_a_larger_spare() {
        let space = Space::new();
        space.spare_ready(1 << 20);
        assert_eq!(space.wanted(), None);
        assert_eq!(space.try_admit(2 << 20, Purpose::Data), Admission::Wait);
        assert_eq!(space.wanted(), Some(2 << 20));
    }

    #[test]
    fn a_spare_that_the_active_segment_was_closed_for_stays() {
        let space = Space::new();
        space.spare_ready(1 << 20);
        space.rolled(1 << 20);
        space.spare_ready(1 << 20);
        assert_eq!(space.try_admit(100, Purpose::Data), Admission::Admitted);
        assert!(space.may_roll_early() && space.withdraw_spare());
        assert!(!space.close_early(), "what is admitted has only the active segment");
        space.spare_ready(1 << 20);
        assert!(space.close_early() && !space.withdraw_spare());
    }

    #[test]
    fn data_takes_turns_and_nothing_else_waits_for_data() {
        let space = Space::new();
        let mut context = Context::from_waker(Waker::noop());
        let (mut first, mut second) = (pin!(space.turn(Purpose::Data)), pin!(space.turn(Purpose::Data)));
        let Poll::Ready(turn) = first.as_mut().poll(&mut context) else { panic!("nobody came before") };
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(matches!(pin!(space.turn(Purpose::State)).poll(&mut context), Poll::Ready(None)));
        drop(turn);
        assert!(matches!(second.as_mut().poll(&mut context), Poll::Ready(Some(_))));
    }
}
