//! Topics: describing, creating, growing, deleting them, and deleting their records.

mod change;
mod create;
mod describe;
mod records;
