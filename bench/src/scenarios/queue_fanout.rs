//! One message for a hundred queues: what it costs, and what of it goes to the disk.

use anyhow::Result;

use super::queue_load::{CLIENT, WINDOW, durable, measure};
use crate::amqp::{Amount, Connection, Flow};
use crate::quantity::WRITTEN;
use crate::run::Run;
use crate::scenario::{Goal, Scenario};
use crate::servers::{ANNALS_QUEUES, RABBITMQ, Running, SubjectRef};

const QUEUES: usize = 100;
/// Bodies, and how many messages.
const CASES: &[(usize, u64, &str)] = &[(1024, 20_000, "1 KiB to 100 queues"), (16_384, 10_000, LARGE)];
const LARGE: &str = "16 KiB to 100 queues";

/// See the module.
pub(super) struct QueueFanout;

fn declare(server: &Running, exchange: &str) -> Result<()> {
    let mut connection = Connection::open(server.address())?;
    connection.declare_fanout(exchange)?;
    for number in 0..QUEUES {
        let queue = format!("{exchange}-{number}");
        connection.declare_queue(&queue, durable(server))?;
        connection.bind(&queue, exchange)?;
    }
    connection.close()
}

fn flow(exchange: &str, body_bytes: usize, count: u64) -> Flow<'_> {
    Flow {
        exchange,
        queue: "",
        publishers: 1,
        consumers: 0,
        body_bytes,
        persistent: true,
        window: Some(WINDOW),
        prefetch: None,
        rate: None,
        amount: Amount::Count(count),
    }
}

impl Scenario for QueueFanout {
    fn name(&self) -> &'static str {
        "queue-fanout"
    }

    fn about(&self) -> &'static str {
        "Publishing persistent messages to 100 durable queues at once, and what goes to the disk for each byte of their bodies."
    }

    fn method(&self) -> &'static str {
        "a fresh server, one publisher with confirms, nobody consumes: 20,000 messages of 1 KiB, then 10,000 of 16 KiB; bytes \
         are those that the process sent to the disk (write_bytes of /proc/PID/io), with what is written back within 2 s"
    }

    fn client(&self) -> &'static str {
        CLIENT
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_QUEUES, RABBITMQ]
    }

    fn peer_runs_max(&self) -> usize {
        1
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = run.start()?;
        for (body_bytes, count, case) in CASES {
            let exchange = format!("fan-{body_bytes}");
            declare(&server, &exchange)?;
            let before = server.written_bytes()?;
            let outcome = measure(run, &server, case, &flow(&exchange, *body_bytes, run.count(*count)))?;
            std::thread::sleep(run.lasting(2.0));
            let written = server.written_bytes()? - before;
            run.tell(WRITTEN, case, written as f64 / (outcome.messages * *body_bytes as u64) as f64);
        }
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        // Twice would be two bodies; a hundred references are within it.
        vec![Goal::limit(ANNALS_QUEUES, WRITTEN, LARGE, 1.5)]
    }
}
