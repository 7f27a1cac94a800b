//! amqplib, the client of AMQP for Node; and how Node packages are installed, with npm.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{CLIENT_LIMIT, Role, Suite};
use crate::shell;
use crate::tally::Format;
use crate::test::Options;
use crate::workspace::Workspace;

pub(super) const AMQPLIB: Suite = Suite {
    name: "amqplib",
    about: "the Node client for AMQP (needs node, 18 or later, and npm)",
    needs: &["node", "npm"],
    role: Role::AmqpClient,
    format: Format::Lines,
    limit: CLIENT_LIMIT,
    prepare,
};

fn prepare(workspace: &Workspace, options: &Options, _: &Suite) -> Result<Command> {
    let (sources, folder) = (workspace.client_sources().join("node"), workspace.clients().join("node"));
    install(&folder, &sources)?;
    let mut command = Command::new("node");
    command.arg(sources.join("main.js")).args(options.filter.as_deref());
    command.env("NODE_PATH", folder.join("node_modules"));
    Ok(command)
}

/// Installs what the `package.json` in `sources` asks for into `folder`, unless that was done for the same file.
pub(crate) fn install(folder: &Path, sources: &Path) -> Result<()> {
    let (wanted, installed) = (std::fs::read(sources.join("package.json"))?, folder.join("installed.json"));
    if std::fs::read(&installed).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    println!("installing Node packages into {}", folder.display());
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("package.json"), &wanted)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
    shell::run(&mut npm)?;
    std::fs::write(installed, wanted)?;
    Ok(())
}
