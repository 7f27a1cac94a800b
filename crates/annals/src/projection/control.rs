//! What is ordered of projections through the store: to pause, to go on, to be built anew.
//!
//! The orders for a projection are a stream of their own, `~projection.control-NAME`. Each event holds all that is ordered at
//! present, so the last one says everything; whoever gives an order does so on what was ordered before. A projection follows
//! the stream, whatever process it runs in, and finds it again when it is started anew.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::store::{
    Append, AppendError, Expected, NameError, NewEvent, Read, ReadError, Recorded, Revision, Store,
    StreamName, Subscription,
};
use crate::{Clock, ErrorKind, EventStore};

/// The category of the streams of orders.
const CATEGORY: &str = "~projection.control";
/// The names of the events.
const PAUSED: &str = "~ProjectionPaused";
const RESUMED: &str = "~ProjectionResumed";
const REBUILT: &str = "~ProjectionRebuildOrdered";
/// How many orders are kept: the last one says everything.
const ORDERS_KEPT: u64 = 1;
/// How often to give an order again when somebody else gives one at the same time.
const ATTEMPTS_MAX: usize = 20;
/// The store is looked at for orders at most so often. Every event of the store may be one.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long to wait when the store is away, at most.
const AWAY_MAX: Duration = Duration::from_secs(5);

/// What is ordered of a projection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Orders {
    /// To stand where it is.
    pub(super) paused: bool,
    /// Which generation is to be built; 0 is the first one.
    pub(super) generation: u64,
    /// Counts how often somebody has let it go on.
    pub(super) resumed: u64,
}

/// Why an order was not given.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The name cannot be that of a projection.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What was ordered before cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The order was not stored.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl OrderError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name(_) => ErrorKind::Input,
            Self::Read(error) => error.kind(),
            Self::Append(error) => error.kind(),
        }
    }
}

impl EventStore {
    /// Orders the projection or reaction `name` to stand where it is, in whatever process it runs, until
    /// [`EventStore::resume_projection`]. The order is durable: a projection that is started later stands as well.
    ///
    /// # Errors
    /// [`OrderError`]
    pub async fn pause_projection(&self, name: &str) -> Result<(), OrderError> {
        self.order(name, PAUSED, |orders| orders.paused = true).await
    }

    /// Lets the projection or reaction `name` go on after a pause that was ordered, or after a failure whose cause is gone.
    ///
    /// # Errors
    /// [`OrderError`]
    pub async fn resume_projection(&self, name: &str) -> Result<(), OrderError> {
        self.order(name, RESUMED, |orders| {
            orders.paused = false;
            orders.resumed += 1;
        })
        .await
    }

    /// Orders the read model `name` to be built anew from the first event on, beside the present one, which is kept up to date
    /// and read until the new one has caught up and takes its place. An unfinished rebuild is begun again.
    ///
    /// Reactions do not obey: what they have done outside would be done twice.
    ///
    /// # Errors
    /// [`OrderError`]
    pub async fn rebuild_projection(&self, name: &str) -> Result<(), OrderError> {
        self.order(name, REBUILT, |orders| orders.generation += 1).await
    }

    async fn order(&self, name: &str, event: &str, change: impl Fn(&mut Orders)) -> Result<(), OrderError> {
        let stream = stream(name)?;
        let store = self.raw();
        let mut attempt = 0;
        loop {
            let (mut orders, revision) = last(store.as_ref(), &stream).await?;
            change(&mut orders);
            let data = serde_json::json!(orders).to_string();
            let event = NewEvent::own(self.clock(), event, data);
            let append = Append::to(stream.clone(), Expected::after(revision), vec![event]);
            match store.append(append).await {
                Ok(_) => {
                    if revision.is_none() {
                        self.keep_last(&stream, ORDERS_KEPT).await;
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS_MAX => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn stream(name: &str) -> Result<StreamName, NameError> {
    StreamName::of(CATEGORY, name)
}

/// What is ordered at present, and the revision of the last order.
async fn last(store: &dyn Store, stream: &StreamName) -> Result<(Orders, Option<Revision>), ReadError> {
    let page = store.read(Read::stream(stream.clone()).backward().limit(1)).await?;
    Ok(page.events.first().map_or_else(Default::default, |event| (parse(event), Some(event.revision))))
}

fn parse(event: &Recorded) -> Orders {
    serde_json::from_slice(&event.data).unwrap_or_else(|error| {
        tracing::warn!(stream = %event.stream, %error, "an order cannot be understood");
        Orders::default()
    })
}

/// What is known of the orders.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// They were not read yet; the store may be away.
    Nothing(Option<Arc<ReadError>>),
    /// These.
    Orders(Orders),
}

/// Follows the orders for the projection `name`.
pub(super) async fn follow(store: Arc<dyn Store>, clock: Clock, name: String, known: watch::Sender<Known>) {
    let Ok(stream) = stream(&name) else {
        // Nobody can order anything of it then.
        known.send_replace(Known::Orders(Orders::default()));
        return;
    };
    let mut subscription = Subscription::new(store, Read::stream(stream));
    let (mut orders, mut failures) = (Orders::default(), 0_u32);
    loop {
        match subscription.next_batch().await {
            Ok(batch) => {
                failures = 0;
                if let Some(event) = batch.events.last() {
                    orders = parse(event);
                }
                if batch.live {
                    known.send_if_modified(|known| replace(known, orders));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(error) => {
                failures += 1;
                tracing::debug!(projection = %name, %error, failures, "orders cannot be read");
                known.send_if_modified(|known| {
                    let is_new = matches!(known, Known::Nothing(_));
                    if is_new {
                        *known = Known::Nothing(Some(Arc::new(error)));
                    }
                    is_new
                });
                let most = LOOK_EVERY.saturating_mul(1 << failures.min(10)).min(AWAY_MAX).as_millis() as u64;
                tokio::time::sleep(Duration::from_millis(most / 2 + clock.random() % (most / 2 + 1))).await;
            }
        }
    }
}

fn replace(known: &mut Known, orders: Orders) -> bool {
    let is_new = !matches!(known, Known::Orders(before) if *before == orders);
    *known = Known::Orders(orders);
    is_new
}
