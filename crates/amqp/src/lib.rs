//! The AMQP 0-9-1 front-end: clients' frames in, calls to the broker, frames out; with RabbitMQ's extensions.
//!
//! [`Server`] listens. Each connection is one task (the `connection` module) that cuts frames out of what it reads (`wire`),
//! decodes methods (`methods`) and hands them to the state machine of their channel (`channel`), which checks rights
//! (`rights`) and says what is to be done. Publishes of a connection start in the order in which they came and overlap
//! while they wait for the disk; confirms leave in that order, one for all that became safe together.
//!
//! Invariants: no length from the wire is believed before it is compared with what can be there; bodies are shared with what
//! was read and with what is stored, and not copied between; no protocol type leaves this crate.
//! Source: AMQP 0-9-1; RabbitMQ's documentation of its extensions, access control and errors.

mod backend;
mod channel;
mod close;
mod connection;
mod methods;
mod options;
mod replay;
mod reply;
mod rights;
mod server;
mod wire;

pub use options::{Limits, Options};
pub use replay::replay;
pub use server::{BindError, Server};
