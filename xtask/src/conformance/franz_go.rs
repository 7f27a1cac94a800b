//! franz-go's own tests of its client: groups that rebalance while they read, transform and write, producing, regular
//! expressions, paused partitions, and what its users once reported.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::go_module::{self, Module};
use super::list::Outcome;
use super::{Run, Suite};

pub(super) const SUITE: Suite = Suite {
    name: "franz-go",
    about: "the tests of the Go client for Kafka, from its module (needs go)",
    settings: &[],
    run,
};

/// The release whose tests are run.
const MODULE: Module = Module { path: "github.com/twmb/franz-go", version: "v1.22.3" };
/// Transactions and share groups, which Annals does not have, and a test that waits for the topic `__consumer_offsets`.
const LEFT_OUT: &str = "^(TestTxnEtl|TestShare.*|TestConsumeRegex)$";
/// Records that each of the groups reads and writes: half a million unless told otherwise.
const RECORDS: &str = "50000";
const LIMIT: Duration = Duration::from_secs(600);

fn run(run: &Run<'_>) -> Result<Vec<Outcome>> {
    let sources = MODULE.fetch(run)?;
    let mut command = Command::new("go");
    command.args(["test", "-json", "-count=1", "-timeout=9m", "-skip", LEFT_OUT, "./pkg/kgo"]);
    command
        .env("KGO_SEEDS", run.kafka)
        .env("KGO_TEST_RF", "1")
        .env("KGO_TEST_RECORDS", RECORDS)
        .current_dir(sources.copy);
    go_module::run(run, &mut command, LIMIT)
}
