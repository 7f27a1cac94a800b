//! What Annals does with bytes that nobody vouches for.
//!
//! Each module is one target: a function that takes any bytes, hands them to the part of Annals that has to bear them, and
//! panics if that part breaks a promise. [`TARGETS`] lists them. The bytes that once led somewhere new are kept in
//! `corpus/TARGET`, and every `cargo test` replays them; `cargo xtask fuzz` searches for more with libFuzzer.
//!
//! What is promised everywhere: no panic, no hang, and no allocation out of proportion to the input.

pub mod amqp_frames;
pub mod amqp_methods;
pub mod batch;
mod forge;
mod input;
pub mod kafka_request;
pub mod segments;
pub mod server_config;
pub mod stored_state;
pub mod topic_config;

// The server is a program, not a library: its settings are compiled in from there, with the modules that they import.
#[allow(dead_code, unused_qualifications, reason = "a target needs only part of it")]
#[path = "../../crates/server/src/serve/config.rs"]
mod config;
#[allow(dead_code, reason = "a target needs only part of it")]
#[path = "../../crates/server/src/human.rs"]
mod human;
#[path = "../../crates/server/src/nearest.rs"]
mod nearest;

/// What the server's settings import under this name.
mod failure {
    /// An error that says that the user was wrong.
    pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::msg(message.into())
    }
}

pub use input::Input;

/// A target: its name, which is also its folder under `corpus`, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("kafka-request", kafka_request::run),
    ("amqp-frames", amqp_frames::run),
    ("amqp-methods", amqp_methods::run),
    ("batch", batch::run),
    ("segments", segments::run),
    ("server-config", server_config::run),
    ("topic-config", topic_config::run),
    ("stored-state", stored_state::run),
];
