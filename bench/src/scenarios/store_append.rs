//! Durable appends to an event store, one small event each, on the condition that its stream is as it was seen last.

use anyhow::{Context as _, Result};

use crate::command::output;
use crate::load::raw_disk;
use crate::quantity::{ACK, APPEND_CPU, APPENDS, DISK_ALLOWS};
use crate::run::Run;
use crate::scenario::{Goal, Must, Scenario};
use crate::servers::{ANNALS_SYNC, POSTGRES, SubjectRef, UMADB, postgres, umadb};
use crate::worker::{Appended, Worker};

const STREAMS: u64 = 10_000;
/// Seconds of one load.
const SECONDS: f64 = 5.0;

/// The best number of each subject.
const BEST: &str = "as fast as it goes";
const HTTP: &str = "over HTTP";
/// Connections, of which each subject gets what suits it best.
const HTTP_CONNECTIONS: &[u64] = &[64, 256];
const POSTGRES_CONNECTIONS: &[u64] = &[8, 16, 32, 64, 128];
const UMADB_IN_FLIGHT: &[u64] = &[64, 256, 1024];

/// What a sync takes in addition where the disk is to be slower than the processor, in milliseconds: network disks take about this.
const SLOW_SYNC_MS: u64 = 2;

/// See the module.
pub(super) struct StoreAppend;

fn in_process(in_flight: u64, slow_ms: u64) -> String {
    let slow = if slow_ms > 0 { format!(", syncs {slow_ms} ms slower") } else { String::new() };
    format!("in process, {in_flight} under way{slow}")
}

impl StoreAppend {
    fn annals(run: &mut Run<'_>) -> Result<()> {
        Self::embedded(run, 64, 0)?;
        Self::embedded(run, 64, SLOW_SYNC_MS)?;
        let best = Self::embedded(run, 1024, 0)?;
        run.note(APPENDS, BEST, best);
        Self::http(run)
    }

    /// One load, with the raw disk just before and just after it.
    fn embedded(run: &mut Run<'_>, in_flight: u64, slow_ms: u64) -> Result<f64> {
        let case = in_process(in_flight, slow_ms);
        let (place, data) = (run.place, run.data().join(format!("{in_flight}-{slow_ms}")));
        std::fs::create_dir_all(&data)?;
        let before = raw_disk(&place.tools, &data)?;
        let appended: Appended =
            load(run, "append", in_flight).in_directory(&data).with("sync-ms", &slow_ms).run()?;
        let after = raw_disk(&place.tools, &data)?;
        note(run, &case, &appended);
        run.tell(APPEND_CPU, &case, appended.cpu_us);
        let sync_ms = f64::midpoint(before.small_ms.p50, after.small_ms.p50) + slow_ms as f64;
        run.tell(DISK_ALLOWS, &case, in_flight as f64 / sync_ms * 1e3);
        std::fs::remove_dir_all(&data)?;
        Ok(appended.per_s)
    }

    fn http(run: &mut Run<'_>) -> Result<()> {
        let best = best_of(run, HTTP_CONNECTIONS, |run, connections| {
            let server = run.start()?;
            let worker = load(run, "http-append", connections).with("address", &server.http_address());
            let before = server.cpu_seconds()?;
            let appended: Appended = worker.run()?;
            let cpu_us = (server.cpu_seconds()? - before) * 1e6 / appended.all as f64;
            server.stop()?;
            std::fs::remove_dir_all(run.data())?;
            Ok((appended, cpu_us))
        })?;
        note(run, HTTP, &best.0);
        run.tell(APPEND_CPU, HTTP, best.1);
        Ok(())
    }

    fn postgres(run: &mut Run<'_>) -> Result<()> {
        let server = run.start()?;
        let best = best_of(run, POSTGRES_CONNECTIONS, |run, connections| {
            let worker = load(run, "postgres-append", connections);
            let before = server.cpu_seconds()?;
            let appended: Appended = worker.with("config", &postgres::config(server.address())).run()?;
            Ok((appended, (server.cpu_seconds()? - before) * 1e6 / appended.all as f64))
        })?;
        note(run, BEST, &best.0);
        run.tell(APPEND_CPU, BEST, best.1);
        server.stop()
    }

    fn umadb(run: &mut Run<'_>) -> Result<()> {
        let best = best_of(run, UMADB_IN_FLIGHT, |run, in_flight| {
            let server = run.start()?;
            let (tools, lasting) = (&run.place.tools, run.lasting(SECONDS));
            let before = server.cpu_seconds()?;
            let text = output(&mut umadb::append(tools, server.address(), in_flight, STREAMS, lasting))?;
            let appended: Appended = serde_json::from_str(&text).context("the load printed other JSON")?;
            let cpu_us = (server.cpu_seconds()? - before) * 1e6 / appended.all as f64;
            server.stop()?;
            std::fs::remove_dir_all(run.data())?;
            Ok((appended, cpu_us))
        })?;
        note(run, BEST, &best.0);
        run.tell(APPEND_CPU, BEST, best.1);
        Ok(())
    }
}

fn load(run: &Run<'_>, work: &str, in_flight: u64) -> Worker {
    let worker = Worker::new(work).with("in-flight", &in_flight).with("streams", &STREAMS);
    worker.lasting(run.lasting(SECONDS))
}

/// The fastest of several numbers of connections, with the server's processor time for each append.
fn best_of(
    run: &Run<'_>,
    numbers: &[u64],
    measure: impl Fn(&Run<'_>, u64) -> Result<(Appended, f64)>,
) -> Result<(Appended, f64)> {
    let mut best: Option<(Appended, f64)> = None;
    for &connections in numbers {
        let measured = measure(run, connections).with_context(|| format!("{connections} connections"))?;
        println!("    {connections} connections: {:.0} appends/s", measured.0.per_s);
        if best.is_none_or(|best| measured.0.per_s > best.0.per_s) {
            best = Some(measured);
        }
    }
    best.context("no number of connections was tried")
}

/// Keeps what every client measures.
fn note(run: &mut Run<'_>, case: &str, appended: &Appended) {
    run.tell(APPENDS, case, appended.per_s);
    run.note(ACK, &format!("{case}, p50"), appended.p50_ms);
    run.note(ACK, &format!("{case}, p99"), appended.p99_ms);
}

impl Scenario for StoreAppend {
    fn name(&self) -> &'static str {
        "store-append"
    }

    fn about(&self) -> &'static str {
        "Durable conditional appends of one event of 256 bytes to an event store: in process, over HTTP, to a table of \
         PostgreSQL, and to UmaDB."
    }

    fn method(&self) -> &'static str {
        "an empty store; so many clients, each with one append under way, append in turn to their share of 10,000 streams, on \
         the condition that the stream is at the revision that they saw last; half a second of warm-up, then 5 s for each \
         case. One case has a disk whose syncs take 2 ms longer, as that of a network disk. PostgreSQL has a table with a unique constraint on stream and version, prepared statements, and the best of \
         8, 16, 32, 64 and 128 connections; HTTP the better of 64 and 256; UmaDB, over gRPC, the best of 64, 256 \
         and 1,024 appends under way on 8 connections, the stream being a tag and its condition a query"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_SYNC, POSTGRES, UMADB]
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        match run.subject.key() {
            key if key == POSTGRES.key() => Self::postgres(run),
            key if key == UMADB.key() => Self::umadb(run),
            _ => Self::annals(run),
        }
    }

    fn goals(&self) -> Vec<Goal> {
        let (few, many) = (in_process(64, 0), in_process(1024, 0));
        let slow = in_process(64, SLOW_SYNC_MS);
        vec![
            Goal::least(ANNALS_SYNC, APPENDS, many, 50_000.0),
            Goal::least(ANNALS_SYNC, APPENDS, HTTP, 15_000.0),
            Goal::beside_own(ANNALS_SYNC, (APPENDS, &few), (DISK_ALLOWS, &few), Must::RatioAtLeast(0.8)),
            Goal::beside_own(ANNALS_SYNC, (APPENDS, &slow), (DISK_ALLOWS, &slow), Must::RatioAtLeast(0.8)),
            Goal::beside(ANNALS_SYNC, APPENDS, BEST, POSTGRES, Must::RatioAtLeast(5.0)),
        ]
    }
}
