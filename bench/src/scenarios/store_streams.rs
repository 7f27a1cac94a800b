//! An event store with a million streams: what it takes of the memory, and what appends cost.

use anyhow::Result;

use crate::quantity::{ACK, APPEND_CPU, APPENDS, RESIDENT};
use crate::run::Run;
use crate::scenario::{Goal, Must, Scenario};
use crate::servers::{ANNALS_SYNC, SubjectRef};
use crate::worker::{Appended, Worker};

/// So many streams, and the events that each has before.
const FEW: (u64, u64) = (10_000, 10);
const MANY: (u64, u64) = (1_000_000, 10);

/// See the module.
pub(super) struct StoreStreams;

fn case(streams: u64) -> String {
    format!("{streams} streams")
}

impl Scenario for StoreStreams {
    fn name(&self) -> &'static str {
        "store-streams"
    }

    fn about(&self) -> &'static str {
        "Memory, and durable conditional appends of one event, of a store with a million streams of 10 events, beside one with \
         10,000 streams of 10 events."
    }

    fn method(&self) -> &'static str {
        "a store in process, filled; then 1,024 clients append in turn to their share of the streams, one event each, for 10 s; \
         memory is that of the process at its peak, filling and clients included"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_SYNC]
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        for (streams, filled) in [FEW, MANY] {
            let (case, data) = (case(streams), run.data().join(streams.to_string()));
            let count = run.count(streams).max(1024);
            let worker = Worker::new("append").in_directory(&data).with("in-flight", &1024);
            let worker = worker.with("streams", &count).with("filled", &filled).lasting(run.lasting(10.0));
            let appended: Appended = worker.run()?;
            run.tell(APPENDS, &case, appended.per_s);
            run.note(APPEND_CPU, &case, appended.cpu_us);
            run.note(ACK, &format!("{case}, p99"), appended.p99_ms);
            run.tell(RESIDENT, &case, appended.resident_peak_mib);
            std::fs::remove_dir_all(&data)?;
        }
        Ok(())
    }

    fn goals(&self) -> Vec<Goal> {
        let (few, many) = (case(FEW.0), case(MANY.0));
        vec![
            Goal::limit(ANNALS_SYNC, RESIDENT, many.clone(), 512.0),
            Goal::beside_own(ANNALS_SYNC, (APPENDS, &many), (APPENDS, &few), Must::RatioAtLeast(0.7)),
        ]
    }
}
