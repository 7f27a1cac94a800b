//! The library as its users see it.

#![expect(clippy::unwrap_used, reason = "what goes wrong is a failed test")]

mod account;
mod boundary;
mod embedded;
mod execute;
mod hidden;
mod inline;
mod live;
mod memory;
mod orders;
mod postgres;
mod reactions;
mod remote;
mod rpc;
mod schemas;
mod served;
mod shredding;
mod snapshots;
mod sqlite;
mod time_travel;
mod versioning;
