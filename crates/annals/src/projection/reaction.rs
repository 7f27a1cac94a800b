//! Reactions: what is done because of events and cannot be undone by replaying them. A mail, a call, a command.
//!
//! A reaction has its own place in the store (the stream `~reaction-NAME`), which has nothing to do with read models and their
//! versions: rebuilding one never repeats a mail. Invariant: an event whose reaction was done and kept is never given
//! again; one whose reaction was done when the process ended before keeping it is given once more, with the same id. So a
//! reaction passes the event's id on as idempotency key, and a command to a store with that key has its effect once.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;

use super::model::{Changes, ModelError, Opened, ReadModel};
use super::{Projection, ProjectionOptions};
use crate::store::{
    Append, AppendError, Expected, NameError, NewEvent, Position, Read, ReadError, Revision, Store,
    StreamName,
};
use crate::{Envelope, Event, EventStore};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The name of the event that keeps a place.
const MOVED: &str = "~ReactionMoved";
/// How many places of a reaction are kept: the last one says everything.
const PLACES_KEPT: u64 = 1;

/// What is done because of events.
///
/// Run it in one process at a time: a second one would do the same, and the slower of both finds out only when it keeps its
/// place.
pub trait Reaction: Send + 'static {
    /// The events that it looks at.
    type Event: Event;

    /// What it is called: its place is kept under this name.
    const NAME: &'static str;

    /// Where it begins when it has no place yet.
    const START: StartAt = StartAt::FirstEvent;

    /// Does what is to be done because of `event`, with [`Envelope::id`] as idempotency key.
    ///
    /// # Errors
    /// [`ReactionError::Later`] to be asked again after a pause, [`ReactionError::Wrong`] to stop at this event.
    fn react(
        &mut self,
        event: &Envelope<Self::Event>,
    ) -> impl Future<Output = Result<(), ReactionError>> + Send;
}

/// Where a reaction begins when it is started for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// With everything that has ever happened.
    FirstEvent,
    /// With what happens from now on.
    Now,
}

/// Why a reaction did not do what was to be done.
#[derive(Debug)]
pub enum ReactionError {
    /// Something is away; it may work later.
    Later(BoxError),
    /// It will not work until somebody changes something.
    Wrong(BoxError),
}

impl EventStore {
    /// Lets `reaction` see the events, one after the other, in a task. The handle is that of a projection.
    pub fn react<R: Reaction>(&self, reaction: R) -> Projection {
        self.react_with(reaction, ProjectionOptions::default())
    }

    /// Like [`EventStore::react`], with options.
    pub fn react_with<R: Reaction>(&self, reaction: R, options: ProjectionOptions) -> Projection {
        let model = Reacting { store: self.clone(), reaction, kept: None, place: None };
        self.project_with(model, options)
    }
}

struct Reacting<R> {
    store: EventStore,
    reaction: R,
    /// The revision at which the place was kept.
    kept: Option<Revision>,
    /// Up to where reactions were done, kept or not.
    place: Option<Position>,
}

impl<R: Reaction> ReadModel for Reacting<R> {
    type Event = R::Event;

    fn name(&self) -> &str {
        R::NAME
    }

    fn version(&self) -> u32 {
        1
    }

    async fn open(&mut self) -> Result<Opened, ModelError> {
        let read = Read::stream(stream::<R>()?).backward().limit(1);
        let page = self.store.inner.store.read(read).await.map_err(unavailable)?;
        self.kept = page.events.first().map(|event| event.revision);
        let kept: Option<Position> = match page.events.first() {
            Some(event) => {
                serde_json::from_slice(&event.data).map_err(|error| ModelError::Setup(error.into()))?
            }
            None => self.first_place().await?,
        };
        // What was done but could not be kept is kept with the next batch and not done again by this process.
        self.place = self.place.max(kept);
        Ok(Opened { position: self.place, active: true, generation: 0 })
    }

    async fn apply(&mut self, batch: Changes<R::Event>) -> Result<(), ModelError> {
        let mut outcome = Ok(());
        let done = self.place;
        for event in batch.events.iter().filter(|event| Some(event.position) > done) {
            outcome = self.react(event).await;
            if outcome.is_err() {
                break;
            }
            self.place = Some(event.position);
        }
        if outcome.is_ok() {
            self.place = self.place.max(Some(batch.through));
        }
        self.keep().await?;
        outcome
    }

    async fn activate(&mut self) -> Result<(), ModelError> {
        Ok(())
    }
}

impl<R: Reaction> Reacting<R> {
    /// The place of a reaction that has none yet. It is kept at once: "now" must not move with a restart.
    async fn first_place(&mut self) -> Result<Option<Position>, ModelError> {
        if R::START == StartAt::FirstEvent {
            return Ok(None);
        }
        self.place = self.store.inner.store.head().await.map_err(unavailable)?;
        self.keep().await?;
        Ok(self.place)
    }

    async fn react(&mut self, event: &Envelope<R::Event>) -> Result<(), ModelError> {
        let position = event.position;
        match std::panic::AssertUnwindSafe(self.reaction.react(event)).catch_unwind().await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ReactionError::Later(source))) => Err(ModelError::Unavailable(source)),
            Ok(Err(ReactionError::Wrong(source))) => Err(ModelError::Handler { position, source }),
            Err(panic) => Err(ModelError::panicked(position, &panic)),
        }
    }

    /// Keeps the place, under the condition that no other process has moved it.
    async fn keep(&mut self) -> Result<(), ModelError> {
        let data = serde_json::json!(self.place).to_string();
        let event = NewEvent::own(&self.store.inner.clock, MOVED, data);
        let stream = stream::<R>()?;
        let append = Append::to(stream.clone(), Expected::after(self.kept), vec![event]);
        let store: &Arc<dyn Store> = &self.store.inner.store;
        match store.append(append).await {
            Ok(appended) => {
                let is_first = self.kept.is_none();
                self.kept = appended.revisions.first().map(|(_, revision)| *revision);
                if is_first {
                    self.store.keep_last(&stream, PLACES_KEPT).await;
                }
                Ok(())
            }
            Err(AppendError::Conflict { .. }) => {
                Err(ModelError::Moved { expected: self.place, actual: None })
            }
            Err(error) => Err(ModelError::Unavailable(error.into())),
        }
    }
}

fn stream<R: Reaction>() -> Result<StreamName, ModelError> {
    let name = StreamName::of("~reaction", R::NAME);
    name.map_err(|error: NameError| ModelError::Setup(error.into()))
}

fn unavailable(error: ReadError) -> ModelError {
    ModelError::Unavailable(error.into())
}
