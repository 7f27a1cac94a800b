//! What can be asked of the broker, as plain requests and results: one file per story.
//!
//! Nothing here knows a wire protocol. A front-end translates its bytes into these types, asks, and translates the
//! answer back; a new protocol needs no change here. Errors are one enum per operation, so that a front-end can map
//! each in one exhaustive `match`.

pub mod caller;
pub mod cluster;
pub mod configs;
pub mod connections;
pub mod fetch;
pub mod groups;
pub mod offsets;
pub mod produce;
pub mod queues;
pub mod stores;
pub mod subscriptions;
pub mod topics;

pub use caller::{Caller, Principal};
