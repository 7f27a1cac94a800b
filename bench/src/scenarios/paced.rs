//! How long an acknowledgement takes while the server has room: at a part of the load that it can take.

use anyhow::Result;

use crate::load::Load;
use crate::quantity::{ACK, RAW_SYNC, THROUGHPUT};
use crate::run::Run;
use crate::scenario::{Goal, Must, Scenario};
use crate::servers::{ANNALS_SYNC, KAFKA, KAFKA_FLUSH, Running, SubjectRef};

/// The share of the load found that is then put on.
const SHARE: f64 = 0.7;
const LINGERS_MS: &[u64] = &[0, 5];
const LIGHT: &str = "1,000 records/s, linger 0";

/// See the module.
pub(super) struct Paced;

fn case(linger_ms: u64) -> String {
    format!("at 70 %, linger {linger_ms}")
}

impl Paced {
    /// Finds what the server takes, then puts the share of it on.
    fn measure_share(run: &mut Run<'_>, server: &Running, linger_ms: u64) -> Result<()> {
        let load = Load::produce().producers(4).linger_ms(linger_ms);
        let most = format!("the load found, linger {linger_ms}");
        let found = run.load(server, &most, &load.clone().lasting(run.lasting(2.0)))?;
        run.note(THROUGHPUT, &most, found.mb_per_s);
        let rate = (found.records_per_s * SHARE) as u64;
        Self::measure_at(run, server, &case(linger_ms), load.rate(rate))
    }

    fn measure_at(run: &mut Run<'_>, server: &Running, case: &str, load: Load) -> Result<()> {
        let outcome = run.load(server, case, &load.lasting(run.lasting(5.0)).beside_disk())?;
        run.note(THROUGHPUT, case, outcome.mb_per_s);
        if let Some(times) = outcome.latency_ms {
            run.note(ACK, &format!("{case}, p50"), times.p50);
            run.note(ACK, &format!("{case}, p99"), times.p99);
            run.note(ACK, &format!("{case}, p99.9"), times.p999);
        }
        if let Some(disk) = outcome.disk {
            run.note(RAW_SYNC, case, disk.small_ms.p99);
        }
        Ok(())
    }
}

impl Scenario for Paced {
    fn name(&self) -> &'static str {
        "paced"
    }

    fn about(&self) -> &'static str {
        "Acknowledgement latency of 1 KiB records at 70 % of the load that the same server takes in the same run, and at \
         1,000 records a second."
    }

    fn method(&self) -> &'static str {
        "a fresh server, 3 s of warm-up; 4 producers on one partition as fast as they can for 2 s, then 5 s at the rate; \
         latency counts from the moment at which a record was due, so a stall shows in every record that it held up"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_SYNC, KAFKA, KAFKA_FLUSH]
    }

    fn peer_runs_max(&self) -> usize {
        3
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = run.start_warm()?;
        for linger_ms in LINGERS_MS {
            Self::measure_share(run, &server, *linger_ms)?;
        }
        Self::measure_at(run, &server, LIGHT, Load::produce().linger_ms(0).rate(1_000))?;
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        let case = case(0);
        let p99 = format!("{case}, p99");
        vec![Goal::beside_own(ANNALS_SYNC, (ACK, &p99), (RAW_SYNC, &case), Must::RatioAtMost(3.0))]
    }
}
