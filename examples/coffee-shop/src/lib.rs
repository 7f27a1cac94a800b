//! Alex buys a coffee and a cappuccino, told in the three styles of event-driven applications.
//!
//! - [`notification`]: an event says that something happened and little else. Who needs more calls back.
//! - [`state_transfer`]: an event carries everything that a listener could need. One event is enough.
//! - [`sourcing`]: the events are the same as in the first style, and the cashier keeps them. The cashier knows the whole order
//!   by remembering, so the baristas can work in parallel without knowing anybody.

pub mod notification;
pub mod sourcing;
pub mod state_transfer;

use serde::{Deserialize, Serialize};

/// What can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Drink {
    /// A coffee.
    Coffee,
    /// A cappuccino.
    Cappuccino,
}

/// What went wrong at the counter.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
