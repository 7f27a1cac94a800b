//! The servers that are measured, one file for each program.
//!
//! A subject is one program in one configuration: Kafka at its defaults and Kafka with a sync for every message are
//! two. Every subject starts with an empty data directory, and is ready when it answers what a client of its protocol says
//! first, so that ready means the same for all.

mod annals;
mod kafka;
pub(crate) mod postgres;
mod rabbitmq;
mod running;
mod tansu;
pub(crate) mod umadb;
pub(crate) mod usage;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

pub(crate) use self::annals::{ANNALS_ASYNC, ANNALS_QUEUES, ANNALS_SYNC, drop_footers};
pub(crate) use self::kafka::{KAFKA, KAFKA_FLUSH, drop_indexes};
pub(crate) use self::postgres::POSTGRES;
pub(crate) use self::rabbitmq::{RABBITMQ, RABBITMQ_QUORUM};
pub(crate) use self::running::Running;
pub(crate) use self::tansu::{TANSU, TANSU_MEMORY};
pub(crate) use self::umadb::UMADB;
pub(crate) use self::usage::own_cpu_seconds;

/// Where the programs are that the harness runs.
pub(crate) struct Tools {
    /// A release build of `annals`: the server, and the load generator for all servers.
    pub(crate) annals: PathBuf,
    /// `xtask`, which fetches and runs Apache Kafka.
    pub(crate) xtask: PathBuf,
    /// Where downloads and data go.
    pub(crate) target: PathBuf,
}

/// What clients of a subject speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Kafka,
    /// Durable queues are declared with this type, where the server has several.
    Amqp {
        queue_type: Option<&'static str>,
    },
    Postgres,
    Http2,
}

/// Ports of 127.0.0.1 that a subject may use.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    /// Where clients connect.
    pub(crate) clients: u16,
    /// For what else it needs.
    pub(crate) others: [u16; 2],
}

/// One program in one configuration.
pub(crate) trait Subject: Sync {
    /// Its name in `results.json` and on the command line.
    fn key(&self) -> &'static str;

    /// Its name for people.
    fn name(&self) -> &'static str;

    /// Whether it is one of ours, and not a peer.
    fn is_ours(&self) -> bool {
        false
    }

    /// What its clients speak.
    fn protocol(&self) -> Protocol {
        Protocol::Kafka
    }

    /// How many runs of a scenario it gets at most.
    fn runs_max(&self) -> usize {
        usize::MAX
    }

    /// Fetches what it needs, and returns its version. Cheap if everything is there.
    ///
    /// # Errors
    /// If it cannot be had here: the message says why, and the runs go on without it.
    fn prepare(&self, tools: &Tools) -> Result<String>;

    /// Makes what it wants to find in `data` when it starts.
    ///
    /// # Errors
    /// If that cannot be made.
    fn before_start(&self, _data: &Path) -> Result<()> {
        Ok(())
    }

    /// What starts it, with its data in `data`. The process must not fork into the background.
    fn command(&self, tools: &Tools, data: &Path, ports: &Ports) -> Command;

    /// Another process that it needs as long as it runs.
    fn companion(&self, _ports: &Ports) -> Option<Command> {
        None
    }
}

/// A reference to one of the subjects of this module.
pub(crate) type SubjectRef = &'static dyn Subject;

/// All subjects, ours first.
pub(crate) const ALL: &[SubjectRef] = &[
    ANNALS_SYNC,
    ANNALS_ASYNC,
    KAFKA,
    KAFKA_FLUSH,
    TANSU,
    TANSU_MEMORY,
    ANNALS_QUEUES,
    RABBITMQ,
    RABBITMQ_QUORUM,
    POSTGRES,
    UMADB,
];

/// Those that speak Kafka's protocol, ours first.
pub(crate) fn of_kafka() -> Vec<SubjectRef> {
    ALL.iter().copied().filter(|subject| subject.protocol() == Protocol::Kafka).collect()
}

/// The subject with this key.
pub(crate) fn find(key: &str) -> Option<SubjectRef> {
    ALL.iter().copied().find(|subject| subject.key() == key)
}
