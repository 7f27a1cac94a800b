//! The server as a process: what real clients, strangers, full disks and SIGKILL do to it.
//!
//! `ANNALS_TEST_KILLS=N` makes the crash test kill the server that often, `ANNALS_TEST_SEED=N` repeats its moments;
//! `ANNALS_TEST_IDLE=N` and `ANNALS_TEST_STALLED=N` make the crowds of `scale` that large. `cargo xtask reliability` does all
//! of it. A line `figure: NAME=VALUE` is for its table.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod admin;
mod amqp;
mod clients;
mod crash;
mod event_store;
mod event_store_cli;
mod faults;
mod full_disk;
mod groups;
mod hostile;
mod queue_commands;
mod queues;
mod records;
mod scale;
mod server;
#[cfg(feature = "otlp")]
mod traces;
mod wire;
