//! Event-carried state transfer: each event says the whole order as it is now.
//!
//! Nobody has to call back, and one who missed an event or came late knows everything from the next one. In exchange events are
//! larger, the same is said again and again, and what somebody keeps of it may be old.

use annals::store::{Expected, Read, StreamName};
use annals::{Event, EventStore};
use serde::{Deserialize, Serialize};

use crate::{Drink, Error};

/// What the counter calls out.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
pub enum CounterEvent {
    /// Somebody has ordered; this is the order with everything in it.
    OrderChanged {
        /// Who.
        customer: String,
        /// All drinks, those from before included.
        drinks: Vec<Drink>,
    },
}

/// Says that `customer` wants all of `drinks`.
///
/// # Errors
/// If nobody can be told.
pub async fn call_out(store: &EventStore, customer: &str, drinks: &[Drink]) -> Result<(), Error> {
    let event = CounterEvent::OrderChanged { customer: customer.to_owned(), drinks: drinks.to_vec() };
    store.append(StreamName::of("order", customer)?, vec![event]).expecting(Expected::Any).await?;
    Ok(())
}

/// What a barista knows who hears the last thing that was called out and nothing else.
///
/// # Errors
/// If the events cannot be read.
pub async fn heard_last(store: &EventStore) -> Result<Option<CounterEvent>, Error> {
    let last = store.read(Read::all().backward().limit(1)).await?;
    Ok(last.into_iter().next().map(|event| event.event))
}
