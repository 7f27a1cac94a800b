//! Many queues: declaring them, and the memory that they take with a few messages each.

use std::thread::Builder;

use anyhow::{Result, bail};

use super::queue_load::{CLIENT, WINDOW, durable};
use crate::amqp::{Connection, publish_to_all};
use crate::quantity::{DECLARE_RATE, MESSAGE_RATE, RESIDENT};
use crate::run::Run;
use crate::scenario::{Goal, Scenario};
use crate::servers::{ANNALS_QUEUES, RABBITMQ, Running, SubjectRef};

const QUEUES: u64 = 10_000;
const MESSAGES: usize = 10;
const BODY_BYTES: usize = 100;
/// Connections that declare and publish side by side.
const CONNECTIONS: usize = 10;
const DECLARED: &str = "10,000 queues";
const FILLED: &str = "10,000 queues with 10 messages each";

/// See the module.
pub(super) struct QueueMany;

/// Does something with each part of the queues, on a connection each.
fn in_parts(queues: &[String], work: impl Fn(&[String]) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for part in queues.chunks(queues.len().div_ceil(CONNECTIONS)) {
            threads.push(Builder::new().name("client".into()).spawn_scoped(scope, move || work(part))?);
        }
        for thread in threads {
            let Ok(ended) = thread.join() else { bail!("a thread of the load generator has panicked") };
            ended?;
        }
        Ok(())
    })
}

fn declare(server: &Running, queues: &[String]) -> Result<()> {
    let mut connection = Connection::open(server.address())?;
    for queue in queues {
        connection.declare_queue(queue, durable(server))?;
    }
    connection.close()
}

impl Scenario for QueueMany {
    fn name(&self) -> &'static str {
        "queue-many"
    }

    fn about(&self) -> &'static str {
        "Declaring 10,000 durable queues, putting 10 persistent messages of 100 bytes into each, and the memory that all of it takes."
    }

    fn method(&self) -> &'static str {
        "a fresh server; 10 connections declare 1,000 queues each, one after the other and each with its answer, then publish \
         with confirms, 1,000 of them outstanding at most; memory is VmRSS 2 s later"
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
        let queues: Vec<String> = (0..run.count(QUEUES)).map(|number| format!("queue-{number}")).collect();
        let begin = run.place.clock.monotonic();
        in_parts(&queues, |part| declare(&server, part))?;
        let declared = run.place.clock.monotonic();
        run.tell(DECLARE_RATE, DECLARED, queues.len() as f64 / (declared - begin).as_secs_f64());
        run.tell(RESIDENT, DECLARED, server.resident_mib()?);
        let begin = run.place.clock.monotonic();
        in_parts(&queues, |part| publish_to_all(server.address(), part, MESSAGES, BODY_BYTES, WINDOW))?;
        let took = run.place.clock.monotonic() - begin;
        run.tell(MESSAGE_RATE, FILLED, (queues.len() * MESSAGES) as f64 / took.as_secs_f64());
        std::thread::sleep(run.lasting(2.0));
        run.tell(RESIDENT, FILLED, server.resident_mib()?);
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        vec![
            Goal::least(ANNALS_QUEUES, DECLARE_RATE, DECLARED, 5_000.0),
            Goal::limit(ANNALS_QUEUES, RESIDENT, FILLED, 200.0),
        ]
    }
}
