//! Event sourcing and CQRS in Rust: aggregates as pure functions over events that are durable.
//!
//! ```
//! use annals::{Annals, Decider, Event};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
//! enum AccountEvent {
//!     #[event(name = "MoneyDeposited")]
//!     Deposited { amount: u64 },
//!     #[event(name = "MoneyWithdrawn")]
//!     Withdrawn { amount: u64 },
//! }
//!
//! enum Command {
//!     Deposit(u64),
//!     Withdraw(u64),
//! }
//!
//! #[derive(Debug, PartialEq, thiserror::Error)]
//! #[error("only {balance} left")]
//! struct Overdrawn {
//!     balance: u64,
//! }
//!
//! struct Account;
//!
//! impl Decider for Account {
//!     type Command = Command;
//!     type Event = AccountEvent;
//!     type State = u64;
//!     type Error = Overdrawn;
//!     const CATEGORY: &'static str = "account";
//!
//!     fn decide(command: &Command, balance: &u64) -> Result<Vec<AccountEvent>, Overdrawn> {
//!         match *command {
//!             Command::Deposit(amount) => Ok(vec![AccountEvent::Deposited { amount }]),
//!             Command::Withdraw(amount) if amount > *balance => Err(Overdrawn { balance: *balance }),
//!             Command::Withdraw(amount) => Ok(vec![AccountEvent::Withdrawn { amount }]),
//!         }
//!     }
//!
//!     fn evolve(balance: u64, event: &AccountEvent) -> u64 {
//!         match event {
//!             AccountEvent::Deposited { amount } => balance + amount,
//!             AccountEvent::Withdrawn { amount } => balance - amount,
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Annals::in_memory().store("bank").await?;
//! store.execute::<Account>("123", Command::Deposit(100)).await?;
//! let done = store.execute::<Account>("123", Command::Withdraw(30)).idempotency_key("atm-7/42").await?;
//! assert_eq!(done.state, 70);
//!
//! // A second attempt with the same key finds the first one's result.
//! let again = store.execute::<Account>("123", Command::Withdraw(30)).idempotency_key("atm-7/42").await?;
//! assert_eq!((again.state, again.revision), (70, done.revision));
//!
//! // The past is still there.
//! let before = store.load::<Account>("123").at_revision(0).await?;
//! assert_eq!(before.state, 100);
//! # Ok(()) }
//! ```
//!
//! Where to look: [`Event`] and [`Decider`] for the domain, [`EventStore`] for what can be done with it, [`testing`] for tests
//! in the form given, when, then, [`Upcasters`] for events that have changed, [`store`] for what lies underneath.
//!
//! Promises: what was acknowledged is durable (the in-memory store aside). A command's events are stored together or not
//! at all, and only if nothing that its decision read has changed. Snapshots are a cache: delete them and nothing is lost.
//! What an event type says to encrypt for somebody ([`Event::encrypt_for`]) is stored nowhere else by this crate, and is gone for good
//! after [`EventStore::shred`].

// The derive macro names this crate by its name, in its own tests as everywhere else.
#[cfg(test)]
extern crate self as annals;

mod annals_handle;
mod boundary;
#[cfg(feature = "client")]
pub mod client;
mod codec;
mod decider;
#[cfg(feature = "embedded")]
mod directory;
mod envelope;
mod error;
mod event;
mod event_store;
mod execute;
mod load;
pub mod projection;
pub mod rpc;
pub mod schema;
mod snapshot;
pub mod store;
pub mod testing;
mod upcast;
mod variant;

pub use annals_clock::{Clock, ManualClock, TimestampMs, Uuid};
pub use annals_derive::Event;
pub use annals_event::Time;
#[cfg(feature = "sqlite")]
pub use rusqlite;
#[cfg(feature = "postgres")]
pub use tokio_postgres;

pub use annals_handle::{Annals, StoreBuilder, StoreError};
pub use boundary::ExecuteOn;
pub use codec::DecodeError;
pub use decider::Decider;
#[cfg(feature = "embedded")]
pub use directory::OpenError;
pub use envelope::Envelope;
pub use error::ErrorKind;
pub use event::{EncodeError, Event, EventType, Tag};
pub use event_store::{AppendEvents, AppendEventsError, EventStore, ReadEventsError};
pub use execute::{Execute, ExecuteError, Executed};
pub use load::{Load, LoadError, Loaded};
pub use snapshot::SnapshotPolicy;
pub use upcast::{RawEvent, UpcastError, Upcasted, Upcasters, UpcastersError};
