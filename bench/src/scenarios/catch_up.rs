//! A reader that is far behind, beside producers that are live.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};

use crate::load::{Load, Outcome};
use crate::quantity::{ACK, THROUGHPUT};
use crate::run::Run;
use crate::scenario::{Goal, Must, Scenario};
use crate::servers::{ANNALS_SYNC, KAFKA, Running, SubjectRef};

/// 1 GiB.
const OLD_RECORDS: u64 = 1 << 20;
const OLD: &str = "old";
/// The share of full speed at which the producers run that are not at full speed.
const SHARE: f64 = 0.7;

/// Producers alone, and the same beside the reader.
const FULL: (&str, &str) = ("full speed, alone", "full speed, beside a reader");
const PACED: (&str, &str) = ("at 70 %, alone", "at 70 %, beside a reader");
/// A rate at which the clients of both leave some of two cores free, so that what the server does to the producer is seen.
const STEADY: (&str, &str) = ("100,000 records/s, alone", "100,000 records/s, beside a reader");
const STEADY_RATE: u64 = 100_000;

/// See the module.
pub(super) struct CatchUp;

impl CatchUp {
    /// Measures the producers alone, then beside the reader. Returns their records a second when alone.
    fn measure_pair(
        run: &mut Run<'_>,
        server: &Running,
        (alone, beside): (&str, &str),
        load: &Load,
    ) -> Result<f64> {
        let outcome = run.load(server, alone, load)?;
        let most = outcome.records_per_s;
        Self::note(run, alone, &outcome);
        let before = run.place.clock.monotonic();
        let (outcome, read) = with_reader(run, server, beside, load)?;
        let seconds = (run.place.clock.monotonic() - before).as_secs_f64();
        Self::note(run, beside, &outcome);
        let read_mb = read as f64 * 1024.0 / 1e6;
        run.tell(THROUGHPUT, &format!("{beside}: the reader"), read_mb / seconds);
        Ok(most)
    }

    fn note(run: &mut Run<'_>, case: &str, outcome: &Outcome) {
        run.note(THROUGHPUT, case, outcome.mb_per_s);
        if let Some(times) = outcome.latency_ms {
            run.note(ACK, &format!("{case}, p50"), times.p50);
            run.note(ACK, &format!("{case}, p99"), times.p99);
        }
    }
}

/// Runs the load while a reader goes through the old topic again and again. Returns how many records it has read.
fn with_reader(run: &Run<'_>, server: &Running, case: &str, load: &Load) -> Result<(Outcome, u64)> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let read = || read_until(run, server, &is_over);
        let reader = std::thread::Builder::new().name("reader".into()).spawn_scoped(scope, read)?;
        let outcome = run.load(server, case, load);
        is_over.store(true, Ordering::Relaxed);
        let read = reader.join().map_err(|_| anyhow::anyhow!("the reader has panicked"))?;
        Ok((outcome?, read?))
    })
}

fn read_until(run: &Run<'_>, server: &Running, is_over: &AtomicBool) -> Result<u64> {
    let (mut read, portion) = (0, run.count(OLD_RECORDS) / 4);
    let load = Load::consume().into_topic(OLD).records(portion);
    while !is_over.load(Ordering::Relaxed) {
        let mut command = load.command(&run.place.tools, server);
        let status = command.stdout(Stdio::null()).status().context("cannot start the reader")?;
        anyhow::ensure!(status.success(), "the reader failed: {status}");
        read += portion;
    }
    Ok(read)
}

impl Scenario for CatchUp {
    fn name(&self) -> &'static str {
        "catch-up"
    }

    fn about(&self) -> &'static str {
        "Live producers alone, and the same producers while a consumer reads an old topic as fast as it can."
    }

    fn method(&self) -> &'static str {
        "a fresh server, 3 s of warm-up, 1 GiB in the old topic; 4 producers on one partition, 3 s alone and 3 s beside the \
         reader, at full speed, at 70 % of it, and at 100,000 records/s; the clients run on the same machine and take their share of its cores"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_SYNC, KAFKA]
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = run.start_warm()?;
        let fill = Load::produce().producers(4).into_topic(OLD).records(run.count(OLD_RECORDS));
        run.load(&server, "filling the old topic", &fill)?;
        let load = Load::produce().producers(4).lasting(run.lasting(3.0));
        let most = Self::measure_pair(run, &server, FULL, &load)?;
        Self::measure_pair(run, &server, PACED, &load.clone().rate((most * SHARE) as u64))?;
        Self::measure_pair(run, &server, STEADY, &load.rate(STEADY_RATE))?;
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        let goal = |(alone, beside): (&str, &str)| {
            let (beside, alone) = ((THROUGHPUT, beside), (THROUGHPUT, alone));
            Goal::beside_own(ANNALS_SYNC, beside, alone, Must::RatioAtLeast(0.9))
        };
        vec![goal(FULL), goal(PACED), goal(STEADY)]
    }
}
