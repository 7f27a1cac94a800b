//! Writing as fast as the server acknowledges.

use anyhow::Result;

use crate::load::Load;
use crate::quantity::{ACK, CPU, RAW_WRITE, THROUGHPUT};
use crate::run::Run;
use crate::scenario::{Goal, Must, Scenario};
use crate::servers::{self, ANNALS_ASYNC, ANNALS_SYNC, KAFKA, KAFKA_FLUSH, SubjectRef};

/// Producers and partitions.
const CASES: &[(u64, u64)] = &[(1, 1), (4, 1), (16, 1), (4, 64)];

/// Long enough for batches to fill. With less, librdkafka has more than five of them on the way, the most that an
/// idempotent producer may have, and spins until one comes back: that measures the client.
const LINGER_MS: u64 = 20;

/// See the module.
pub(super) struct Produce;

fn case(producers: u64, partitions: u64) -> String {
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    format!("{producers} producer{}, {partitions} partition{}", plural(producers), plural(partitions))
}

impl Scenario for Produce {
    fn name(&self) -> &'static str {
        "produce"
    }

    fn about(&self) -> &'static str {
        "Writing 1 KiB records with acks=all as fast as the server acknowledges them."
    }

    fn method(&self) -> &'static str {
        "a fresh server, 3 s of warm-up, then 3 s for each case into a topic of its own; idempotent producers, batches of \
         up to 1 MiB, linger 20 ms, 2 MiB in flight for each producer, no compression"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        servers::of_kafka()
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let server = run.start_warm()?;
        for (producers, partitions) in CASES {
            let case = case(*producers, *partitions);
            let load = Load::produce().producers(*producers).partitions(*partitions);
            let load = load.linger_ms(LINGER_MS).beside_disk();
            let outcome = run.load(&server, &case, &load.lasting(run.lasting(3.0)))?;
            run.note(THROUGHPUT, &case, outcome.mb_per_s);
            run.note(CPU, &case, outcome.cpu_s_per_gb);
            if let Some(times) = outcome.latency_ms {
                run.note(ACK, &format!("{case}, p99"), times.p99);
            }
            if let Some(disk) = outcome.disk {
                run.note(RAW_WRITE, &case, disk.large_mb_per_s);
            }
        }
        server.stop()
    }

    fn goals(&self) -> Vec<Goal> {
        let (four, spread) = (case(4, 1), case(4, 64));
        let throughput =
            |ours, peer, times| Goal::beside(ours, THROUGHPUT, four.clone(), peer, Must::RatioAtLeast(times));
        let cpu = |ours| Goal::beside(ours, CPU, four.clone(), KAFKA, Must::RatioAtMost(0.5));
        let own = |quantity, case: &str, times| {
            Goal::beside_own(ANNALS_SYNC, (THROUGHPUT, &spread), (quantity, case), Must::RatioAtLeast(times))
        };
        let disk =
            Goal::beside_own(ANNALS_SYNC, (THROUGHPUT, &four), (RAW_WRITE, &four), Must::RatioAtLeast(0.6));
        vec![
            disk,
            throughput(ANNALS_SYNC, KAFKA_FLUSH, 5.0),
            throughput(ANNALS_SYNC, KAFKA, 1.0),
            throughput(ANNALS_ASYNC, KAFKA, 1.5),
            cpu(ANNALS_SYNC),
            cpu(ANNALS_ASYNC),
            own(THROUGHPUT, &four, 0.9),
        ]
    }
}
