//! The command line against a running broker.
//!
//! Each test starts `annals serve` on a free port and a directory of its own. With
//! `ANNALS_TEST_BOOTSTRAP=HOST:PORT` they use that broker instead, so that the same tests show that the
//! commands work against Apache Kafka; names of topics and groups are new in every run.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod bench;
mod broker;
mod consume;
mod group;
mod produce;
mod topic;
