//! Read models: what events add up to, kept where a query wants it.
//!
//! | Kind | Kept by | Seen |
//! |---|---|---|
//! | inline ([`InlineProjection`]) | the commit that stores the events | with the command's answer |
//! | live ([`LiveView`]) | a task, in memory, from the first event on at every start | soon after |
//! | asynchronous ([`ReadModel`]) | a task; change and checkpoint in one transaction of a database | soon after |
//!
//! "Soon after" becomes "now" for whoever waits: [`Projection::wait_for`] a command's position. What should happen *because* of
//! events and outside of a read model (a mail, a call) is a [`Reaction`]: it has a place of its own in the store, so no
//! rebuild of a read model ever repeats it.
//!
//! All but the inline ones say in the store how they do ([`EventStore::projections`](crate::EventStore::projections)), and obey what
//! is ordered there, by whatever process: to pause, to go on, to be built anew. `annals projection` does so from the command line.
//!
//! An event whose key was shredded comes as what [`Event::shredded`](crate::Event::shredded) gives, or not at all. Inline views
//! hold nothing that can be shredded; the others have read it and forget with a rebuild.

mod control;
mod handle;
mod inline;
mod live;
mod model;
#[cfg(feature = "postgres")]
mod postgres;
mod reaction;
mod report;
mod runner;
#[cfg(feature = "sqlite")]
mod sqlite;
mod status;
mod supervisor;
mod tables;

pub use control::OrderError;
pub use handle::{Projection, ProjectionOptions, Reports};
pub use inline::{InlineProjection, ViewError};
pub use live::{Live, LiveView};
pub use model::{Applied, Changes, ModelError, Opened, ReadModel};
#[cfg(feature = "postgres")]
pub use postgres::{Connected, PostgresModel, PostgresProjection};
pub use reaction::{Reaction, ReactionError, StartAt};
pub use report::{ProjectionReport, RebuildReport};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteModel, SqliteProjection};
pub use status::{Phase, ProjectionError, Rebuild, Status, WaitError};
pub use tables::{InvalidTable, Tables};

pub(crate) use inline::{InlineProjections, VIEWS_KEPT};
