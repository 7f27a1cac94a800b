//! The front-end over real connections: what it answers, and what it does to clients that misbehave.

#![expect(clippy::unwrap_used, reason = "a broken connection is a failed test")]

mod answers;
mod harness;
mod hostile;
mod shutdown;
