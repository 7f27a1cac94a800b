//! The aggregate of these tests.

use annals::{Annals, Clock, Decider, Event, EventStore, ManualClock};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize, schemars::JsonSchema)]
pub(crate) enum AccountEvent {
    #[event(name = "AccountOpened")]
    Opened {
        #[event(tag = "customer")]
        customer: String,
    },
    #[event(name = "MoneyDeposited")]
    Deposited {
        amount: i64,
        #[event(tag = "customer")]
        customer: String,
    },
    #[event(name = "MoneyWithdrawn")]
    Withdrawn {
        amount: i64,
        #[event(tag = "customer")]
        customer: String,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Command {
    Open(&'static str),
    Deposit(i64),
    Withdraw(i64),
    /// Several events at once.
    DepositEach(Vec<i64>),
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the account is open already")]
    Open,
    #[error("there is no such account")]
    Closed,
    #[error("only {0} left")]
    Overdrawn(i64),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) customer: Option<String>,
    pub(crate) balance: i64,
}

pub(crate) struct Account;

impl Decider for Account {
    type Command = Command;
    type Event = AccountEvent;
    type State = State;
    type Error = Refusal;
    const CATEGORY: &'static str = "account";

    fn decide(command: &Command, state: &State) -> Result<Vec<AccountEvent>, Refusal> {
        let owner = state.customer.clone().ok_or(Refusal::Closed);
        let deposit =
            |amount: &i64| Ok(AccountEvent::Deposited { amount: *amount, customer: owner.clone()? });
        match command {
            Command::Open(_) if state.customer.is_some() => Err(Refusal::Open),
            Command::Open(customer) => Ok(vec![AccountEvent::Opened { customer: (*customer).to_owned() }]),
            Command::Deposit(amount) => Ok(vec![deposit(amount)?]),
            Command::DepositEach(amounts) => amounts.iter().map(deposit).collect(),
            Command::Withdraw(amount) if *amount > state.balance => Err(Refusal::Overdrawn(state.balance)),
            Command::Withdraw(amount) => {
                Ok(vec![AccountEvent::Withdrawn { amount: *amount, customer: owner? }])
            }
        }
    }

    fn evolve(state: State, event: &AccountEvent) -> State {
        match event {
            AccountEvent::Opened { customer } => State { customer: Some(customer.clone()), balance: 0 },
            AccountEvent::Deposited { amount, .. } => State { balance: state.balance + amount, ..state },
            AccountEvent::Withdrawn { amount, .. } => State { balance: state.balance - amount, ..state },
        }
    }
}

pub(crate) async fn store() -> EventStore {
    Annals::in_memory().store("bank").await.unwrap()
}

/// A store whose clock the test moves.
pub(crate) fn with_clock() -> (Annals, ManualClock) {
    let (clock, hand) = Clock::manual(1_700_000_000_000, 7);
    (Annals::in_memory_with(clock), hand)
}

/// An account with some money in it.
pub(crate) async fn open(store: &EventStore, id: &str, customer: &'static str, amounts: &[i64]) {
    store.execute::<Account>(id, Command::Open(customer)).await.unwrap();
    if !amounts.is_empty() {
        store.execute::<Account>(id, Command::DepositEach(amounts.to_vec())).await.unwrap();
    }
}
