//! The small trait that every asynchronous read model keeps: where it stands, a change together with that place, and who is
//! being read.

use std::future::Future;

use crate::store::Position;
use crate::upcast::panic_message;
use crate::{Envelope, ErrorKind, Event, EventStore};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a projection's function answers: done, or what went wrong.
pub type Applied = Result<(), BoxError>;

/// Where a read model is kept: in memory, or in a database of the user's.
///
/// Invariant: a change of the model and the position up to which it is complete are kept in one transaction. So after any
/// interruption the model says itself where to go on, and no event is lost or applied twice.
///
/// A model has a version. Several versions stand beside each other; readers see the *active* one. A new version is
/// built from the first event on while the old one serves, and [`ReadModel::activate`] makes it the active one at once.
pub trait ReadModel: Send + 'static {
    /// The events that it looks at.
    type Event: Event;

    /// What it is called.
    fn name(&self) -> &str;

    /// Which version of it this is.
    fn version(&self) -> u32;

    /// Connects, makes what is not there yet, and says where this version stands. Called again after every failure.
    ///
    /// # Errors
    /// [`ModelError`]
    fn open(&mut self) -> impl Future<Output = Result<Opened, ModelError>> + Send;

    /// Applies a batch and keeps its place, in one transaction. The batch may be empty.
    ///
    /// # Errors
    /// [`ModelError`]; nothing of the batch is applied then.
    fn apply(&mut self, batch: Changes<Self::Event>) -> impl Future<Output = Result<(), ModelError>> + Send;

    /// Makes this version the one that readers see.
    ///
    /// # Errors
    /// [`ModelError`]
    fn activate(&mut self) -> impl Future<Output = Result<(), ModelError>> + Send;

    /// The same model, to be built anew as the generation of that number, beside this one: [`ReadModel::open`] on it makes an
    /// empty one or goes on with one that was begun, and [`ReadModel::activate`] puts it in the place of older generations.
    /// None where building anew makes no sense, as for what has effects elsewhere.
    fn anew(&self, generation: u64) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = generation;
        None
    }
}

/// Where a version of a read model stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Up to where it is complete; none: it is empty.
    pub position: Option<Position>,
    /// Whether it is the version that readers see.
    pub active: bool,
    /// Which generation of this version it is: 0, or the number that [`ReadModel::anew`] was told.
    pub generation: u64,
}

/// A batch for a read model.
#[derive(Clone, Debug)]
pub struct Changes<E> {
    /// The events, in order.
    pub events: Vec<Envelope<E>>,
    /// Where the model stands before it.
    pub from: Option<Position>,
    /// Up to where it is complete after it.
    pub through: Position,
}

/// Why a read model could not follow.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The database is away. It is tried again until it is back.
    #[error("the read model's database is not available")]
    Unavailable(#[source] BoxError),
    /// The projection's function did not accept an event.
    #[error("the projection failed at position {position}")]
    Handler {
        /// Where the event is.
        position: Position,
        /// What it said.
        source: BoxError,
    },
    /// The projection's function panicked at an event.
    #[error("the projection failed at position {position}: {message}")]
    Panicked {
        /// Where the event is.
        position: Position,
        /// What it said.
        message: String,
    },
    /// Somebody else has moved this version of the model on. It is opened again.
    #[error("another process works on the same read model: it stands at {actual:?} and not at {expected:?}")]
    Moved {
        /// Where it was expected to stand.
        expected: Option<Position>,
        /// Where it stands.
        actual: Option<Position>,
    },
    /// A newer version is active: this one is not needed any more.
    #[error("version {version} of the read model is active, this one is over")]
    Superseded {
        /// The active version.
        version: u32,
    },
    /// The read model cannot be made, for example since a table has another form.
    #[error("the read model cannot be made")]
    Setup(#[source] BoxError),
}

impl ModelError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable(_) | Self::Moved { .. } => ErrorKind::Retry,
            Self::Handler { .. } | Self::Setup(_) => ErrorKind::Input,
            Self::Panicked { .. } => ErrorKind::Bug,
            Self::Superseded { .. } => ErrorKind::Unavailable,
        }
    }

    /// The event that could not be applied.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Handler { position, .. } | Self::Panicked { position, .. } => Some(*position),
            _ => None,
        }
    }

    pub(crate) fn panicked(position: Position, panic: &Box<dyn std::any::Any + Send>) -> Self {
        Self::Panicked { position, message: panic_message(panic) }
    }
}

/// What a runner needs of a store.
pub(crate) fn wanted<M: ReadModel>(store: &EventStore) -> crate::store::Query {
    crate::store::Query::types(store.inner.codec.stored_names::<M::Event>())
}
