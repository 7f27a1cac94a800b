//! The client that queues are measured with: AMQP 0-9-1 as far as the scenarios need it, the same against every server.
//!
//! A client library would be the larger half of what is measured on a small machine, and would measure itself: at several
//! hundred thousand messages a second there are about six microseconds of two cores for each. This one copies a message into
//! a buffer, writes many at once, and reads what is there. Each connection is a thread with a blocking socket, as a worker
//! of a plain application is.

mod confirms;
mod connection;
mod flow;
mod wire;

pub(crate) use self::connection::{Connection, QueueKind};
pub(crate) use self::flow::{Amount, Flow, Outcome, publish_to_all};
pub(crate) use self::wire::PROTOCOL_HEADER;
