//! How long a record is on its way from one application to another, at fixed rates.

use anyhow::Result;

use crate::load::Load;
use crate::quantity::END_TO_END;
use crate::run::Run;
use crate::scenario::{Goal, Scenario};
use crate::servers::{ANNALS_ASYNC, ANNALS_SYNC, KAFKA, KAFKA_FLUSH, SubjectRef};

const RATES: &[(u64, &str)] = &[(1_000, "1,000/s"), (10_000, "10,000/s"), (50_000, "50,000/s")];

/// See the module.
pub(super) struct Tail;

impl Scenario for Tail {
    fn name(&self) -> &'static str {
        "tail"
    }

    fn about(&self) -> &'static str {
        "The whole way of a 1 KiB record, from the moment at which it was due to its arrival at a consumer that keeps up."
    }

    fn method(&self) -> &'static str {
        "a fresh server, 3 s of warm-up; one producer with acks=all and linger 0, one consumer without a group, one \
         partition, 3 s for each rate"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_SYNC, ANNALS_ASYNC, KAFKA, KAFKA_FLUSH]
    }

    fn peer_runs_max(&self) -> usize {
        3
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = run.start_warm()?;
        for (rate, case) in RATES {
            let load = Load::end_to_end().rate(*rate).linger_ms(0).lasting(run.lasting(3.0));
            if let Some(times) = run.load(&server, case, &load)?.latency_ms {
                run.note(END_TO_END, &format!("{case}, p50"), times.p50);
                run.note(END_TO_END, &format!("{case}, p99"), times.p99);
                run.note(END_TO_END, &format!("{case}, p99.9"), times.p999);
            }
        }
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        Vec::new()
    }
}
