//! The write side.

use annals::{Decider, Event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is bought, and for how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Item {
    /// What.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// Price of one, in cents.
    pub cents: u64,
}

/// What can happen to an order.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize, JsonSchema)]
pub enum OrderEvent {
    /// A customer has placed it.
    OrderCreated {
        /// Who.
        #[event(tag = "customer")]
        customer: String,
        /// What is in it.
        items: Vec<Item>,
        /// All items together, in cents.
        total: u64,
    },
    /// It was paid.
    OrderPaid {
        /// How much, in cents.
        amount: u64,
    },
    /// It is on its way.
    OrderShipped {},
    /// It has arrived.
    OrderDelivered {},
    /// It will not be.
    OrderCancelled {
        /// What is paid back, in cents.
        refund: u64,
    },
}

/// What somebody wants of an order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Place it.
    Create {
        /// For whom.
        customer: String,
        /// What.
        items: Vec<Item>,
    },
    /// Pay it.
    Pay,
    /// Send it.
    Ship,
    /// Say that it has arrived.
    Deliver,
    /// Do without it.
    Cancel,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Nobody has placed it.
    #[default]
    Missing,
    /// Placed, not paid.
    Pending,
    /// Paid, not sent.
    Paid,
    /// Sent.
    Shipped,
    /// There.
    Delivered,
    /// Given up.
    Cancelled,
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The order does not stand where the command needs it.
    #[error("an order that is {0:?} cannot be treated so")]
    Status(Status),
    /// There is nothing in it.
    #[error("an order needs at least one item")]
    Empty,
}

/// What a decision must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Where it stands.
    pub status: Status,
    /// What it costs, in cents.
    pub total: u64,
}

/// An order.
pub struct Order;

impl Decider for Order {
    type Command = Command;
    type Event = OrderEvent;
    type State = State;
    type Error = Refusal;
    const CATEGORY: &'static str = "order";

    fn decide(command: &Command, state: &State) -> Result<Vec<OrderEvent>, Refusal> {
        let event = match (command, state.status) {
            (Command::Create { items, .. }, Status::Missing) if items.is_empty() => {
                return Err(Refusal::Empty);
            }
            (Command::Create { customer, items }, Status::Missing) => {
                let total = items.iter().map(|item| item.cents * u64::from(item.quantity)).sum();
                OrderEvent::OrderCreated { customer: customer.clone(), items: items.clone(), total }
            }
            (Command::Pay, Status::Pending) => OrderEvent::OrderPaid { amount: state.total },
            (Command::Ship, Status::Paid) => OrderEvent::OrderShipped {},
            (Command::Deliver, Status::Shipped) => OrderEvent::OrderDelivered {},
            (Command::Cancel, Status::Pending) => OrderEvent::OrderCancelled { refund: 0 },
            (Command::Cancel, Status::Paid) => OrderEvent::OrderCancelled { refund: state.total },
            (_, status) => return Err(Refusal::Status(status)),
        };
        Ok(vec![event])
    }

    fn evolve(state: State, event: &OrderEvent) -> State {
        let status = match event {
            OrderEvent::OrderCreated { total, .. } => {
                return State { status: Status::Pending, total: *total };
            }
            OrderEvent::OrderPaid { .. } => Status::Paid,
            OrderEvent::OrderShipped {} => Status::Shipped,
            OrderEvent::OrderDelivered {} => Status::Delivered,
            OrderEvent::OrderCancelled { .. } => Status::Cancelled,
        };
        State { status, ..state }
    }
}
