//! A queue that nobody consumes: what its messages take in memory, and whether publishing slows down.

use anyhow::Result;

use super::queue_load::{CLIENT, WINDOW, declare, durable, measure};
use crate::amqp::{Amount, Flow, Outcome};
use crate::quantity::{MESSAGE_RATE, RESIDENT};
use crate::run::Run;
use crate::scenario::{Goal, Must, Scenario};
use crate::servers::{ANNALS_QUEUES, Running, SubjectRef};

const MESSAGES: u64 = 10_000_000;
const PUBLISHERS: u64 = 4;
/// Messages of one turn when rates are compared, and how many turns each has.
const TURN: u64 = 200_000;
const TURNS: usize = 5;
const FILLING: &str = "filling";
const EMPTY: &str = "into an empty queue";
const FULL: &str = "into a queue with 10,000,000";
const PEAK: &str = "10,000,000 messages, peak";

/// See the module.
pub(super) struct QueueBacklog;

fn flow(queue: &str, count: u64) -> Flow<'_> {
    Flow {
        exchange: "",
        queue,
        publishers: PUBLISHERS as usize,
        consumers: 0,
        body_bytes: 100,
        persistent: true,
        window: Some(WINDOW),
        prefetch: None,
        rate: None,
        amount: Amount::Count(count / PUBLISHERS),
    }
}

/// Publishes in turns to queues that are empty and to the one that is not: what the machine does meanwhile hits both.
fn compare(run: &mut Run<'_>, server: &Running) -> Result<()> {
    let (mut empty, mut full) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let queue = format!("empty-{turn}");
        declare(server, &queue, durable(server))?;
        empty.push(flow(&queue, run.count(TURN)).run(server.address(), &run.place.clock)?);
        full.push(flow("backlog", run.count(TURN)).run(server.address(), &run.place.clock)?);
    }
    run.tell(MESSAGE_RATE, EMPTY, rate(&empty));
    run.tell(MESSAGE_RATE, FULL, rate(&full));
    Ok(())
}

fn rate(outcomes: &[Outcome]) -> f64 {
    let messages: u64 = outcomes.iter().map(|outcome| outcome.messages).sum();
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
    messages as f64 / seconds.max(1e-9)
}

impl Scenario for QueueBacklog {
    fn name(&self) -> &'static str {
        "queue-backlog"
    }

    fn about(&self) -> &'static str {
        "10,000,000 persistent messages of 100 bytes in one queue: resident memory, and publishing beside an empty queue."
    }

    fn method(&self) -> &'static str {
        "a fresh server; 4 publishers with confirms, 1,000 of them outstanding for each at most, until 10,000,000 messages wait; \
         then 200,000 messages into a new queue and as many into the full one, five times in turns; memory is VmHWM"
    }

    fn client(&self) -> &'static str {
        CLIENT
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_QUEUES]
    }

    fn runs_max(&self) -> usize {
        3
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = run.start()?;
        declare(&server, "backlog", durable(&server))?;
        measure(run, &server, FILLING, &flow("backlog", run.count(MESSAGES)))?;
        run.tell(RESIDENT, PEAK, server.resident_peak_mib()?);
        compare(run, &server)?;
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        vec![
            Goal::limit(ANNALS_QUEUES, RESIDENT, PEAK, 400.0),
            Goal::beside_own(
                ANNALS_QUEUES,
                (MESSAGE_RATE, FULL),
                (MESSAGE_RATE, EMPTY),
                Must::RatioAtLeast(0.8),
            ),
        ]
    }
}
