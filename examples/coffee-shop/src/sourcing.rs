//! Event sourcing: the cashier keeps the events, and remembers an order by going through them.
//!
//! The events are as small as notifications. The cashier ([`Tab`]) adds a layer between customers and baristas: any number of
//! baristas take drinks to make ([`Preparation`]), in parallel, without knowing whose they are. That no drink is made twice
//! is the store's doing: whoever begins first is the first in the drink's stream.

use annals::store::{Query, Read, Signal};
use annals::{Decider, Event, EventStore, ExecuteError};
use serde::{Deserialize, Serialize};

use crate::{Drink, Error};

/// What has happened at the till.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
pub enum TabEvent {
    /// The customer has bought something.
    DrinkOrdered {
        /// What.
        drink: Drink,
    },
    /// The cashier has handed it over.
    DrinkServed {
        /// What.
        drink: Drink,
    },
}

/// What the cashier is asked to do.
#[derive(Clone, Copy, Debug)]
pub enum TabCommand {
    /// Take an order.
    Order(Drink),
    /// Hand over what a barista has made.
    Serve(Drink),
}

/// What the cashier remembers of a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TabState {
    /// Everything that was ordered, in order.
    pub ordered: Vec<Drink>,
    /// Everything that was handed over.
    pub served: Vec<Drink>,
}

/// Nobody has ordered that, or not so many.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {0:?} is waited for")]
pub struct NotOrdered(pub Drink);

/// One customer's orders, with the cashier.
pub struct Tab;

impl Decider for Tab {
    type Command = TabCommand;
    type Event = TabEvent;
    type State = TabState;
    type Error = NotOrdered;
    const CATEGORY: &'static str = "tab";

    fn decide(command: &TabCommand, state: &TabState) -> Result<Vec<TabEvent>, NotOrdered> {
        let count = |drinks: &[Drink], wanted| drinks.iter().filter(|drink| **drink == wanted).count();
        match *command {
            TabCommand::Order(drink) => Ok(vec![TabEvent::DrinkOrdered { drink }]),
            TabCommand::Serve(drink) if count(&state.served, drink) < count(&state.ordered, drink) => {
                Ok(vec![TabEvent::DrinkServed { drink }])
            }
            TabCommand::Serve(drink) => Err(NotOrdered(drink)),
        }
    }

    fn evolve(mut state: TabState, event: &TabEvent) -> TabState {
        match event {
            TabEvent::DrinkOrdered { drink } => state.ordered.push(*drink),
            TabEvent::DrinkServed { drink } => state.served.push(*drink),
        }
        state
    }
}

/// What has happened to one drink.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
pub enum PreparationEvent {
    /// A barista makes it.
    PreparationStarted {
        /// Which one.
        barista: String,
    },
}

/// Somebody else makes it already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} makes it already")]
pub struct TakenBy(pub String);

/// One drink that is to be made.
pub struct Preparation;

impl Decider for Preparation {
    /// The barista who wants to make it.
    type Command = String;
    type Event = PreparationEvent;
    type State = Option<String>;
    type Error = TakenBy;
    const CATEGORY: &'static str = "preparation";

    fn decide(barista: &String, made_by: &Option<String>) -> Result<Vec<PreparationEvent>, TakenBy> {
        match made_by {
            Some(other) => Err(TakenBy(other.clone())),
            None => Ok(vec![PreparationEvent::PreparationStarted { barista: barista.clone() }]),
        }
    }

    fn evolve(_: Option<String>, event: &PreparationEvent) -> Option<String> {
        let PreparationEvent::PreparationStarted { barista } = event;
        Some(barista.clone())
    }
}

/// Works as `barista` until nothing is left to do; returns what it has made.
///
/// # Errors
/// If the store does not answer.
pub async fn work(store: EventStore, barista: String) -> Result<Vec<Drink>, Error> {
    let mut orders = store.subscribe(Read::all().matching(Query::types(["DrinkOrdered"])));
    let mut made = Vec::new();
    while let Signal::Event(order) = orders.next().await? {
        let (id, customer) = (order.id.clone(), order.stream.id().unwrap_or_default().to_owned());
        let Some(TabEvent::DrinkOrdered { drink }) = store.decode(order)?.map(|order| order.event) else {
            continue;
        };
        match store.execute::<Preparation>(&id, barista.clone()).await {
            Ok(_) => {}
            Err(ExecuteError::Rejected(TakenBy(_))) => continue,
            Err(error) => return Err(error.into()),
        }
        // The cup goes to the cashier, who knows for whom it is.
        store.execute::<Tab>(customer, TabCommand::Serve(drink)).idempotency_key(id).await?;
        made.push(drink);
    }
    Ok(made)
}
