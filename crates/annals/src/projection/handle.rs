//! What a program holds of a projection that runs in it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::model::ReadModel;
use super::runner::Kind;
use super::status::{Phase, Status, WaitError};
use super::supervisor::Supervisor;
use crate::EventStore;
use crate::store::Position;

/// How a projection runs.
#[derive(Clone, Copy, Debug)]
pub struct ProjectionOptions {
    /// The most events of one transaction. More is faster to catch up, less keeps locks shorter.
    pub batch_events_max: usize,
    /// The first pause when the database is away; it doubles up to [`ProjectionOptions::pause_max`].
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// Passes over events at which the projection's function fails, with an error in the log, instead of stopping.
    pub skip_failures: bool,
    /// Whether and how often it says in the store how it does, for [`EventStore::projections`].
    pub reports: Reports,
}

/// How often a projection says in its store how it does. It says nothing while nothing changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reports {
    /// At most every 2 s; not at all in a store in memory, into which nobody else can look.
    #[default]
    Auto,
    /// At most once in this time.
    Every(Duration),
    /// Not at all.
    Never,
}

impl Reports {
    pub(super) fn every(self, is_private: bool) -> Option<Duration> {
        match self {
            Self::Auto => (!is_private).then_some(Duration::from_secs(2)),
            Self::Every(every) => Some(every),
            Self::Never => None,
        }
    }
}

impl Default for ProjectionOptions {
    fn default() -> Self {
        Self {
            batch_events_max: 500,
            pause: Duration::from_millis(100),
            pause_max: Duration::from_secs(10),
            skip_failures: false,
            reports: Reports::Auto,
        }
    }
}

/// What the program itself wants of it. Whoever orders something through the store is asked besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) kind: Kind,
    /// Counts how often somebody has let it go on.
    pub(super) resumed: u64,
}

/// Who waits for a model that is built anew.
pub(super) type Rebuilt = oneshot::Sender<Result<(), WaitError>>;

/// A projection that runs; made by [`EventStore::project`]. It ends when this is dropped.
///
/// Besides this handle it obeys what is ordered through the store, by whatever process: [`EventStore::pause_projection`],
/// [`EventStore::resume_projection`] and [`EventStore::rebuild_projection`].
#[derive(Debug)]
pub struct Projection {
    local: watch::Sender<Local>,
    rebuild: mpsc::Sender<Rebuilt>,
    status: watch::Receiver<Status>,
    task: JoinSet<()>,
}

impl Projection {
    /// Where it stands and how it does.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until the read model shows everything up to `position`: that of a command's answer, to read one's own writes.
    ///
    /// # Errors
    /// If the projection has stopped or was superseded. It goes on waiting while a database is away.
    pub async fn wait_for(&self, position: Position) -> Result<(), WaitError> {
        self.wait_until(|status| status.serves && status.position >= Some(position)).await
    }

    /// Waits until it has caught up and readers see it.
    ///
    /// # Errors
    /// If the projection has stopped or was superseded.
    pub async fn ready(&self) -> Result<(), WaitError> {
        self.wait_until(|status| status.serves).await
    }

    async fn wait_until(&self, reached: impl Fn(&Status) -> bool) -> Result<(), WaitError> {
        let mut status = self.status.clone();
        let ended = status.wait_for(|status| reached(status) || status.error_for_good().is_some()).await;
        match ended {
            Ok(status) if reached(&status) => Ok(()),
            Ok(status) => Err(WaitError::Stopped(status.error_for_good())),
            Err(_) => Err(WaitError::Stopped(None)),
        }
    }

    /// Lets it stand where it is until [`Projection::resume`]. Returns when it stands.
    pub async fn pause(&self) {
        self.local.send_modify(|local| local.kind = Kind::Pause);
        let mut status = self.status.clone();
        // An error means that the task is over: it stands for good.
        let _ = status
            .wait_for(|status| status.phase == Phase::Paused || status.error_for_good().is_some())
            .await;
    }

    /// Lets it go on: after [`Projection::pause`], or after a failure whose cause is gone. A pause that was ordered through the
    /// store stays.
    pub fn resume(&self) {
        self.local.send_modify(|local| {
            *local = Local { kind: Kind::Run, resumed: local.resumed + 1 };
        });
    }

    /// Builds the model anew beside the present one, in this process alone.
    pub(super) async fn rebuild_here(&self) -> Result<(), WaitError> {
        let (rebuilt, done) = oneshot::channel();
        // If nobody takes it, or nobody answers, the task is over.
        let _ = self.rebuild.send(rebuilt).await;
        done.await.unwrap_or(Err(WaitError::Stopped(None)))
    }

    /// Ends it and waits for that. The batch under way is finished.
    pub async fn stop(mut self) {
        self.local.send_modify(|local| local.kind = Kind::Stop);
        while self.task.join_next().await.is_some() {}
    }
}

impl EventStore {
    /// Keeps `model` up to date in a task.
    pub fn project<M: ReadModel>(&self, model: M) -> Projection {
        self.project_with(model, ProjectionOptions::default())
    }

    /// Like [`EventStore::project`], with options.
    pub fn project_with<M: ReadModel>(&self, model: M, options: ProjectionOptions) -> Projection {
        let (local, wanted) = watch::channel(Local { kind: Kind::Run, resumed: 0 });
        let (rebuild, rebuilds) = mpsc::channel(1);
        let (shown, status) = watch::channel(Status::default());
        let mut task = JoinSet::new();
        let supervisor = Supervisor::new(self.clone(), &model, options, wanted, rebuilds, shown);
        task.spawn(supervisor.run(model));
        Projection { local, rebuild, status, task }
    }
}
