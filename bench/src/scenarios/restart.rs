//! Getting ready again after kill -9, with 10 GiB on disk.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::files;
use crate::load::Load;
use crate::quantity::{RAW_READ, RESIDENT, TIME};
use crate::run::Run;
use crate::scenario::{Goal, Must, Scenario};
use crate::servers::{ANNALS_SYNC, KAFKA, Running, SubjectRef, drop_footers, drop_indexes};

/// 10 GiB.
const RECORDS: u64 = 10 << 20;
const PARTITIONS: u64 = 16;
const TOPIC: &str = "stored";

const KILLED: &str = "after kill -9";
const BARE: &str = "after kill -9, derived indexes deleted";

/// See the module.
pub(super) struct Restart;

impl Restart {
    /// Fills the topic once; later runs find it there.
    fn fill(run: &Run<'_>) -> Result<Running> {
        let (server, filled) = (run.start()?, run.data().join("filled"));
        if !filled.exists() {
            let load = Load::produce().producers(4).partitions(PARTITIONS).into_topic(TOPIC);
            run.load(&server, "filling", &load.records(run.count(RECORDS)))?;
            std::fs::write(filled, "")?;
        }
        files::wait_for_rest(run.data(), &run.place.clock)?;
        Ok(server)
    }

    /// Starts with nothing of its files in the page cache.
    fn start_cold(run: &mut Run<'_>, case: &str) -> Result<Running> {
        files::evict(run.data())?;
        let server = run.start()?;
        run.tell(TIME, case, server.ready_after.as_secs_f64());
        run.note(RESIDENT, case, server.resident_mib()?);
        Ok(server)
    }
}

/// Kills the server while producers write.
fn kill_under_load(run: &Run<'_>, server: Running) -> Result<()> {
    let load = Load::produce().producers(4).into_topic(TOPIC).lasting(Duration::from_secs(60));
    let mut command = load.command(&run.place.tools, &server);
    let mut producers =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot start the load")?;
    std::thread::sleep(run.lasting(1.5));
    let still_writing = producers.try_wait()?.is_none();
    let killed = server.kill();
    producers.kill()?;
    producers.wait()?;
    ensure!(still_writing, "the producers had ended before the kill");
    killed
}

/// Deletes what can be built again from the log.
fn delete_indexes(run: &Run<'_>) -> Result<u64> {
    if run.subject.is_ours() { drop_footers(run.data()) } else { drop_indexes(run.data()) }
}

impl Scenario for Restart {
    fn name(&self) -> &'static str {
        "restart"
    }

    fn about(&self) -> &'static str {
        "The time from starting the process to its first answer with 10 GiB on disk, after kill -9 under load, and after the \
         same with all derived indexes deleted, beside reading the files once."
    }

    fn method(&self) -> &'static str {
        "10 GiB of 1 KiB records in 16 partitions, written once; in each run 4 producers write for 1.5 s and the server is \
         killed; before each start and before the raw read the files are evicted from the page cache; of Annals the footers \
         of all segments are cut off, of Kafka the index files, producer snapshots and checkpoints are deleted"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_SYNC, KAFKA]
    }

    fn keeps_data(&self) -> bool {
        true
    }

    fn peer_runs_max(&self) -> usize {
        3
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = Self::fill(run)?;
        kill_under_load(run, server)?;
        let server = Self::start_cold(run, KILLED)?;
        files::wait_for_rest(run.data(), &run.place.clock)?;
        kill_under_load(run, server)?;
        let deleted = delete_indexes(run)?;
        println!("    {deleted} indexes deleted");
        files::evict(run.data())?;
        let read = files::read_time(run.data(), &run.place.clock)?;
        run.tell(RAW_READ, BARE, read.as_secs_f64());
        let server = Self::start_cold(run, BARE)?;
        files::wait_for_rest(run.data(), &run.place.clock)?;
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        vec![
            Goal::limit(ANNALS_SYNC, TIME, KILLED, 2.0),
            Goal::beside_own(ANNALS_SYNC, (TIME, BARE), (RAW_READ, BARE), Must::RatioAtMost(1.5)),
        ]
    }
}
