//! Event notification: "there is an order", and whoever cares asks the counter which.
//!
//! Events stay small and nobody's knowledge gets old. In exchange the counter must be there when somebody calls back, and
//! each event is seen separately: two baristas work independently of each other, each on its own kind of drink.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use annals::store::{Expected, Read, Signal, StreamName, Subscription};
use annals::{Event, EventStore};
use serde::{Deserialize, Serialize};

use crate::{Drink, Error};

/// What the counter calls out.
#[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
pub enum CounterEvent {
    /// Somebody has ordered something: ask for `order`.
    DrinkOrdered {
        /// The number of the order.
        order: u32,
    },
}

/// An order, as the counter knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Who has ordered.
    pub customer: String,
    /// What.
    pub drink: Drink,
}

/// The system that the events come from, and that answers questions about them.
#[derive(Debug, Default)]
pub struct Counter {
    orders: Mutex<BTreeMap<u32, Order>>,
    last: AtomicU32,
    /// How often somebody has called back.
    pub questions: AtomicUsize,
}

impl Counter {
    /// Takes an order down and says that there is one.
    ///
    /// # Errors
    /// If nobody can be told.
    pub async fn order(&self, store: &EventStore, customer: &str, drink: Drink) -> Result<(), Error> {
        let order = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let taken = Order { customer: customer.to_owned(), drink };
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).insert(order, taken);
        let stream = StreamName::of("counter", "1")?;
        store.append(stream, vec![CounterEvent::DrinkOrdered { order }]).expecting(Expected::Any).await?;
        Ok(())
    }

    /// The call back.
    pub fn ask(&self, order: u32) -> Option<Order> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).get(&order).cloned()
    }
}

/// Somebody who makes one kind of drink.
#[derive(Debug)]
pub struct Barista {
    makes: Drink,
    store: EventStore,
    heard: Subscription,
}

impl Barista {
    /// A barista who hears everything from the first event on.
    pub fn new(store: &EventStore, makes: Drink) -> Self {
        Self { makes, store: store.clone(), heard: store.subscribe(Read::all()) }
    }

    /// Makes what was ordered since the last time, and says for whom.
    ///
    /// # Errors
    /// If the events cannot be read.
    pub async fn work(&mut self, counter: &Counter) -> Result<Vec<Order>, Error> {
        let mut made = Vec::new();
        loop {
            let event = match self.heard.next().await? {
                Signal::CaughtUp(_) => return Ok(made),
                Signal::Event(event) => event,
            };
            if let Some(event) = self.store.decode::<CounterEvent>(event)? {
                let CounterEvent::DrinkOrdered { order } = event.event;
                made.extend(counter.ask(order).filter(|order| order.drink == self.makes));
            }
        }
    }
}
