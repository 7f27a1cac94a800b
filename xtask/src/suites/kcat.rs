//! kcat, the command-line client, driven by a shell script.

use std::process::Command;

use anyhow::Result;

use super::{CLIENT_LIMIT, Role, Suite};
use crate::tally::Format;
use crate::test::Options;
use crate::workspace::Workspace;

pub(super) const SUITE: Suite = Suite {
    name: "kcat",
    about: "kcat 1.7 on librdkafka, from a shell (needs kcat: apt-get install kcat)",
    needs: &["bash", "kcat"],
    role: Role::Client,
    format: Format::Lines,
    limit: CLIENT_LIMIT,
    prepare,
};

fn prepare(workspace: &Workspace, options: &Options, _: &Suite) -> Result<Command> {
    let mut command = Command::new("bash");
    command.arg(workspace.client_sources().join("kcat/run.sh")).args(options.filter.as_deref());
    Ok(command)
}
