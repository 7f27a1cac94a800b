//! Batches of one record and a few: what a write costs that carries almost nothing.

use anyhow::Result;

use crate::load::Load;
use crate::quantity::{ACK, RAW_SYNC, RECORD_RATE};
use crate::run::Run;
use crate::scenario::{Goal, Scenario};
use crate::servers::{ANNALS_ASYNC, ANNALS_SYNC, KAFKA, KAFKA_FLUSH, SubjectRef};

/// Name, producers, and records that each leaves unacknowledged.
const CASES: &[(&str, u64, u64)] = &[
    ("1 producer, one record at a time", 1, 1),
    ("16 producers, one record at a time", 16, 1),
    ("4 producers, 100 records in flight", 4, 100),
];

/// See the module.
pub(super) struct Tiny;

impl Scenario for Tiny {
    fn name(&self) -> &'static str {
        "tiny"
    }

    fn about(&self) -> &'static str {
        "Writing 1 KiB records without lingering, so that a batch holds one record or a few."
    }

    fn method(&self) -> &'static str {
        "a fresh server, 3 s of warm-up, then 3 s for each case, acks=all, linger 0"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_SYNC, ANNALS_ASYNC, KAFKA, KAFKA_FLUSH]
    }

    fn peer_runs_max(&self) -> usize {
        3
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = run.start_warm()?;
        for (case, producers, window) in CASES {
            let load = Load::produce().producers(*producers).window(*window).linger_ms(0).beside_disk();
            let outcome = run.load(&server, case, &load.lasting(run.lasting(3.0)))?;
            run.note(RECORD_RATE, case, outcome.records_per_s);
            if let Some(times) = outcome.latency_ms {
                run.note(ACK, &format!("{case}, p50"), times.p50);
                run.note(ACK, &format!("{case}, p99"), times.p99);
            }
            if let Some(disk) = outcome.disk {
                run.note(RAW_SYNC, case, disk.small_ms.p99);
            }
        }
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        Vec::new()
    }
}
