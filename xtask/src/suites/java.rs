//! Java clients: Apache Kafka's own, one source compiled and run against an old and a new release; and RabbitMQ's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{CLIENT_LIMIT, Role, Suite};
use crate::tally::Format;
use crate::test::Options;
use crate::workspace::Workspace;
use crate::{kafka, shell};

pub(super) const KAFKA_CLIENTS_3: Suite = Suite {
    name: "java-3.9",
    about: "Apache Kafka's Java client 3.9 (needs a JDK, 17 or later, and Maven)",
    prepare: |workspace, options, _| prepare(workspace, options, "3.9.2"),
    ..KAFKA_CLIENTS_4
};

pub(super) const KAFKA_CLIENTS_4: Suite = Suite {
    name: "java-4.4",
    about: "Apache Kafka's Java client 4.4 (needs a JDK, 17 or later, and Maven)",
    needs: &["java", "javac", "mvn"],
    role: Role::Client,
    format: Format::Lines,
    limit: CLIENT_LIMIT,
    prepare: |workspace, options, _| prepare(workspace, options, "4.4.0"),
};

/// Its version is in its project file.
pub(super) const RABBITMQ: Suite = Suite {
    name: "rabbitmq-java",
    about: "RabbitMQ's Java client (needs a JDK, 17 or later, and Maven)",
    role: Role::AmqpClient,
    prepare: |workspace, options, _| {
        let folder = workspace.clients().join("java-amqp");
        run_main(&workspace.client_sources().join("java-amqp"), &folder, &[], options)
    },
    ..KAFKA_CLIENTS_4
};

fn prepare(workspace: &Workspace, options: &Options, version: &str) -> Result<Command> {
    let folder = workspace.clients().join("java").join(version);
    let properties = [format!("-Dkafka.version={version}")];
    run_main(&workspace.client_sources().join("java"), &folder, &properties, options)
}

/// Fetches, compiles, and returns what runs `annals.Main`.
fn run_main(sources: &Path, folder: &Path, properties: &[String], options: &Options) -> Result<Command> {
    let jars = fetch(&sources.join("pom.xml"), folder, properties)?;
    let classes = compile(sources, folder, &jars)?;
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp"]);
    command.arg(format!("{}:{}/*", classes.display(), jars.display()));
    command.arg("annals.Main").args(options.filter.as_deref());
    Ok(command)
}

/// Fetches what a project file names, unless that was done for the same file.
fn fetch(pom: &Path, folder: &Path, properties: &[String]) -> Result<PathBuf> {
    let (jars, fetched) = (folder.join("jars"), folder.join("fetched.xml"));
    let wanted = std::fs::read(pom)?;
    if !std::fs::read(&fetched).is_ok_and(|present| present == wanted) {
        println!("fetching the client and what it needs into {}", jars.display());
        kafka::copy_dependencies(pom, &jars, properties)?;
        std::fs::write(fetched, wanted)?;
    }
    Ok(jars)
}

fn compile(sources: &Path, folder: &Path, jars: &Path) -> Result<PathBuf> {
    let classes = folder.join("classes");
    let mut command = Command::new("javac");
    command.args(["-nowarn", "-d"]).arg(&classes).arg("-cp").arg(jars.join("*"));
    command.args(java_files(&sources.join("src/annals"))?);
    shell::run(&mut command)?;
    Ok(classes)
}

fn java_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "java"));
    files.sort();
    Ok(files)
}
