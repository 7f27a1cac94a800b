//! Live views: a value in memory that follows the store, made from the first event on at every start.

use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use super::model::{Changes, ModelError, Opened, ReadModel};
use super::{Projection, ProjectionOptions, Status, WaitError};
use crate::store::Position;
use crate::{Envelope, Event, EventStore};

/// A read model in memory.
///
/// ```
/// use annals::projection::LiveView;
/// use annals::{Annals, Envelope, Event};
/// use annals::store::StreamName;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, Serialize, Deserialize)]
/// enum OrderEvent {
///     OrderPlaced { total: u64 },
/// }
///
/// #[derive(Default)]
/// struct Revenue(u64);
///
/// impl LiveView for Revenue {
///     type Event = OrderEvent;
///
///     fn apply(&mut self, event: &Envelope<OrderEvent>) {
///         let OrderEvent::OrderPlaced { total } = event.event;
///         self.0 += total;
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Annals::in_memory().store("shop").await?;
/// let revenue = store.live::<Revenue>();
/// let placed = store.append(StreamName::of("order", "1")?, vec![OrderEvent::OrderPlaced { total: 30 }]).await?;
/// revenue.wait_for(placed.position).await?;
/// assert_eq!(revenue.read(|revenue| revenue.0), 30);
/// # Ok(()) }
/// ```
pub trait LiveView: Default + Send + Sync + 'static {
    /// The events that it looks at.
    type Event: Event;

    /// Takes in one event.
    fn apply(&mut self, event: &Envelope<Self::Event>);
}

/// A view in memory is always of the version that its program has.
const VERSION: u32 = 1;

/// What readers see.
#[derive(Debug, Default)]
struct Shown<V> {
    view: V,
    /// Which model made it; earlier ones leave it alone.
    serial: u32,
}

/// A handle to a live view. The view is no longer kept up to date when this is dropped.
#[derive(Debug)]
pub struct Live<V> {
    shared: Arc<RwLock<Shown<V>>>,
    projection: Projection,
}

impl<V: LiveView> Live<V> {
    /// Looks at the view. Keep it short: changes wait meanwhile.
    pub fn read<R>(&self, look: impl FnOnce(&V) -> R) -> R {
        look(&self.shared.read().unwrap_or_else(PoisonError::into_inner).view)
    }

    /// Waits until the view shows everything up to `position`, to read one's own writes.
    ///
    /// # Errors
    /// If the view has stopped at an event.
    pub async fn wait_for(&self, position: Position) -> Result<(), WaitError> {
        self.projection.wait_for(position).await
    }

    /// Waits until the view has seen everything that was there.
    ///
    /// # Errors
    /// If the view has stopped at an event.
    pub async fn ready(&self) -> Result<(), WaitError> {
        self.projection.ready().await
    }

    /// Where it stands and how it does.
    pub fn status(&self) -> Status {
        self.projection.status()
    }

    /// Lets it go on after a failure, from the first event on.
    pub fn resume(&self) {
        self.projection.resume();
    }

    /// Makes the view anew from the first event on, beside the present one, which is read until the new one has caught up.
    ///
    /// # Errors
    /// If the new one stops at an event. The present one stays then.
    pub async fn rebuild(&mut self) -> Result<(), WaitError> {
        self.projection.rebuild_here().await
    }
}

impl EventStore {
    /// Keeps a view in memory up to date in a task.
    pub fn live<V: LiveView>(&self) -> Live<V> {
        self.live_with(ProjectionOptions::default())
    }

    /// Like [`EventStore::live`], with options.
    pub fn live_with<V: LiveView>(&self, options: ProjectionOptions) -> Live<V> {
        let shared = Arc::new(RwLock::new(Shown::default()));
        let model = Memory { shared: Arc::clone(&shared), building: None, serial: 1, generation: 0 };
        Live { shared, projection: self.project_with(model, options) }
    }
}

/// A view that is being made, and then the one that readers see.
struct Memory<V> {
    shared: Arc<RwLock<Shown<V>>>,
    /// The view until it has caught up.
    building: Option<V>,
    /// Counts the models of this view.
    serial: u32,
    generation: u64,
}

impl<V: LiveView> Memory<V> {
    /// What readers see, if it is still this model's.
    fn shown(&self) -> Result<RwLockWriteGuard<'_, Shown<V>>, ModelError> {
        let shown = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        if shown.serial > self.serial {
            return Err(ModelError::Superseded { version: VERSION });
        }
        Ok(shown)
    }
}

impl<V: LiveView> ReadModel for Memory<V> {
    type Event = V::Event;

    fn name(&self) -> &str {
        std::any::type_name::<V>()
    }

    fn version(&self) -> u32 {
        VERSION
    }

    async fn open(&mut self) -> Result<Opened, ModelError> {
        // Whatever an interruption has left of a view, it is made anew, and nothing is applied to it twice.
        self.building = Some(V::default());
        Ok(Opened { position: None, active: false, generation: self.generation })
    }

    async fn apply(&mut self, batch: Changes<V::Event>) -> Result<(), ModelError> {
        if let Some(view) = &mut self.building {
            return apply_all(view, &batch.events);
        }
        apply_all(&mut self.shown()?.view, &batch.events)
    }

    async fn activate(&mut self) -> Result<(), ModelError> {
        let built = self.building.take();
        let mut shown = self.shown()?;
        if let Some(view) = built {
            *shown = Shown { view, serial: self.serial };
        }
        Ok(())
    }

    fn anew(&self, generation: u64) -> Option<Self> {
        let shown = self.shared.read().unwrap_or_else(PoisonError::into_inner).serial;
        let serial = shown.max(self.serial) + 1;
        Some(Self { shared: Arc::clone(&self.shared), building: None, serial, generation })
    }
}

fn apply_all<V: LiveView>(view: &mut V, events: &[Envelope<V::Event>]) -> Result<(), ModelError> {
    for event in events {
        let call = std::panic::AssertUnwindSafe(|| view.apply(event));
        std::panic::catch_unwind(call).map_err(|panic| ModelError::panicked(event.position, &panic))?;
    }
    Ok(())
}
