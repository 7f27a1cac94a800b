//! What the scenarios of queues have in common: putting a flow of messages on a server, and what it costs.

use anyhow::Result;

use crate::amqp::{Connection, Flow, Outcome, QueueKind};
use crate::quantity::{CLIENT_CPU, MESSAGE_CPU, MESSAGE_RATE};
use crate::run::Run;
use crate::servers::{Protocol, Running, own_cpu_seconds};

/// What the load comes from.
pub(super) const CLIENT: &str =
    "AMQP 0-9-1 of the harness itself, a thread with a blocking socket for each connection";

/// Publishes of each publisher that wait for their confirms.
pub(super) const WINDOW: usize = 1_000;
/// Deliveries of each consumer that are not acknowledged.
pub(super) const PREFETCH: u16 = 1_000;

/// A durable queue as this subject has it.
pub(super) fn durable(server: &Running) -> QueueKind {
    match server.protocol() {
        Protocol::Amqp { queue_type } => QueueKind::Durable(queue_type),
        Protocol::Kafka | Protocol::Postgres | Protocol::Http2 => QueueKind::Durable(None),
    }
}

/// Declares one queue.
pub(super) fn declare(server: &Running, name: &str, kind: QueueKind) -> Result<()> {
    let mut connection = Connection::open(server.address())?;
    connection.declare_queue(name, kind)?;
    connection.close()
}

/// Runs a flow and keeps its rate and what it cost.
pub(super) fn measure(run: &mut Run<'_>, server: &Running, case: &str, flow: &Flow<'_>) -> Result<Outcome> {
    let before = (server.cpu_seconds()?, own_cpu_seconds()?);
    let outcome = flow.run(server.address(), &run.place.clock)?;
    let server_cpu_s = server.cpu_seconds()? - before.0;
    let client_cpu_s = own_cpu_seconds()? - before.1;
    let per_message_us = |seconds: f64| seconds * 1e6 / outcome.messages.max(1) as f64;
    run.tell(MESSAGE_RATE, case, outcome.rate());
    run.tell(MESSAGE_CPU, case, per_message_us(server_cpu_s));
    run.tell(CLIENT_CPU, case, per_message_us(client_cpu_s));
    Ok(outcome)
}
