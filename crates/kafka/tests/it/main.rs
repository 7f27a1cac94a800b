//! The Kafka front-end over real connections.

mod harness;
mod hostile;
mod order;
mod records;
