//! RabbitMQ as Debian packages it, as one private node: its own name, ports, data, cookie and port mapper, no plugins, and
//! nothing of `/etc/rabbitmq`. It is installed if it is not there and this user may.
//!
//! Classic queues answer a persistent publish after a sync that many of them share; quorum queues, of one member here, write
//! a log of their own and sync it. Both are as they come.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Ports, Protocol, Subject, SubjectRef, Tools};
use crate::command::output;

/// With classic queues: the default.
pub(crate) const RABBITMQ: SubjectRef =
    &RabbitMq { key: "rabbitmq", name: "RabbitMQ, classic queues", queue_type: "classic" };

/// With quorum queues, which RabbitMQ recommends where data matters.
pub(crate) const RABBITMQ_QUORUM: SubjectRef =
    &RabbitMq { key: "rabbitmq-quorum", name: "RabbitMQ, quorum queues", queue_type: "quorum" };

/// The script behind `/usr/sbin/rabbitmq-server`, which would change the user.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const PACKAGE: &str = "rabbitmq-server";

struct RabbitMq {
    key: &'static str,
    name: &'static str,
    queue_type: &'static str,
}

impl Subject for RabbitMq {
    fn key(&self) -> &'static str {
        self.key
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn protocol(&self) -> Protocol {
        Protocol::Amqp { queue_type: Some(self.queue_type) }
    }

    fn prepare(&self, _tools: &Tools) -> Result<String> {
        if !Path::new(PROGRAM).exists() {
            install().context("RabbitMQ is not there")?;
        }
        let version = output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", PACKAGE]))?;
        // What Debian has patched does not matter here.
        Ok(version.split('-').next().unwrap_or_default().to_owned())
    }

    fn command(&self, _tools: &Tools, data: &Path, ports: &Ports) -> Command {
        let mut command = Command::new(PROGRAM);
        let [dist_port, mapper_port] = ports.others.map(|port| port.to_string());
        command.env("HOME", data).current_dir(data);
        command.env("ERL_EPMD_PORT", mapper_port).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODENAME", format!("annals-bench-{}@localhost", ports.clients));
        command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODE_PORT", ports.clients.to_string());
        command.env("RABBITMQ_DIST_PORT", dist_port);
        let paths = [
            ("RABBITMQ_MNESIA_BASE", "mnesia"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "plugins"),
            ("RABBITMQ_CONF_ENV_FILE", "environment"),
            ("RABBITMQ_CONFIG_FILE", "configuration"),
            ("RABBITMQ_PID_FILE", "pid"),
        ];
        paths.iter().for_each(|(variable, name)| {
            command.env(variable, data.join(name));
        });
        let arguments = "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false";
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", arguments);
        // Has the script become the server, so that the process that was started is the one that is measured.
        command.env("RUNNING_UNDER_SYSTEMD", "true");
        command
    }

    /// Erlang's port mapper, which a node would start by itself and leave behind.
    fn companion(&self, ports: &Ports) -> Option<Command> {
        let mut command = Command::new("epmd");
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1").args(["-port", &ports.others[1].to_string()]);
        Some(command)
    }
}

/// Installs the package, where that can be done without asking anybody.
fn install() -> Result<()> {
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
        bail!("install it (apt-get install {PACKAGE}), or run this as root on Debian");
    }
    println!("installing {PACKAGE}");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        // Without a run level, its service is not started.
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").args(arguments);
        output(&mut command)
    };
    // The lists of packages may be old; those that are there may do.
    let _ = apt(&["update", "-qq"]);
    apt(&["install", "-y", "-qq", "--no-install-recommends", PACKAGE])?;
    let there = fs::exists(PROGRAM)?;
    if there { Ok(()) } else { bail!("the package {PACKAGE} has no {PROGRAM}") }
}
