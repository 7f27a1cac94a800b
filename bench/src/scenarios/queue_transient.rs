//! Small messages that nobody misses after a crash, as fast as they go.

use std::time::Duration;

use anyhow::Result;

use super::queue_load::{CLIENT, declare, measure};
use crate::amqp::{Amount, Flow, QueueKind};
use crate::quantity::{END_TO_END, MESSAGE_RATE};
use crate::run::Run;
use crate::scenario::{Goal, Scenario};
use crate::servers::{ANNALS_QUEUES, RABBITMQ, Running, SubjectRef};

const CASE: &str = "1 publisher, 1 consumer";

/// See the module.
pub(super) struct QueueTransient;

fn flow(queue: &str, amount: Amount) -> Flow<'_> {
    Flow {
        exchange: "",
        queue,
        publishers: 1,
        consumers: 1,
        body_bytes: 16,
        persistent: false,
        window: None,
        prefetch: None,
        rate: None,
        amount,
    }
}

/// The load of this scenario, with its queue declared.
pub(super) fn profiled(server: &Running, seconds: f64) -> Result<Flow<'static>> {
    declare(server, "profiled-transient", QueueKind::Transient)?;
    Ok(flow("profiled-transient", Amount::Lasting(Duration::from_secs_f64(seconds))))
}

impl Scenario for QueueTransient {
    fn name(&self) -> &'static str {
        "queue-transient"
    }

    fn about(&self) -> &'static str {
        "Transient 16-byte messages through one queue, without confirms and acknowledgements, client and server on the same cores."
    }

    fn method(&self) -> &'static str {
        "a fresh server, 2 s of warm-up, then 5 s with a queue of its own, and until everything has arrived; at most 20,000 \
         messages under way"
    }

    fn client(&self) -> &'static str {
        CLIENT
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_QUEUES, RABBITMQ]
    }

    fn peer_runs_max(&self) -> usize {
        3
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = run.start()?;
        for queue in ["warm-up", "queue"] {
            declare(&server, queue, QueueKind::Transient)?;
        }
        flow("warm-up", Amount::Lasting(run.lasting(2.0))).run(server.address(), &run.place.clock)?;
        let outcome = measure(run, &server, CASE, &flow("queue", Amount::Lasting(run.lasting(5.0))))?;
        if let Some(times) = outcome.latency_ms {
            run.note(END_TO_END, &format!("{CASE}, p50"), times.p50);
            run.note(END_TO_END, &format!("{CASE}, p99"), times.p99);
        }
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        vec![Goal::least(ANNALS_QUEUES, MESSAGE_RATE, CASE, 300_000.0)]
    }
}
