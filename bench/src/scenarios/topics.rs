//! Many topics: what creating them takes, and what they cost when nothing happens in them.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::command::output;
use crate::quantity::{RESIDENT, TIME};
use crate::run::Run;
use crate::scenario::{Goal, Scenario};
use crate::servers::{ANNALS_SYNC, KAFKA, Running, SubjectRef};

/// How many there are after each step.
const COUNTS: &[(u64, &str)] = &[(1_000, "1,000 topics"), (10_000, "10,000 topics")];
/// Topics of one request.
const BATCH: u64 = 500;

/// See the module.
pub(super) struct Topics;

/// Creates topics `from` to `to`, and returns the seconds that it took.
fn create(run: &Run<'_>, server: &Running, from: u64, to: u64) -> Result<f64> {
    let begin = run.place.clock.monotonic();
    for start in (from..to).step_by(BATCH as usize) {
        let mut command = Command::new(&run.place.tools.annals);
        command.args(["topic", "create", "--bootstrap-server", server.address()]);
        command.args((start..to.min(start + BATCH)).map(|number| format!("topic-{number}")));
        output(&mut command)?;
    }
    Ok((run.place.clock.monotonic() - begin).as_secs_f64())
}

fn count(run: &Run<'_>, server: &Running) -> Result<u64> {
    let mut command = Command::new(&run.place.tools.annals);
    command.args(["topic", "list", "-o", "json", "--bootstrap-server", server.address()]);
    let topics: Value = serde_json::from_str(&output(&mut command)?)?;
    Ok(topics.as_array().map_or(0, |topics| topics.len() as u64))
}

impl Scenario for Topics {
    fn name(&self) -> &'static str {
        "topics"
    }

    fn about(&self) -> &'static str {
        "Creating 1,000 and 10,000 topics, the memory that they take, and the time until the server is ready again after \
         kill -9."
    }

    fn method(&self) -> &'static str {
        "a fresh server; topics of one partition, 500 in a request, one request after the other; ready means that a first \
         request of the Kafka protocol is answered"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_SYNC, KAFKA]
    }

    fn peer_runs_max(&self) -> usize {
        1
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let mut server = run.start()?;
        let (mut there, mut creating_s) = (0, 0.0);
        for (full, case) in COUNTS {
            let wanted = run.count(*full);
            creating_s += create(run, &server, there, wanted)?;
            there = wanted;
            run.tell(TIME, &format!("{case}: create"), creating_s);
            run.tell(RESIDENT, case, server.resident_mib()?);
            server.kill()?;
            server = run.start()?;
            run.tell(TIME, &format!("{case}: ready after kill -9"), server.ready_after.as_secs_f64());
            run.tell(RESIDENT, &format!("{case}, restarted"), server.resident_mib()?);
            let found = count(run, &server)?;
            ensure!(found >= there, "{found} of {there} topics are there after the restart");
        }
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        vec![
            Goal::limit(ANNALS_SYNC, TIME, "10,000 topics: create", 10.0),
            Goal::limit(ANNALS_SYNC, TIME, "10,000 topics: ready after kill -9", 3.0),
        ]
    }
}
