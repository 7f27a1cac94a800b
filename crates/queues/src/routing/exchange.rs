//! One exchange: what it is, and how it routes.

use super::direct::Direct;
use super::fanout::Fanout;
use super::headers::HeadersRouter;
use super::topic::Topic;
use super::{Binding, Routable, Target};
use crate::{Headers, Text, TimestampMs};

/// How an exchange chooses. The numbers are stored: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExchangeKind {
    /// By the same key.
    Direct = 1,
    /// To everybody.
    Fanout = 2,
    /// By a pattern of words.
    Topic = 3,
    /// By headers.
    Headers = 4,
}

impl ExchangeKind {
    /// As AMQP 0-9-1 writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }

    /// The kind that AMQP 0-9-1 calls so.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Direct, Self::Fanout, Self::Topic, Self::Headers]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    pub(crate) fn from_stored(number: u8) -> Option<Self> {
        [Self::Direct, Self::Fanout, Self::Topic, Self::Headers]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// Where in a log to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogStart {
    /// At the first message that is there.
    First,
    /// At the batch that was written last.
    Last,
    /// Behind everything that is there.
    #[default]
    Next,
    /// At this offset, or the nearest that there is.
    Offset(u64),
    /// At the first message that is not older.
    Timestamp(TimestampMs),
}

/// A topic whose records are published through an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSource {
    /// The topic.
    pub topic: Text,
    /// What its positions are kept under, drawn when the exchange is declared. Not compared.
    pub id: u64,
}

/// What an exchange was declared as.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeDefinition {
    /// How it chooses.
    pub kind: ExchangeKind,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// Whether messages are held back for as long as they ask (RabbitMQ's delayed message exchange).
    pub delayed: bool,
    /// Where a message goes that it can route nowhere.
    pub alternate: Option<Text>,
    /// The topic that gets whatever passes the exchange, beside its queues.
    pub topic: Option<Text>,
    /// The topic whose records pass the exchange, whoever wrote them.
    pub source: Option<TopicSource>,
    /// As declared: for those who want to see them again.
    pub arguments: Headers,
}

impl ExchangeDefinition {
    /// A durable exchange without anything special.
    pub fn new(kind: ExchangeKind) -> Self {
        Self {
            kind,
            durable: true,
            auto_delete: false,
            internal: false,
            delayed: false,
            alternate: None,
            topic: None,
            source: None,
            arguments: Headers::new(),
        }
    }
}

/// One exchange with its bindings.
#[derive(Clone, Debug)]
pub struct Exchange {
    definition: ExchangeDefinition,
    router: Router,
    /// How many bindings lead away from it.
    bindings: usize,
}

#[derive(Clone, Debug)]
enum Router {
    Direct(Direct),
    Fanout(Fanout),
    Topic(Topic),
    Headers(HeadersRouter),
}

impl Exchange {
    pub(crate) fn new(definition: ExchangeDefinition) -> Self {
        let router = match definition.kind {
            ExchangeKind::Direct => Router::Direct(Direct::default()),
            ExchangeKind::Fanout => Router::Fanout(Fanout::default()),
            ExchangeKind::Topic => Router::Topic(Topic::default()),
            ExchangeKind::Headers => Router::Headers(HeadersRouter::default()),
        };
        Self { definition, router, bindings: 0 }
    }

    /// What it was declared as.
    pub fn definition(&self) -> &ExchangeDefinition {
        &self.definition
    }

    /// How many bindings lead away from it.
    pub fn binding_count(&self) -> usize {
        self.bindings
    }

    pub(crate) fn bind(&mut self, binding: &Binding, target: Target) {
        self.bindings += 1;
        match &mut self.router {
            Router::Direct(router) => router.bind(&binding.routing_key, target),
            Router::Fanout(router) => router.bind(target),
            Router::Topic(router) => router.bind(&binding.routing_key, target),
            Router::Headers(router) => router.bind(binding, target),
        }
    }

    pub(crate) fn unbind(&mut self, binding: &Binding, target: &Target) {
        self.bindings = self.bindings.saturating_sub(1);
        match &mut self.router {
            Router::Direct(router) => router.unbind(&binding.routing_key, target),
            Router::Fanout(router) => router.unbind(target),
            Router::Topic(router) => router.unbind(&binding.routing_key, target),
            Router::Headers(router) => router.unbind(binding, target),
        }
    }

    /// Tells each target that gets the message; one may be told more than once.
    pub(crate) fn route<'a>(&'a self, message: Routable<'_>, found: &mut impl FnMut(&'a Target)) {
        match &self.router {
            Router::Direct(router) => message.keys().for_each(|key| router.route(key, found)),
            Router::Fanout(router) => router.route(found),
            Router::Topic(router) => message.keys().for_each(|key| router.route(key, found)),
            Router::Headers(router) => router.route(message.headers, found),
        }
    }

    #[cfg(test)]
    pub(crate) fn topic(&self) -> Option<&Topic> {
        match &self.router {
            Router::Topic(router) => Some(router),
            _ => None,
        }
    }
}
