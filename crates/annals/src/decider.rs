//! The domain as two pure functions, after Jérémie Chassaing's functional event sourcing decider.

use crate::Event;

/// An aggregate: what may be done to it, and what has happened to it.
///
/// Both functions are pure: no clock, no randomness, no I/O. What a decision needs from outside (the time, a rate) comes in
/// the command. So a decision can be taken again when somebody else was faster, and a test needs no store at all
/// ([`crate::testing::given`]).
pub trait Decider: Send + Sync + 'static {
    /// What somebody wants.
    type Command: Send + Sync;
    /// What happened.
    type Event: Event;
    /// What a decision must know; `default` is the state before the first event.
    type State: Default + Send + Sync + 'static;
    /// Why a command is refused.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The first part of the stream's name: the aggregate `123` of category `account` lives in the stream `account-123`.
    const CATEGORY: &'static str;

    /// Decides what happens because of `command`. No events: nothing happens, and that is fine.
    ///
    /// # Errors
    /// If the rules refuse the command. Nothing is stored then.
    fn decide(command: &Self::Command, state: &Self::State) -> Result<Vec<Self::Event>, Self::Error>;

    /// The state after `event`. Must accept every event that was ever stored: the past cannot be refused.
    fn evolve(state: Self::State, event: &Self::Event) -> Self::State;
}

/// Folds events into a state.
pub(crate) fn evolve_all<'e, D: Decider>(
    state: D::State,
    events: impl IntoIterator<Item = &'e D::Event>,
) -> D::State {
    events.into_iter().fold(state, D::evolve)
}
