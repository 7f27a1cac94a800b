//! A bank account whose state is what has happened to it: an audit trail by construction.
//!
//! [`Account`] is the domain: two pure functions. [`large_transactions`] is a question of an auditor, asked of the events
//! themselves. The tests replay the history of a few accounts, travel in time and take snapshots.

mod audit;

use annals::{Decider, Event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use audit::{Transaction, large_transactions};

/// An amount in whole dollars.
pub type Dollars = u64;

/// What can happen to an account.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
pub enum AccountEvent {
    /// A customer has opened it.
    AccountOpened {
        /// Whose it is.
        #[event(tag = "customer")]
        customer_id: String,
        /// What was paid in at once.
        initial_deposit: Dollars,
    },
    /// Money was paid in.
    DepositMade {
        /// How much.
        amount: Dollars,
        /// Where.
        branch: String,
    },
    /// Money was taken out.
    WithdrawalMade {
        /// How much.
        amount: Dollars,
        /// At which machine.
        atm_id: String,
        /// Where that is.
        location: String,
    },
    /// The bank has paid interest.
    InterestCredited {
        /// How much.
        amount: Dollars,
        /// For which rate.
        rate: f64,
    },
    /// Something looked wrong, and the account was suspended.
    FraudAlertRaised {
        /// What.
        reason: String,
    },
    /// Somebody has looked at it, and it was all right.
    FraudAlertCleared {
        /// Who.
        verified_by: String,
    },
}

/// What somebody wants of an account.
#[derive(Clone, Debug)]
pub enum Command {
    /// Open it for a customer.
    Open {
        /// Whose it will be.
        customer_id: String,
        /// What is paid in at once.
        initial_deposit: Dollars,
    },
    /// Pay money in.
    Deposit {
        /// How much.
        amount: Dollars,
        /// Where.
        branch: String,
    },
    /// Take money out.
    Withdraw {
        /// How much.
        amount: Dollars,
        /// At which machine.
        atm_id: String,
        /// Where that is.
        location: String,
    },
    /// Pay interest.
    CreditInterest {
        /// How much.
        amount: Dollars,
        /// For which rate.
        rate: f64,
    },
    /// Suspend it.
    RaiseFraudAlert {
        /// Why.
        reason: String,
    },
    /// Let it be used again.
    ClearFraudAlert {
        /// Who says so.
        verified_by: String,
    },
}

/// Why the bank refuses.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It was opened before.
    #[error("the account is open already")]
    AlreadyOpen,
    /// Nobody has opened it.
    #[error("there is no such account")]
    NotOpen,
    /// There is an alert.
    #[error("the account is suspended: {reason}")]
    Suspended {
        /// The alert's reason.
        reason: String,
    },
    /// There is no alert to clear.
    #[error("the account is not suspended")]
    NotSuspended,
    /// There is not enough money.
    #[error("{amount} dollars are more than the {balance} that are there")]
    Overdrawn {
        /// What was asked for.
        amount: Dollars,
        /// What is there.
        balance: Dollars,
    },
}

/// What a decision must know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Whose account it is; none before it is opened.
    pub customer_id: Option<String>,
    /// What is in it.
    pub balance: Dollars,
    /// Why it is suspended, if it is.
    pub suspended: Option<String>,
}

/// A bank account.
pub struct Account;

impl Decider for Account {
    type Command = Command;
    type Event = AccountEvent;
    type State = State;
    type Error = Refusal;
    const CATEGORY: &'static str = "account";

    fn decide(command: &Command, state: &State) -> Result<Vec<AccountEvent>, Refusal> {
        let event = match command.clone() {
            Command::Open { customer_id, initial_deposit } => {
                refuse_if(state.customer_id.is_some(), Refusal::AlreadyOpen)?;
                AccountEvent::AccountOpened { customer_id, initial_deposit }
            }
            Command::Deposit { amount, branch } => {
                state.check_usable()?;
                AccountEvent::DepositMade { amount, branch }
            }
            Command::Withdraw { amount, atm_id, location } => {
                state.check_usable()?;
                let balance = state.balance;
                refuse_if(amount > balance, Refusal::Overdrawn { amount, balance })?;
                AccountEvent::WithdrawalMade { amount, atm_id, location }
            }
            Command::CreditInterest { amount, rate } => {
                state.check_open()?;
                AccountEvent::InterestCredited { amount, rate }
            }
            Command::RaiseFraudAlert { reason } => {
                state.check_usable()?;
                AccountEvent::FraudAlertRaised { reason }
            }
            Command::ClearFraudAlert { verified_by } => {
                state.check_open()?;
                refuse_if(state.suspended.is_none(), Refusal::NotSuspended)?;
                AccountEvent::FraudAlertCleared { verified_by }
            }
        };
        Ok(vec![event])
    }

    fn evolve(mut state: State, event: &AccountEvent) -> State {
        match event {
            AccountEvent::AccountOpened { customer_id, initial_deposit } => {
                state.customer_id = Some(customer_id.clone());
                state.balance = *initial_deposit;
            }
            AccountEvent::DepositMade { amount, .. } | AccountEvent::InterestCredited { amount, .. } => {
                state.balance += amount;
            }
            AccountEvent::WithdrawalMade { amount, .. } => state.balance -= amount,
            AccountEvent::FraudAlertRaised { reason } => state.suspended = Some(reason.clone()),
            AccountEvent::FraudAlertCleared { .. } => state.suspended = None,
        }
        state
    }
}

impl State {
    fn check_open(&self) -> Result<(), Refusal> {
        refuse_if(self.customer_id.is_none(), Refusal::NotOpen)
    }

    fn check_usable(&self) -> Result<(), Refusal> {
        self.check_open()?;
        match &self.suspended {
            Some(reason) => Err(Refusal::Suspended { reason: reason.clone() }),
            None => Ok(()),
        }
    }
}

fn refuse_if(wrong: bool, refusal: Refusal) -> Result<(), Refusal> {
    if wrong { Err(refusal) } else { Ok(()) }
}
