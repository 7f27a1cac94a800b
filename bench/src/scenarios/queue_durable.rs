//! Messages that must not be lost: confirmed to their publishers, acknowledged by their consumers.

use std::time::Duration;

use anyhow::Result;

use super::queue_load::{CLIENT, PREFETCH, WINDOW, declare, durable, measure};
use crate::amqp::{Amount, Flow};
use crate::quantity::{END_TO_END, MESSAGE_RATE};
use crate::run::Run;
use crate::scenario::{Goal, Must, Scenario};
use crate::servers::{ANNALS_QUEUES, RABBITMQ, RABBITMQ_QUORUM, Running, SubjectRef};

/// Publishers, and as many consumers.
const CASES: &[(usize, &str)] = &[(1, "1 publisher, 1 consumer"), (4, FOUR)];
const FOUR: &str = "4 publishers, 4 consumers";

/// See the module.
pub(super) struct QueueDurable;

fn flow(queue: &str, each: usize, amount: Amount) -> Flow<'_> {
    Flow {
        exchange: "",
        queue,
        publishers: each,
        consumers: each,
        body_bytes: 1024,
        persistent: true,
        window: Some(WINDOW),
        prefetch: Some(PREFETCH),
        rate: None,
        amount,
    }
}

fn warm_up(run: &Run<'_>, server: &Running) -> Result<()> {
    declare(server, "warm-up", durable(server))?;
    let load = flow("warm-up", 4, Amount::Lasting(run.lasting(2.0)));
    load.run(server.address(), &run.place.clock).map(|_| ())
}

/// The load of four publishers and four consumers, with its queue declared.
pub(super) fn profiled(server: &Running, seconds: f64) -> Result<Flow<'static>> {
    declare(server, "profiled", durable(server))?;
    Ok(flow("profiled", 4, Amount::Lasting(Duration::from_secs_f64(seconds))))
}

impl Scenario for QueueDurable {
    fn name(&self) -> &'static str {
        "queue-durable"
    }

    fn about(&self) -> &'static str {
        "Persistent 1 KiB messages through one durable queue, confirmed to publishers and acknowledged by consumers."
    }

    fn method(&self) -> &'static str {
        "a fresh server, 2 s of warm-up, then 5 s for each case with a queue of its own, and until everything has arrived; \
         1,000 unconfirmed messages for each publisher and 1,000 unacknowledged for each consumer at most, each delivery \
         acknowledged, at most 20,000 messages under way"
    }

    fn client(&self) -> &'static str {
        CLIENT
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_QUEUES, RABBITMQ, RABBITMQ_QUORUM]
    }

    fn peer_runs_max(&self) -> usize {
        3
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = run.start()?;
        warm_up(run, &server)?;
        for (each, case) in CASES {
            let queue = format!("queue-{each}");
            declare(&server, &queue, durable(&server))?;
            let load = flow(&queue, *each, Amount::Lasting(run.lasting(5.0)));
            let outcome = measure(run, &server, case, &load)?;
            if let Some(times) = outcome.latency_ms {
                run.note(END_TO_END, &format!("{case}, p50"), times.p50);
                run.note(END_TO_END, &format!("{case}, p99"), times.p99);
            }
        }
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        let beside =
            |peer, times| Goal::beside(ANNALS_QUEUES, MESSAGE_RATE, FOUR, peer, Must::RatioAtLeast(times));
        vec![beside(RABBITMQ, 3.0), beside(RABBITMQ_QUORUM, 5.0)]
    }
}
