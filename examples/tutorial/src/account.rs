//! An account: what can happen to it, and the rules.

use annals::{Decider, Event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What can happen to an account.
#[derive(Debug, PartialEq, Event, JsonSchema, Serialize, Deserialize)]
pub enum AccountEvent {
    #[event(name = "AccountOpened")]
    Opened {
        #[event(tag = "customer")]
        customer: String,
    },
    #[event(name = "MoneyDeposited")]
    Deposited { cents: i64 },
    #[event(name = "MoneyWithdrawn")]
    Withdrawn { cents: i64 },
}

/// What somebody may want.
#[derive(Clone, Debug)]
pub enum Command {
    Open { customer: String },
    Deposit { cents: i64 },
    Withdraw { cents: i64 },
}

/// What a decision must know.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub open: bool,
    pub cents: i64,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("the account is open already")]
    AlreadyOpen,
    #[error("there is no such account")]
    NotOpen,
    #[error("only {cents} cents are left")]
    Overdrawn { cents: i64 },
}

pub struct Account;

impl Decider for Account {
    type Command = Command;
    type Event = AccountEvent;
    type State = State;
    type Error = Refusal;
    const CATEGORY: &'static str = "account";

    fn decide(command: &Command, state: &State) -> Result<Vec<AccountEvent>, Refusal> {
        match command {
            Command::Open { .. } if state.open => Err(Refusal::AlreadyOpen),
            Command::Open { customer } => Ok(vec![AccountEvent::Opened { customer: customer.clone() }]),
            _ if !state.open => Err(Refusal::NotOpen),
            Command::Deposit { cents } => Ok(vec![AccountEvent::Deposited { cents: *cents }]),
            Command::Withdraw { cents } if *cents > state.cents => {
                Err(Refusal::Overdrawn { cents: state.cents })
            }
            Command::Withdraw { cents } => Ok(vec![AccountEvent::Withdrawn { cents: *cents }]),
        }
    }

    fn evolve(state: State, event: &AccountEvent) -> State {
        match event {
            AccountEvent::Opened { .. } => State { open: true, ..state },
            AccountEvent::Deposited { cents } => State { cents: state.cents + cents, ..state },
            AccountEvent::Withdrawn { cents } => State { cents: state.cents - cents, ..state },
        }
    }
}

#[cfg(test)]
mod tests {
    use annals::testing::given;

    use super::*;

    #[test]
    fn nobody_withdraws_more_than_there_is() {
        let opened = AccountEvent::Opened { customer: "Ada".into() };
        let deposited = AccountEvent::Deposited { cents: 500 };
        given::<Account>([opened, deposited])
            .when(Command::Withdraw { cents: 501 })
            .then_error(Refusal::Overdrawn { cents: 500 });
    }
}
