//! The suites of `cargo xtask test`, one file for each runner.
//!
//! A suite prepares its runner below the target directory and returns the command that runs it. The command finds
//! the broker in `ANNALS_KAFKA` or `ANNALS_AMQP`, as `HOST:PORT`, and may find topics of earlier suites there: it names its own so
//! that nothing collides.

mod go;
mod java;
mod kcat;
pub(crate) mod node;
pub(crate) mod python;
mod rust;

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::tally::Format;
use crate::test::Options;
use crate::workspace::Workspace;

/// One program that runs tests and reports them.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The programs that must be on the path.
    pub(crate) needs: &'static [&'static str],
    pub(crate) role: Role,
    pub(crate) format: Format,
    /// When the suite is taken to hang.
    pub(crate) limit: Duration,
    /// Installs and builds what the suite needs, and returns what runs it.
    pub(crate) prepare: fn(&Workspace, &Options, &Suite) -> Result<Command>,
}

/// Whether a suite brings its own server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The tests of the crates, which start what they need themselves.
    Rust,
    /// A client of the Kafka protocol, which needs a broker.
    Client,
    /// A client of AMQP, which needs a broker too.
    AmqpClient,
}

/// All suites, in the order in which they run.
pub(crate) const ALL: &[Suite] = &[
    rust::SUITE,
    kcat::SUITE,
    python::CONFLUENT_KAFKA,
    python::KAFKA_PYTHON,
    python::AIOKAFKA,
    java::KAFKA_CLIENTS_3,
    java::KAFKA_CLIENTS_4,
    go::FRANZ_GO,
    python::PIKA,
    python::AIO_PIKA,
    java::RABBITMQ,
    node::AMQPLIB,
    python::RABBITMQ_MANAGEMENT,
];

/// Long enough for two slow cores, short enough that a hang is noticed.
const CLIENT_LIMIT: Duration = Duration::from_secs(480);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = ALL.iter().map(|suite| suite.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
