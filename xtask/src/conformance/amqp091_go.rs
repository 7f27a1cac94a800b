//! amqp091-go's own tests: what its makers, who are RabbitMQ's, run against RabbitMQ.
//!
//! All of its tests run, with those that need a broker (`-tags integration`), one after the other. Some of them break
//! connections by RabbitMQ's management API, whose port they take for granted: the copy is told ours.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::go_module::{self, Module};
use super::list::Outcome;
use super::{Run, Suite};

pub(super) const SUITE: Suite = Suite {
    name: "amqp091-go",
    about: "the tests of the Go client for AMQP, from its module (needs go)",
    settings: &[],
    run,
};

/// The release whose tests are run.
const MODULE: Module = Module { path: "github.com/rabbitmq/amqp091-go", version: "v1.16.0" };
/// What names the port of the management API.
const MANAGED: [&str; 2] = ["internal/utils/http.go", "recovery_test.go"];
const MANAGEMENT_PORT: &str = "15672";
const LIMIT: Duration = Duration::from_secs(900);

fn run(run: &Run<'_>) -> Result<Vec<Outcome>> {
    let (_, port) = run.http.rsplit_once(':').context("an address without a port")?;
    let sources = MODULE.fetch(run)?;
    sources.replace(&MANAGED, MANAGEMENT_PORT, port)?;
    let mut command = Command::new("go");
    command.args(["test", "-json", "-count=1", "-tags=integration", "-timeout=14m", "."]);
    command.env("AMQP_URL", run.amqp_url("")).current_dir(sources.copy);
    go_module::run(run, &mut command, LIMIT)
}
