//! What stands between a projection and those who want something of it: its own process and, through the store, all others.
//!
//! A read model that is built anew is a second one beside the first, the *successor*, in a task of its own. When it has caught up
//! the present one is made to stand, so that it cannot run ahead; the successor goes on to at least that place, becomes the
//! one that readers see, and takes the present one's place here. Invariant: what readers have seen they see ever after.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::control::{self, Known, Orders};
use super::handle::{Local, ProjectionOptions, Rebuilt};
use super::model::ReadModel;
use super::report::Reporter;
use super::runner::{Kind, Running, Turn, Wish};
use super::status::{Phase, ProjectionError, Rebuild, Status, WaitError};
use crate::EventStore;

/// Why a model is not built anew.
const REFUSED: &str =
    "it cannot be built anew: raise its version instead; what a reaction has done stays done";

pub(super) struct Supervisor<M> {
    store: EventStore,
    options: ProjectionOptions,
    local: watch::Receiver<Local>,
    rebuilds: mpsc::Receiver<Rebuilt>,
    shown: watch::Sender<Status>,
    orders: Orders,
    known: watch::Receiver<Known>,
    /// What its successors are made from; none if it can have none.
    template: Option<M>,
    reporter: Option<Reporter>,
    /// Follows the orders and publishes the status.
    tasks: JoinSet<()>,
}

/// The models that run.
struct Models {
    current: Running,
    successor: Option<Successor>,
    /// The present one stands so that its successor can take its place.
    is_held: bool,
    /// A generation that was ordered and cannot be.
    refused: Option<u64>,
}

struct Successor {
    running: Running,
    generation: u64,
    /// Who waits for it, if it is this process alone that wants it.
    rebuilt: Option<Rebuilt>,
}

/// What has happened.
enum News {
    Local,
    Orders,
    Rebuild(Rebuilt),
    Moved,
}

impl<M: ReadModel> Supervisor<M> {
    pub(super) fn new(
        store: EventStore,
        model: &M,
        options: ProjectionOptions,
        local: watch::Receiver<Local>,
        rebuilds: mpsc::Receiver<Rebuilt>,
        shown: watch::Sender<Status>,
    ) -> Self {
        let (sender, known) = watch::channel(Known::Nothing(None));
        let mut tasks = JoinSet::new();
        let clock = store.clock().clone();
        tasks.spawn(control::follow(store.raw().clone(), clock, model.name().to_owned(), sender));
        let every = options.reports.every(store.raw().is_private());
        let reporter = Reporter::new(store.clone(), model.name(), model.version(), every);
        if let Some(reporter) = reporter.clone() {
            tasks.spawn(reporter.run(shown.subscribe()));
        }
        let (template, orders) = (model.anew(0), Orders::default());
        Self { store, options, local, rebuilds, shown, orders, known, template, reporter, tasks }
    }

    pub(super) async fn run(mut self, model: M) {
        if self.wait_for_orders().await {
            self.supervise(model).await;
        }
        self.tasks.shutdown().await;
        if let Some(reporter) = self.reporter.take() {
            let last = self.shown.borrow().clone();
            if last.phase != Phase::Starting {
                reporter.end(&last).await;
            }
        }
    }

    /// Waits until it is known what is ordered; `false` if nobody wants the projection any more.
    async fn wait_for_orders(&mut self) -> bool {
        loop {
            match self.known.borrow_and_update().clone() {
                Known::Orders(orders) => {
                    self.orders = orders;
                    return true;
                }
                Known::Nothing(None) => {}
                Known::Nothing(Some(error)) => {
                    let error = ProjectionError::Read(error.as_ref().clone());
                    let (phase, error) = (Phase::Waiting, Some(error.into()));
                    self.shown.send_replace(Status { phase, error, ..Status::default() });
                }
            }
            tokio::select! {
                stopped = self.local.wait_for(|local| local.kind == Kind::Stop) => {
                    drop(stopped);
                    return false;
                }
                changed = self.known.changed() => if changed.is_err() { return false },
            }
        }
    }

    async fn supervise(&mut self, model: M) {
        let wish = self.wish(Turn::From(None), false);
        let current = Running::start(&self.store, model, self.options, wish);
        let mut models = Models { current, successor: None, is_held: false, refused: None };
        loop {
            match self.news(&mut models).await {
                News::Local if self.local.borrow_and_update().kind == Kind::Stop => break,
                News::Local | News::Moved => {}
                News::Orders => {
                    if let Known::Orders(orders) = *self.known.borrow_and_update() {
                        self.orders = orders;
                    }
                }
                News::Rebuild(rebuilt) => {
                    let generation = models.current.status.borrow().generation;
                    self.build_anew(&mut models, generation, Some(rebuilt));
                }
            }
            self.obey_rebuild(&mut models);
            models.swap().await;
            self.tell_wishes(&models);
            self.show(&models);
        }
        models.current.stop().await;
        if let Some(successor) = models.successor {
            successor.running.stop().await;
        }
    }

    async fn news(&mut self, models: &mut Models) -> News {
        let successor = async {
            match &mut models.successor {
                Some(successor) => successor.running.moved().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // Nobody holds the projection any more: its task is about to be dropped.
            changed = self.local.changed() => if changed.is_err() { std::future::pending().await } else { News::Local },
            Ok(()) = self.known.changed() => News::Orders,
            Some(rebuilt) = self.rebuilds.recv() => News::Rebuild(rebuilt),
            () = models.current.moved() => News::Moved,
            () = successor => News::Moved,
        }
    }

    fn wish(&self, turn: Turn, is_held: bool) -> Wish {
        let local = *self.local.borrow();
        let kind = match local.kind {
            Kind::Run if self.orders.paused || is_held => Kind::Pause,
            kind => kind,
        };
        Wish { kind, turn, resumed: local.resumed + self.orders.resumed }
    }

    fn tell_wishes(&self, models: &Models) {
        let tell = |running: &Running, is_held| {
            running.wish.send_if_modified(|wish| {
                let wanted = self.wish(wish.turn, is_held);
                std::mem::replace(wish, wanted) != wanted
            });
        };
        tell(&models.current, models.is_held);
        if let Some(successor) = &models.successor {
            tell(&successor.running, false);
        }
    }

    /// Begins a rebuild that was ordered and not begun yet.
    fn obey_rebuild(&mut self, models: &mut Models) {
        let wanted = self.orders.generation;
        let current = models.current.status.borrow().generation;
        let begun = models.successor.as_ref().map_or(current, |successor| successor.generation);
        if models.current.is_open() && wanted > begun && models.refused != Some(wanted) {
            self.build_anew(models, wanted, None);
        }
    }

    fn build_anew(&mut self, models: &mut Models, generation: u64, rebuilt: Option<Rebuilt>) {
        let Some(model) = self.template.as_ref().and_then(|template| template.anew(generation)) else {
            tracing::warn!(generation, "a rebuild was ordered of what cannot be built anew");
            models.refused = Some(generation);
            return;
        };
        let present = models.current.status.borrow().clone();
        let is_empty = present.position.is_none() && !present.serves && rebuilt.is_none();
        let turn = if is_empty { Turn::From(None) } else { Turn::Wait };
        let wish = self.wish(turn, false);
        let running = Running::start(&self.store, model, self.options, wish);
        models.is_held = false;
        if is_empty {
            // There is nothing yet that it would stand beside.
            models.current = running;
        } else {
            models.successor = Some(Successor { running, generation, rebuilt });
        }
    }

    fn show(&self, models: &Models) {
        let mut status = models.current.status.borrow().clone();
        let wanted = self.wish(Turn::Wait, false).kind;
        if models.is_held && status.phase == Phase::Paused && wanted == Kind::Run {
            // That it stands for a moment is nobody's business.
            status.phase = Phase::Live;
        }
        let successor = models.successor.as_ref().map(|successor| {
            let Status { phase, position, error, .. } = successor.running.status.borrow().clone();
            let error = error.map(|error| error.to_string());
            Rebuild { generation: successor.generation, phase, position, error }
        });
        let refused = models.refused.filter(|refused| *refused == self.orders.generation);
        status.rebuild = successor.or_else(|| {
            let error = Some(REFUSED.to_owned());
            refused.map(|generation| Rebuild { generation, phase: Phase::Stopped, position: None, error })
        });
        self.shown.send_replace(status);
    }
}

impl Models {
    /// Lets a successor that has caught up take the place of the present one, step by step.
    async fn swap(&mut self) {
        let Some(successor) = &mut self.successor else { return };
        let status = successor.running.status.borrow().clone();
        if status.serves {
            let Some(successor) = self.successor.take() else { return };
            let before = std::mem::replace(&mut self.current, successor.running);
            before.stop().await;
            self.is_held = false;
            if let Some(rebuilt) = successor.rebuilt {
                // Whoever asked may have gone.
                let _ = rebuilt.send(Ok(()));
            }
            return;
        }
        match status.phase {
            Phase::Stopped => {
                self.is_held = false;
                if let Some(rebuilt) = successor.rebuilt.take() {
                    let _ = rebuilt.send(Err(WaitError::Stopped(status.error)));
                    self.successor = None;
                }
            }
            Phase::Live if !self.is_held => self.is_held = true,
            Phase::Live if self.current.stands() => {
                let turn = Turn::From(self.current.status.borrow().position);
                successor
                    .running
                    .wish
                    .send_if_modified(|wish| std::mem::replace(&mut wish.turn, turn) != turn);
            }
            _ => {}
        }
    }
}
