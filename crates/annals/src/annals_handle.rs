//! The way in: from nothing, a directory or an address to event stores.

use std::collections::HashMap;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "client")]
use crate::client::{Client, ClientError, ClientOptions};
use crate::codec::Codec;
#[cfg(feature = "embedded")]
use crate::directory::{Directory, OpenError};
use crate::event_store::{EventStore, Inner};
use crate::projection::{InlineProjection, InlineProjections};
use crate::schema::{Checked, Compatibility, EventSchema, SchemaError, ShapeError, event_schemas, register};
use crate::snapshot::Snapshots;
#[cfg(feature = "client")]
use crate::store::RemoteStore;
use crate::store::{MemoryStore, Store};
use crate::{Clock, Decider, ErrorKind, Event, SnapshotPolicy, Upcasters, UpcastersError};

/// The longest name of a store, in bytes.
const STORE_NAME_BYTES_MAX: usize = 100;

/// A place that holds event stores; cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), annals::StoreError> {
/// let store = annals::Annals::in_memory().store("shop").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Annals {
    place: Arc<Place>,
    clock: Clock,
}

#[derive(Debug)]
enum Place {
    Memory(Mutex<HashMap<String, Arc<MemoryStore>>>),
    #[cfg(feature = "embedded")]
    Directory(Arc<Directory>),
    #[cfg(feature = "client")]
    Server(Client),
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A name that no store can have.
    #[error("the name of a store has 1 to {STORE_NAME_BYTES_MAX} letters, digits, `.`, `_` or `-`: {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// The upcasters do not fit together.
    #[error(transparent)]
    Upcasters(#[from] UpcastersError),
    /// The program's events do not go with those that are stored.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The store could not be made or reached.
    #[error("store {name} cannot be opened: {reason}")]
    Unavailable {
        /// The name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Two inline projections would write the same views.
    #[error("two inline projections are called {name}: give one another name")]
    ProjectionTwice {
        /// The name.
        name: String,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. } | Self::Upcasters(_) | Self::ProjectionTwice { .. } => ErrorKind::Input,
            Self::Schema(error) => error.kind(),
            Self::Unavailable { .. } => ErrorKind::Unavailable,
        }
    }
}

impl Annals {
    /// Stores in memory, for tests and for trying things out. They are gone with the last handle.
    pub fn in_memory() -> Self {
        Self::in_memory_with(Clock::system())
    }

    /// Like [`Annals::in_memory`], with a clock that a test owns.
    pub fn in_memory_with(clock: Clock) -> Self {
        Self { place: Arc::new(Place::Memory(Mutex::default())), clock }
    }

    /// Stores in the directory `path`, in this process and without a network. It is made if it is not there; one process has
    /// it at a time, and it can be served by `annals serve` in between.
    ///
    /// What is acknowledged is on the disk. The data is closed with the last handle; [`Annals::close`] says when.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("data");
    /// let annals = annals::Annals::open(&path).await?;
    /// let store = annals.store("shop").await?;
    /// annals.close().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`OpenError`]
    #[cfg(feature = "embedded")]
    pub async fn open(path: impl Into<std::path::PathBuf>) -> Result<Self, OpenError> {
        Self::open_with(path, Clock::system()).await
    }

    /// Like [`Annals::open`], with a clock that a test owns.
    ///
    /// # Errors
    /// [`OpenError`]
    #[cfg(feature = "embedded")]
    pub async fn open_with(path: impl Into<std::path::PathBuf>, clock: Clock) -> Result<Self, OpenError> {
        let directory = Directory::open(path.into(), clock.clone()).await?;
        Ok(Self { place: Arc::new(Place::Directory(Arc::new(directory))), clock })
    }

    /// Stores on the server at `address`, such as `http://127.0.0.1:7117`: what works with [`Annals::open`] works there.
    ///
    /// What may pass by itself (a broken connection, a server that starts anew) is tried again for 30 seconds, with the same
    /// event ids, so that nothing is stored twice. An append that got no answer even then ends with
    /// [`crate::store::AppendError::Unknown`].
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let annals = annals::Annals::connect("http://127.0.0.1:7117").await?;
    /// let store = annals.store("shop").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`], if there is no server.
    #[cfg(feature = "client")]
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        Self::connect_with(address, ClientOptions::default()).await
    }

    /// Like [`Annals::connect`], with options.
    ///
    /// # Errors
    /// [`ClientError`], if there is no server.
    #[cfg(feature = "client")]
    pub async fn connect_with(address: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let clock = Clock::system();
        let client = Client::with_clock(address, options, clock.clone())?;
        client.stores().await?;
        Ok(Self { place: Arc::new(Place::Server(client)), clock })
    }

    /// Finishes what is under way and closes the data. Stores that are still held refuse everything afterwards.
    pub async fn close(&self) {
        match &*self.place {
            Place::Memory(_) => {}
            // What is under way has an owner who waits for it, and connections end by themselves.
            #[cfg(feature = "client")]
            Place::Server(_) => {}
            #[cfg(feature = "embedded")]
            Place::Directory(directory) => directory.close().await,
        }
    }

    /// The event store of that name, made if it is not there. Await it, after telling it what it needs to know.
    pub fn store(&self, name: impl Into<String>) -> StoreBuilder {
        StoreBuilder {
            annals: self.clone(),
            name: name.into(),
            upcasters: Upcasters::new(),
            compatibility: Compatibility::default(),
            schemas: Ok(Vec::new()),
            snapshots: Snapshots::default(),
            inline: InlineProjections::default(),
        }
    }

    /// The broker of an open data directory, and what keeps it open.
    #[cfg(feature = "embedded")]
    pub(crate) fn broker(&self) -> Option<(annals_broker::Broker, Arc<dyn Send + Sync>)> {
        match &*self.place {
            Place::Directory(directory) => Some(directory.broker()),
            _ => None,
        }
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn open_store(&self, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        check_name(name)?;
        match &*self.place {
            Place::Memory(stores) => {
                let mut stores = stores.lock().unwrap_or_else(PoisonError::into_inner);
                let store = stores.entry(name.to_owned());
                Ok(Arc::clone(store.or_insert_with(|| Arc::new(MemoryStore::new(self.clock.clone())))) as _)
            }
            #[cfg(feature = "embedded")]
            Place::Directory(directory) => directory.store(name, &self.clock).await,
            #[cfg(feature = "client")]
            Place::Server(client) => remote_store(client, name).await,
        }
    }
}

/// The store of that name on a server, made if it is not there.
#[cfg(feature = "client")]
async fn remote_store(client: &Client, name: &str) -> Result<Arc<dyn Store>, StoreError> {
    let mut found = client.store(name).await.map(drop);
    if found.as_ref().is_err_and(|error| error.problem("unknown-store").is_some()) {
        found = match client.create_store(name).await {
            // Somebody else may have made it meanwhile, or this request did, whose answer was lost; or it is a topic.
            Err(_) => client.store(name).await.map(drop),
            Ok(_) => Ok(()),
        };
    }
    let unavailable =
        |error: ClientError| StoreError::Unavailable { name: name.to_owned(), reason: error.to_string() };
    found.map_err(unavailable)?;
    Ok(Arc::new(RemoteStore::new(client.clone(), name)))
}

fn check_name(name: &str) -> Result<(), StoreError> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > STORE_NAME_BYTES_MAX || !name.bytes().all(valid) {
        return Err(StoreError::Name { name: name.chars().take(40).collect() });
    }
    Ok(())
}

/// What a store is told before it is opened.
///
/// ```
/// use annals::schema::Compatibility;
/// use annals::{Annals, Event, RawEvent, Upcasters};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, JsonSchema, Serialize, Deserialize)]
/// enum AccountEvent {
///     #[event(name = "MoneyDeposited", version = 2)]
///     Deposited { amount_cents: u64 },
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), annals::StoreError> {
/// let cents = Upcasters::new().upcast("MoneyDeposited", 1, |mut event: RawEvent| {
///     event.data["amount_cents"] = (event.data["amount"].as_u64().unwrap_or(0) * 100).into();
///     event
/// });
/// let store = Annals::in_memory()
///     .store("bank")
///     .upcasters(cents)
///     .compatibility(Compatibility::FullTransitive)
///     .events::<AccountEvent>()
///     .await?;
/// # Ok(()) }
/// ```
#[must_use = "a store is opened by awaiting this"]
pub struct StoreBuilder {
    annals: Annals,
    name: String,
    upcasters: Upcasters,
    compatibility: Compatibility,
    schemas: Result<Vec<EventSchema>, ShapeError>,
    snapshots: Snapshots,
    inline: InlineProjections,
}

impl StoreBuilder {
    /// Adds upcasters, which bring events of older versions up to those that the program knows.
    pub fn upcasters(mut self, upcasters: Upcasters) -> Self {
        self.upcasters = self.upcasters.and(upcasters);
        self
    }

    /// Which programs must understand which events; [`Compatibility::BackwardTransitive`] unless said otherwise.
    pub fn compatibility(mut self, compatibility: Compatibility) -> Self {
        self.compatibility = compatibility;
        self
    }

    /// Registers the schemas of `E`, and refuses to open the store if they do not go with those that are registered.
    pub fn events<E: Event + schemars::JsonSchema>(mut self) -> Self {
        advise::<E>();
        self.schemas = self.schemas.and_then(|mut all| {
            all.extend(event_schemas::<E>()?);
            Ok(all)
        });
        self
    }

    /// Takes snapshots of the states of `D`.
    pub fn snapshots<D: Decider>(mut self, policy: SnapshotPolicy) -> Self
    where
        D::State: serde::Serialize + serde::de::DeserializeOwned,
    {
        self.snapshots.add::<D>(policy);
        self
    }

    /// Keeps the views of `P` up to date in the commits of commands.
    pub fn inline<P: InlineProjection>(mut self) -> Self {
        self.inline.add::<P>();
        self
    }

    async fn open(self) -> Result<EventStore, StoreError> {
        self.upcasters.check()?;
        if let Some(name) = self.inline.name_twice() {
            return Err(StoreError::ProjectionTwice { name: name.to_owned() });
        }
        let store = self.annals.open_store(&self.name).await?;
        let all = self.schemas.map_err(SchemaError::from)?;
        let checked = Checked { mode: self.compatibility, upcasters: &self.upcasters, all: &all };
        register(store.as_ref(), &self.annals.clock, &checked).await?;
        let codec = Codec { upcasters: self.upcasters, accept_newer: self.compatibility.is_forward() };
        let (snapshots, inline) = (self.snapshots, self.inline);
        Ok(EventStore::new(Inner { store, clock: self.annals.clock, codec, snapshots, inline }))
    }
}

/// Says so if an event does not sound like something that happened.
fn advise<E: Event>() {
    for advice in E::TYPES.iter().filter_map(|known| annals_event::past_tense_advice(known.name)) {
        tracing::info!("{advice}");
    }
}

impl IntoFuture for StoreBuilder {
    type Output = Result<EventStore, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}
