//! The Kafka front-end over real connections.

#![expect(clippy::expect_used, reason = "a broken connection is a failed test")]

mod admin;
mod groups;
mod harness;
mod hostile;
mod order;
mod records;
mod stalled;
mod stored;
