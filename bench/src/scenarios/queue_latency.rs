//! How long a message is under way at a rate that leaves room, beside what a sync alone takes.

use anyhow::Result;

use super::queue_load::{CLIENT, PREFETCH, WINDOW, declare, durable, measure};
use crate::amqp::{Amount, Flow};
use crate::load::raw_disk;
use crate::quantity::{END_TO_END, RAW_SYNC};
use crate::run::Run;
use crate::scenario::{Goal, Must, Scenario};
use crate::servers::{ANNALS_QUEUES, RABBITMQ, RABBITMQ_QUORUM, SubjectRef};

const RATE: f64 = 5_000.0;
const CASE: &str = "5,000 messages/s";

/// See the module.
pub(super) struct QueueLatency;

fn flow(queue: &str, amount: Amount) -> Flow<'_> {
    Flow {
        exchange: "",
        queue,
        publishers: 1,
        consumers: 1,
        body_bytes: 1024,
        persistent: true,
        window: Some(WINDOW),
        prefetch: Some(PREFETCH),
        rate: Some(RATE),
        amount,
    }
}

impl Scenario for QueueLatency {
    fn name(&self) -> &'static str {
        "queue-latency"
    }

    fn about(&self) -> &'static str {
        "From publishing to delivery at 5,000 persistent 1 KiB messages a second, beside raw 4 KiB writes with fdatasync."
    }

    fn method(&self) -> &'static str {
        "a fresh server, 2 s of warm-up, then 10 s at the rate with one publisher and one consumer, confirms and \
         acknowledgements; latency counts from the moment at which a message was due; the raw disk just before and just after, \
         the mean of both"
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
        for queue in ["warm-up", "queue"] {
            declare(&server, queue, durable(&server))?;
        }
        flow("warm-up", Amount::Lasting(run.lasting(2.0))).run(server.address(), &run.place.clock)?;
        let raw_p99 =
            |run: &Run<'_>| Ok::<_, anyhow::Error>(raw_disk(&run.place.tools, run.data())?.small_ms.p99);
        let before = raw_p99(run)?;
        let outcome = measure(run, &server, CASE, &flow("queue", Amount::Lasting(run.lasting(10.0))))?;
        run.tell(RAW_SYNC, CASE, f64::midpoint(before, raw_p99(run)?));
        if let Some(times) = outcome.latency_ms {
            run.tell(END_TO_END, &format!("{CASE}, p50"), times.p50);
            run.tell(END_TO_END, &format!("{CASE}, p99"), times.p99);
            run.tell(END_TO_END, &format!("{CASE}, p99.9"), times.p999);
        }
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        let p99 = format!("{CASE}, p99");
        vec![Goal::beside_own(ANNALS_QUEUES, (END_TO_END, &p99), (RAW_SYNC, CASE), Must::RatioAtMost(3.0))]
    }
}
