//! franz-go and its admin package, with `go test`.

use std::process::Command;

use anyhow::Result;

use super::{CLIENT_LIMIT, Role, Suite};
use crate::tally::Format;
use crate::test::Options;
use crate::workspace::Workspace;

pub(super) const FRANZ_GO: Suite = Suite {
    name: "franz-go",
    about: "the Go client (needs go)",
    needs: &["go"],
    role: Role::Client,
    format: Format::Go,
    limit: CLIENT_LIMIT,
    prepare,
};

fn prepare(workspace: &Workspace, options: &Options, _: &Suite) -> Result<Command> {
    let mut command = Command::new("go");
    // `-count=1` because a result from the cache says nothing about this broker.
    command.args(["test", "-json", "-count=1", "-timeout=7m"]);
    command.args(options.filter.iter().flat_map(|filter| ["-run", filter])).arg("./...");
    command.current_dir(workspace.client_sources().join("go"));
    Ok(command)
}
