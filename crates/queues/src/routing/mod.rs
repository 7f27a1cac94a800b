//! Routing: from an exchange, a key and headers to the queues that get the message.
//!
//! [`Topology`] holds the virtual hosts with their exchanges, queues and bindings. A change of it is decided against what
//! is there and comes out as [`Change`]s, which are journaled where they are durable, and applied: by the same code live and
//! in recovery. Each kind of exchange has its own file.
//!
//! Source: AMQP 0-9-1, section 3.1; RabbitMQ's documentation of alternate exchanges and exchange-to-exchange bindings.

mod change;
mod direct;
mod exchange;
mod fanout;
mod headers;
#[cfg(test)]
mod tests;
mod topic;
mod topology;

pub use change::{Change, Record};
pub use exchange::{Exchange, ExchangeDefinition, ExchangeKind, LogStart, TopicSource};
pub use topic::matches as topic_matches;
pub use topology::{HELD_BACK, Topology, Vhost};

use crate::{Headers, Text};

/// The number of a queue. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

impl std::fmt::Display for QueueId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "queue {}", self.0)
    }
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// To a queue, by name.
    Queue(Text),
    /// To an exchange, by name.
    Exchange(Text),
}

/// A rule that says what an exchange passes on to where.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The exchange.
    pub source: Text,
    /// Where the message goes.
    pub destination: Destination,
    /// A key or a pattern, as the kind of exchange has it.
    pub routing_key: Text,
    /// What a headers exchange compares; others ignore it.
    pub arguments: Headers,
}

/// What an exchange looks at.
#[derive(Clone, Copy, Debug)]
pub struct Routable<'a> {
    /// The key that the message was published with.
    pub routing_key: &'a Text,
    /// Keys that count like it, of RabbitMQ's headers `CC` and `BCC`: each exchange looks at all of them.
    pub more_keys: &'a [Text],
    /// Its headers, if it has any.
    pub headers: Option<&'a Headers>,
}

impl<'a> Routable<'a> {
    /// All its keys.
    pub fn keys(self) -> impl Iterator<Item = &'a Text> {
        std::iter::once(self.routing_key).chain(self.more_keys)
    }
}

/// Where a message goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// The queues, each once, in the order of their numbers.
    pub queues: Vec<QueueId>,
    /// The topics of the exchanges that it passes, each once.
    pub topics: Vec<Text>,
}

impl Routes {
    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.queues.clear();
        self.topics.clear();
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.queues.len() + self.topics.len()
    }

    /// Whether it goes nowhere.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A target as routers hold it: cheap to compare and to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    Queue(QueueId),
    Exchange(Text),
}

/// Targets with the number of bindings that lead to each: a second binding to the same place changes nothing, and the
/// place stays until the last one goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets(Vec<(Target, u32)>);

impl Targets {
    pub(crate) fn add(&mut self, target: Target) {
        match self.0.iter_mut().find(|(found, _)| *found == target) {
            Some((_, count)) => *count += 1,
            None => self.0.push((target, 1)),
        }
    }

    pub(crate) fn remove(&mut self, target: &Target) {
        let Some(place) = self.0.iter().position(|(found, _)| found == target) else { return };
        self.0[place].1 -= 1;
        if self.0[place].1 == 0 {
            self.0.swap_remove(place);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Target> {
        self.0.iter().map(|(target, _)| target)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
