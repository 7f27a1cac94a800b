//! The task that keeps a read model up to date.
//!
//! Read a batch, apply it, say where it stands; and when it has caught up for the first time, let readers see it. What fails
//! is told apart by what helps: a database that is away is asked again, ever less often; a function that fails or panics
//! stops the projection at that event, with the error in its status, until somebody resumes it. The model's own checkpoint
//! says where to go on, so it does not matter when and where the task ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::handle::ProjectionOptions;
use super::model::{Changes, ModelError, Opened, ReadModel, wanted};
use super::status::{Phase, ProjectionError, Status};
use crate::store::{Batch, Position, Read};
use crate::upcast::panic_message;
use crate::{Envelope, ErrorKind, EventStore};

/// How events without a meaning for the model may pass before the checkpoint is kept all the same.
const IDLE_POSITIONS_MAX: u64 = 10_000;

/// What somebody wants a runner to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Run,
    Pause,
    Stop,
}

/// When a model that has caught up takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Not before it is told.
    Wait,
    /// As soon as it has come so far.
    From(Option<Position>),
}

/// All that somebody wants of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) kind: Kind,
    pub(super) turn: Turn,
    /// Counts how often somebody has let it go on.
    pub(super) resumed: u64,
}

impl Wish {
    fn lets_activate(self, position: Option<Position>) -> bool {
        matches!(self.turn, Turn::From(least) if position >= least)
    }
}

/// A model that is kept up to date in a task, until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) wish: watch::Sender<Wish>,
    pub(super) status: watch::Receiver<Status>,
    task: JoinSet<()>,
    has_ended: bool,
}

impl Running {
    pub(super) fn start<M: ReadModel>(
        store: &EventStore,
        model: M,
        options: ProjectionOptions,
        wish: Wish,
    ) -> Self {
        let (wish, wishes) = watch::channel(wish);
        let (sender, status) = watch::channel(Status::default());
        let opened = Opened { position: None, active: false, generation: 0 };
        let (store, skip) = (store.clone(), BTreeSet::new());
        let runner = Runner {
            store,
            model,
            options,
            wishes,
            status: sender,
            opened,
            saved: None,
            is_live: false,
            skip,
        };
        let mut task = JoinSet::new();
        task.spawn(runner.run());
        Self { wish, status, task, has_ended: false }
    }

    /// Waits until its status changes.
    pub(super) async fn moved(&mut self) {
        if self.has_ended {
            return std::future::pending().await;
        }
        self.has_ended = self.status.changed().await.is_err();
    }

    /// Ends it and waits for that. What is under way is finished.
    pub(super) async fn stop(mut self) {
        self.wish.send_modify(|wish| wish.kind = Kind::Stop);
        while self.task.join_next().await.is_some() {}
    }

    /// Whether it changes nothing until somebody wants something else.
    pub(super) fn stands(&self) -> bool {
        let phase = self.status.borrow().phase;
        self.has_ended || matches!(phase, Phase::Paused | Phase::Stopped | Phase::Superseded)
    }

    /// Whether its model was opened.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.status.borrow().phase, Phase::CatchingUp | Phase::Live | Phase::Paused)
    }
}

struct Runner<M> {
    store: EventStore,
    model: M,
    options: ProjectionOptions,
    wishes: watch::Receiver<Wish>,
    status: watch::Sender<Status>,
    /// Where the model stands.
    opened: Opened,
    /// The position that the model has kept itself.
    saved: Option<Position>,
    /// Whether it has seen everything that there is.
    is_live: bool,
    /// Events to pass over, however often they are met again.
    skip: BTreeSet<Position>,
}

/// Why following has ended.
enum End {
    /// Somebody wants it.
    Wish,
    Error(ProjectionError),
}

impl From<ModelError> for End {
    fn from(error: ModelError) -> Self {
        Self::Error(error.into())
    }
}

impl<M: ReadModel> Runner<M> {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let before = self.opened.position;
            let Err(end) = self.follow().await;
            if self.opened.position > before {
                failures = 0;
            }
            let kind = self.wishes.borrow_and_update().kind;
            match (kind, end) {
                (Kind::Stop, _) => return,
                (Kind::Pause, _) => self.stand(Phase::Paused, None).await,
                (Kind::Run, End::Wish) => {}
                (Kind::Run, End::Error(error)) => {
                    failures += 1;
                    if !self.recover(error, failures).await {
                        return;
                    }
                }
            }
        }
    }

    /// Follows the store until it fails or somebody wants something else.
    async fn follow(&mut self) -> Result<std::convert::Infallible, End> {
        let opened = std::panic::AssertUnwindSafe(self.model.open()).catch_unwind().await;
        self.opened = opened.map_err(|panic| ModelError::Setup(panic_message(&panic).into()))??;
        self.saved = self.opened.position;
        self.is_live = false;
        self.tell(Phase::CatchingUp, None);
        let mut read =
            Read::all().matching(wanted::<M>(&self.store)).limit(self.options.batch_events_max.max(1));
        read.from = self.opened.position.map(|position| position.next().0);
        let mut subscription = self.store.subscribe(read);
        loop {
            let mut wishes = self.wishes.clone();
            let (waits, position) = (self.is_live && !self.opened.active, self.opened.position);
            let wanted = |wish: &Wish| wish.kind != Kind::Run || (waits && wish.lets_activate(position));
            let next = tokio::select! {
                biased;
                changed = wishes.wait_for(wanted) => Err(changed.is_ok_and(|wish| wish.kind == Kind::Run)),
                batch = subscription.next_batch() => Ok(batch),
            };
            match next {
                Ok(batch) => self.take(batch.map_err(|error| End::Error(error.into()))?).await?,
                Err(true) => {
                    self.activate().await?;
                    self.tell(Phase::Live, None);
                }
                Err(false) => return Err(End::Wish),
            }
        }
    }

    async fn activate(&mut self) -> Result<(), ModelError> {
        self.model.activate().await?;
        self.opened.active = true;
        Ok(())
    }

    async fn take(&mut self, batch: Batch) -> Result<(), End> {
        let mut events = Vec::with_capacity(batch.events.len());
        for recorded in batch.events {
            if self.skip.contains(&recorded.position) {
                tracing::error!(projection = self.model.name(), position = %recorded.position, "an event is passed over");
                continue;
            }
            events.extend(
                self.store
                    .inner
                    .codec
                    .read::<M::Event>(recorded)
                    .map_err(|error| End::Error(error.into()))?,
            );
        }
        if let Some(through) = batch.through {
            self.apply(events, through).await?;
        }
        self.is_live = batch.live;
        let wish = *self.wishes.borrow();
        if batch.live && !self.opened.active && wish.lets_activate(self.opened.position) {
            self.activate().await?;
        }
        self.tell(if batch.live { Phase::Live } else { Phase::CatchingUp }, None);
        Ok(())
    }

    async fn apply(&mut self, events: Vec<Envelope<M::Event>>, through: Position) -> Result<(), End> {
        let idle = through.0.saturating_sub(self.saved.map_or(0, |saved| saved.0));
        if !events.is_empty() || idle > IDLE_POSITIONS_MAX {
            let first = events.first().map_or(through, |event| event.position);
            let changes = Changes { events, from: self.saved, through };
            let applied = std::panic::AssertUnwindSafe(self.model.apply(changes)).catch_unwind().await;
            applied.map_err(|panic| End::from(ModelError::panicked(first, &panic)))??;
            self.saved = Some(through);
        }
        self.opened.position = Some(through);
        Ok(())
    }

    /// Waits until it makes sense to try again; `false` if it never will.
    async fn recover(&mut self, error: ProjectionError, failures: u32) -> bool {
        let error = Arc::new(error);
        match error.kind() {
            ErrorKind::Unavailable if error.is_superseded(self.model.version()) => {
                self.tell(Phase::Superseded, Some(error));
                return false;
            }
            ErrorKind::Retry | ErrorKind::Unavailable => self.wait(error, failures).await,
            ErrorKind::Input | ErrorKind::Conflict | ErrorKind::Corrupt | ErrorKind::Bug => {
                match error.position().filter(|_| self.options.skip_failures) {
                    Some(position) => {
                        tracing::error!(projection = self.model.name(), %error, "a projection cannot apply an event");
                        self.skip.insert(position);
                    }
                    None => {
                        tracing::error!(projection = self.model.name(), %error, "a projection has stopped");
                        self.stand(Phase::Stopped, Some(error)).await;
                    }
                }
            }
        }
        self.wishes.borrow().kind != Kind::Stop
    }

    /// Stands still until somebody wants something else.
    async fn stand(&mut self, phase: Phase, error: Option<Arc<ProjectionError>>) {
        self.tell(phase, error);
        let _ = self.wishes.changed().await;
        while self.wishes.borrow().kind == Kind::Pause && self.wishes.changed().await.is_ok() {}
    }

    /// Waits for a database or a store to return.
    async fn wait(&mut self, error: Arc<ProjectionError>, failures: u32) {
        tracing::warn!(projection = self.model.name(), %error, failures, "a projection waits");
        self.tell(Phase::Waiting, Some(error));
        let doubled = self.options.pause.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let most = doubled.min(self.options.pause_max).as_millis() as u64;
        let pause = Duration::from_millis(most / 2 + self.store.inner.clock.random() % (most / 2 + 1));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.wishes.changed() => {}
        }
    }

    fn tell(&self, phase: Phase, error: Option<Arc<ProjectionError>>) {
        let Opened { position, active, generation } = self.opened;
        self.status.send_replace(Status {
            phase,
            position,
            serves: active,
            error,
            generation,
            rebuild: None,
        });
    }
}
