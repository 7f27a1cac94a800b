//! The Python clients, with pytest, in one virtual environment below the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{CLIENT_LIMIT, Role, Suite};
use crate::shell;
use crate::tally::Format;
use crate::test::Options;
use crate::workspace::Workspace;

pub(super) const CONFLUENT_KAFKA: Suite =
    suite("confluent-kafka", "Confluent's Python client on librdkafka (needs python3 with venv)");
pub(super) const KAFKA_PYTHON: Suite =
    suite("kafka-python", "the pure Python client (needs python3 with venv)");
pub(super) const AIOKAFKA: Suite = suite("aiokafka", "the asyncio Python client (needs python3 with venv)");
pub(super) const PIKA: Suite =
    amqp_suite("pika", "the Python client of RabbitMQ's makers (needs python3 with venv)");
pub(super) const AIO_PIKA: Suite =
    amqp_suite("aio-pika", "the asyncio Python client for AMQP (needs python3 with venv)");
pub(super) const RABBITMQ_MANAGEMENT: Suite = amqp_suite(
    "rabbitmq-management",
    "amqpstorm's management client, pyrabbit2 and, where it is installed, rabbitmqadmin (needs python3 with venv)",
);

const fn suite(name: &'static str, about: &'static str) -> Suite {
    let needs = &["python3"];
    Suite { name, about, needs, role: Role::Client, format: Format::Pytest, limit: CLIENT_LIMIT, prepare }
}

const fn amqp_suite(name: &'static str, about: &'static str) -> Suite {
    Suite { role: Role::AmqpClient, ..suite(name, about) }
}

fn prepare(workspace: &Workspace, options: &Options, suite: &Suite) -> Result<Command> {
    let sources = workspace.client_sources().join("python");
    let python = environment(&workspace.clients().join("python"), &sources.join("requirements.txt"))?;
    let mut command = Command::new(python);
    command.args(["-m", "pytest", "-p", "no:cacheprovider", "-v", "-rfEs", "--tb=short"]);
    command.args(options.filter.iter().flat_map(|filter| ["-k", filter]));
    command.arg(format!("with_{}", suite.name.replace('-', "_")));
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(sources);
    if suite.name == PIKA.name {
        command.env("ANNALS_EXAMPLE_QUEUES", example(workspace)?);
    }
    Ok(command)
}

/// Builds the program that is the other side of requests.
fn example(workspace: &Workspace) -> Result<PathBuf> {
    const NAME: &str = "annals-example-queues";
    let mut cargo = Command::new(shell::cargo());
    shell::run(cargo.args(["build", "--quiet", "--package", NAME]).current_dir(&workspace.root))?;
    Ok(workspace.target.join("debug").join(NAME))
}

/// The interpreter of an environment that holds exactly `requirements`; makes one if there is none.
pub(crate) fn environment(folder: &Path, requirements: &Path) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    let installed = folder.join("installed.txt");
    let wanted = std::fs::read(requirements)?;
    if std::fs::read(&installed).is_ok_and(|present| present == wanted) {
        return Ok(python);
    }
    println!("installing Python packages into {}", folder.display());
    shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    shell::run(pip.arg(requirements))?;
    std::fs::write(installed, wanted)?;
    Ok(python)
}
