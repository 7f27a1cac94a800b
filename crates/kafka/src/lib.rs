//! The Kafka protocol front-end: clients' bytes in, calls to the broker, answers out.
//!
//! [`Server`] listens. Each connection is one task (the `connection` module) that reads a frame, checks it before it is
//! decoded (the `shape` module), and has it answered by one of the files in `apis`. Requests of one connection start in
//! the order in which they came and are answered in that order; produce requests overlap while they wait for the disk.
//!
//! Invariants: no length from the wire is believed before it is compared with what can be there; what is in flight
//! is bounded per connection and in all; no protocol type leaves this crate.
//! Source: the Kafka protocol guide; KIP-227 (fetch sessions), KIP-511 (ApiVersions), KIP-516 (topic ids).

mod apis;
mod close;
mod connection;
mod cursor;
mod dispatch;
mod errors;
mod flexible;
mod frame;
mod header;
mod memory;
mod options;
mod records;
mod rope;
mod server;
mod shape;
mod trace;

pub use dispatch::{DecodeError, decode_request};
pub use options::{Address, AddressError, Options};
pub use server::{BindError, Server};
pub use trace::SPANS;
