//! The tests of the crates: unit, property, crash and fault tests, and what the crates' own `tests` folders hold.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{Role, Suite};
use crate::shell;
use crate::tally::Format;
use crate::test::Options;
use crate::workspace::Workspace;

pub(super) const SUITE: Suite = Suite {
    name: "rust",
    about: "cargo test of every crate (needs a C compiler for compression libraries and librdkafka)",
    needs: &["cc"],
    role: Role::Rust,
    format: Format::Cargo,
    limit: Duration::from_secs(3600),
    prepare,
};

fn prepare(workspace: &Workspace, options: &Options, _: &Suite) -> Result<Command> {
    let mut command = Command::new(shell::cargo());
    command.args(["test", "--workspace", "--no-fail-fast"]).args(options.release.then_some("--release"));
    command.env("ANNALS_TEST_SEEDS", options.seeds.to_string()).current_dir(&workspace.root);
    Ok(command)
}
