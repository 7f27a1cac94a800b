//! CQRS: orders are written as events and read from tables that are made for their questions.
//!
//! The write side is [`Order`], with the rules. The read side is [`ReadModels`]: three tables in SQLite that follow the events, in
//! one transaction with the place up to which they have followed. Both sides can be changed without the other.

mod order;
mod queries;
mod read_models;

pub use order::{Command, Item, Order, OrderEvent, Refusal, State, Status};
pub use queries::{Queries, Summary};
pub use read_models::ReadModels;
