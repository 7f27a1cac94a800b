//! Reading what is stored, from the start.

use anyhow::Result;

use crate::files;
use crate::load::Load;
use crate::quantity::{CPU, THROUGHPUT};
use crate::run::Run;
use crate::scenario::{Goal, Must, Scenario};
use crate::servers::{ANNALS_SYNC, KAFKA, Running, SubjectRef};

/// 1 GiB.
const RECORDS: u64 = 1 << 20;
const PARTITIONS: &[u64] = &[1, 64];

/// See the module.
pub(super) struct Consume;

fn case(partitions: u64) -> String {
    format!("{partitions} partition{}", if partitions == 1 { "" } else { "s" })
}

fn cold_case(partitions: u64) -> String {
    format!("{}, from the disk", case(partitions))
}

impl Scenario for Consume {
    fn name(&self) -> &'static str {
        "consume"
    }

    fn about(&self) -> &'static str {
        "Reading 1 GiB of 1 KiB records from the start of a topic."
    }

    fn method(&self) -> &'static str {
        "a fresh server, 3 s of warm-up with writing and reading; 4 producers fill the topic, then one consumer without a \
         group reads all of it once, with the page cache as the server left it, and another one once more with nothing \
         of the server's files in the page cache; checksums are not checked by the client"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_SYNC, KAFKA]
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = run.start_warm()?;
        for partitions in PARTITIONS {
            let (case, topic, records) =
                (case(*partitions), format!("stored-{partitions}"), run.count(RECORDS));
            let fill =
                Load::produce().producers(4).partitions(*partitions).into_topic(&topic).records(records);
            run.load(&server, &format!("{case}, filling"), &fill)?;
            let read = Load::consume().into_topic(&topic).records(records);
            self.read(run, &server, &case, &read)?;
            files::evict(server.data())?;
            self.read(run, &server, &cold_case(*partitions), &read)?;
        }
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        let goal = |case| Goal::beside(ANNALS_SYNC, THROUGHPUT, case, KAFKA, Must::RatioAtLeast(2.0));
        PARTITIONS
            .iter()
            .flat_map(|partitions| [case(*partitions), cold_case(*partitions)])
            .map(goal)
            .collect()
    }
}

impl Consume {
    fn read(&self, run: &mut Run<'_>, server: &Running, case: &str, read: &Load) -> Result<()> {
        let outcome = run.load(server, case, read)?;
        run.note(THROUGHPUT, case, outcome.mb_per_s);
        run.note(CPU, case, outcome.cpu_s_per_gb);
        Ok(())
    }
}
