//! The servers that are measured, one file for each program.
//!
//! A subject is one program in one configuration: Kafka at its defaults and Kafka with a sync for every message are
//! two. Every subject starts with an empty data directory, and is ready when it answers a first request of the Kafka
//! protocol, so that ready means the same for all.

mod annals;
mod kafka;
mod running;
mod tansu;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

pub(crate) use self::annals::{ANNALS_ASYNC, ANNALS_SYNC, drop_footers};
pub(crate) use self::kafka::{KAFKA, KAFKA_FLUSH, drop_indexes};
pub(crate) use self::running::Running;
pub(crate) use self::tansu::{TANSU, TANSU_MEMORY};

/// Where the programs are that the harness runs.
pub(crate) struct Tools {
    /// A release build of `annals`: the server, and the load generator for all servers.
    pub(crate) annals: PathBuf,
    /// `xtask`, which fetches and runs Apache Kafka.
    pub(crate) xtask: PathBuf,
    /// Where downloads and data go.
    pub(crate) target: PathBuf,
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

    /// How many runs of a scenario it gets at most.
    fn runs_max(&self) -> usize {
        usize::MAX
    }

    /// Fetches what it needs, and returns its version. Cheap if everything is there.
    ///
    /// # Errors
    /// If it cannot be had here: the message says why, and the runs go on without it.
    fn prepare(&self, tools: &Tools) -> Result<String>;

    /// What starts it on `port` of 127.0.0.1, with its data in `data`. The process must not fork into the background.
    fn command(&self, tools: &Tools, data: &Path, port: u16) -> Command;
}

/// A reference to one of the subjects of this module.
pub(crate) type SubjectRef = &'static dyn Subject;

/// All subjects, ours first.
pub(crate) const ALL: &[SubjectRef] = &[ANNALS_SYNC, ANNALS_ASYNC, KAFKA, KAFKA_FLUSH, TANSU, TANSU_MEMORY];

/// The subject with this key.
pub(crate) fn find(key: &str) -> Option<SubjectRef> {
    ALL.iter().copied().find(|subject| subject.key() == key)
}
