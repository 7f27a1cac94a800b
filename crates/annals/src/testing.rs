//! Tests of the domain in the form given, when, then: no store, no runtime, no clock.
//!
//! Beside the decision they check what a store would stumble over later: every event is written and read back.

use std::fmt::Debug;
use std::marker::PhantomData;

use crate::decider::evolve_all;
use crate::{Decider, Event, variant};

/// What has happened before; the same as [`given`].
///
/// ```
/// # use annals::{Decider, Event};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
/// # enum LampEvent { SwitchedOn, SwitchedOff }
/// # struct Lamp;
/// # #[derive(Debug, PartialEq, thiserror::Error)] #[error("it is on")] struct AlreadyOn;
/// # struct SwitchOn;
/// # impl Decider for Lamp {
/// #     type Command = SwitchOn; type Event = LampEvent; type State = bool; type Error = AlreadyOn;
/// #     const CATEGORY: &'static str = "lamp";
/// #     fn decide(_: &SwitchOn, on: &bool) -> Result<Vec<LampEvent>, AlreadyOn> {
/// #         if *on { Err(AlreadyOn) } else { Ok(vec![LampEvent::SwitchedOn]) }
/// #     }
/// #     fn evolve(_: bool, event: &LampEvent) -> bool { matches!(event, LampEvent::SwitchedOn) }
/// # }
/// use annals::testing::given;
///
/// given::<Lamp>([]).when(SwitchOn).then([LampEvent::SwitchedOn]);
/// given::<Lamp>([LampEvent::SwitchedOn]).when(SwitchOn).then_error(AlreadyOn);
/// given::<Lamp>([LampEvent::SwitchedOn, LampEvent::SwitchedOff]).when(SwitchOn).then_state(&true);
/// ```
#[derive(Debug)]
pub struct Given<D: Decider> {
    state: D::State,
}

/// What has happened before: nothing, if there are no events.
///
/// # Panics
/// If one of the events cannot be written and read back.
pub fn given<D: Decider>(events: impl IntoIterator<Item = D::Event>) -> Given<D> {
    let events: Vec<D::Event> = events.into_iter().map(written_and_read).collect();
    Given { state: evolve_all::<D>(D::State::default(), &events) }
}

#[expect(clippy::needless_pass_by_value, reason = "a test says it once and reads better without a borrow")]
fn written_and_read<E: Event>(event: E) -> E {
    let event_type = event.event_type();
    let data = event.encode().unwrap_or_else(|error| panic!("{error}: {}", error.source));
    variant::from_slice(event_type.variant, &data).unwrap_or_else(|error| {
        panic!(
            "{event_type} is written as {} and cannot be read back: {error}",
            String::from_utf8_lossy(&data)
        )
    })
}

impl<D: Decider> Given<D> {
    /// What somebody wants.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a test says it once and reads better without a borrow"
    )]
    pub fn when(self, command: D::Command) -> When<D> {
        let outcome = D::decide(&command, &self.state);
        When { state: self.state, outcome, decider: PhantomData }
    }

    /// Looks at the state that the events lead to.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    pub fn then_state(self, expected: &D::State) -> Self
    where
        D::State: Debug + PartialEq,
    {
        assert_eq!(&self.state, expected, "the events lead to another state");
        self
    }
}

/// What was decided.
#[must_use = "say what is expected with `then`"]
pub struct When<D: Decider> {
    state: D::State,
    outcome: Result<Vec<D::Event>, D::Error>,
    decider: PhantomData<D>,
}

impl<D: Decider> When<D> {
    /// These events happened and no others.
    ///
    /// # Panics
    /// If something else happened, or the command was refused, or an event cannot be written and read back.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = D::Event>)
    where
        D::Event: Debug + PartialEq,
    {
        let expected: Vec<D::Event> = expected.into_iter().collect();
        assert_eq!(self.events(), expected, "other events happened");
    }

    /// Nothing happened, and that was fine.
    ///
    /// # Panics
    /// If something happened, or the command was refused.
    #[track_caller]
    pub fn then_nothing(self)
    where
        D::Event: Debug + PartialEq,
    {
        self.then([]);
    }

    /// The command was refused with this error.
    ///
    /// # Panics
    /// If it was not, or with another one.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a test says it once and reads better without a borrow"
    )]
    #[track_caller]
    pub fn then_error(self, expected: D::Error)
    where
        D::Event: Debug,
        D::Error: PartialEq,
    {
        match self.outcome {
            Ok(events) => panic!("expected the error {expected:?}, these events happened: {events:?}"),
            Err(error) => assert_eq!(error, expected, "it was refused for another reason"),
        }
    }

    /// What happened leads to this state.
    ///
    /// # Panics
    /// If it leads to another one, or the command was refused.
    #[track_caller]
    pub fn then_state(mut self, expected: &D::State)
    where
        D::State: Debug + PartialEq,
    {
        let state = std::mem::take(&mut self.state);
        let events = self.events();
        assert_eq!(&evolve_all::<D>(state, &events), expected, "what happened leads to another state");
    }

    #[track_caller]
    fn events(self) -> Vec<D::Event> {
        match self.outcome {
            Ok(events) => events.into_iter().map(written_and_read).collect(),
            Err(error) => panic!("the command was refused: {error}"),
        }
    }
}
