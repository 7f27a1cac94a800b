//! What the server takes of the memory, with nothing to do and with as much as it can do.

use anyhow::Result;

use crate::load::Load;
use crate::quantity::{CPU, RESIDENT, TIME};
use crate::run::Run;
use crate::scenario::{Goal, Scenario};
use crate::servers::{ANNALS_SYNC, KAFKA, SubjectRef, TANSU, TANSU_MEMORY};

const IDLE: &str = "idle";
const LOADED: &str = "peak under load";

/// See the module.
pub(super) struct Memory;

impl Scenario for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn about(&self) -> &'static str {
        "Resident memory of a server that has just started, and at its peak under full load."
    }

    fn method(&self) -> &'static str {
        "a fresh server left alone for 4 s (VmRSS); then 16 producers into 64 partitions for 4 s and one consumer that reads \
         all of it (VmHWM)"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_SYNC, KAFKA, TANSU, TANSU_MEMORY]
    }

    fn peer_runs_max(&self) -> usize {
        3
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = run.start()?;
        run.tell(TIME, "first start until ready", server.ready_after.as_secs_f64());
        std::thread::sleep(run.lasting(4.0));
        run.tell(RESIDENT, IDLE, server.resident_mib()?);
        let load = Load::produce().producers(16).partitions(64).into_topic("load").lasting(run.lasting(4.0));
        let outcome = run.load(&server, "load", &load)?;
        run.note(CPU, "load", outcome.cpu_s_per_gb);
        run.load(&server, "reading", &Load::consume().into_topic("load").records(run.count(1 << 20)))?;
        run.tell(RESIDENT, LOADED, server.resident_peak_mib()?);
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        vec![
            Goal::limit(ANNALS_SYNC, RESIDENT, IDLE, 30.0),
            Goal::limit(ANNALS_SYNC, RESIDENT, LOADED, 300.0),
        ]
    }
}
