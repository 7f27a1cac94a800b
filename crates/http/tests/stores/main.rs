//! The event store and the management of queues over HTTP, with a real client over real connections, on a broker whose files
//! are in memory.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a broken connection is a failed test")]

mod admin;
mod append;
mod cloud;
mod faults;
mod harness;
mod queues;
mod read;
mod streams;
mod subscribe;
mod subscriptions;
