//! Replies that go straight from one connection to another, without a queue: RabbitMQ's direct reply-to.
//!
//! Whoever consumes from `amq.rabbitmq.reply-to` gets an address, which its requests carry. A publish to the default
//! exchange with that address as its key goes to that connection, if it has room for it, and is lost otherwise, as
//! with RabbitMQ: a reply is worth no more than the one who waits for it.
//!
//! Source: RabbitMQ's documentation of direct reply-to.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::channel::effect::Publish;
use crate::wire::text::Text;

/// Replies that a connection has not looked at yet.
pub(crate) const WAITING_MAX: usize = 1024;

/// A message for a consumer of replies.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) channel: u16,
    pub(crate) generation: u64,
    pub(crate) routing_key: Text,
    pub(crate) properties: Bytes,
    pub(crate) body: Bytes,
}

/// All addresses that replies can go to.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    addresses: Mutex<HashMap<Text, Address>>,
}

#[derive(Clone, Debug)]
struct Address {
    channel: u16,
    generation: u64,
    connection: mpsc::Sender<Reply>,
}

impl Replies {
    /// Lets replies to `address` go to a channel of the connection that holds the other end of `connection`.
    pub(crate) fn open(&self, address: &Text, at: (u16, u64), connection: mpsc::Sender<Reply>) {
        let (channel, generation) = at;
        let address = (address.detached(), Address { channel, generation, connection });
        self.lock().insert(address.0, address.1);
    }

    pub(crate) fn close(&self, address: &Text) {
        self.lock().remove(address);
    }

    /// Whether somebody waits there.
    pub(crate) fn is_open(&self, address: &Text) -> bool {
        self.lock().contains_key(address)
    }

    /// Sends a reply; tells whether there was an address for it.
    pub(crate) fn send(&self, publish: &Publish) -> bool {
        let Some(address) = self.lock().get(&publish.routing_key).cloned() else { return false };
        let Address { channel, generation, connection } = address;
        let reply = Reply {
            channel,
            generation,
            routing_key: publish.routing_key.clone(),
            properties: publish.properties(),
            body: publish.content.body.clone(),
        };
        if connection.try_send(reply).is_err() {
            tracing::debug!("a reply was dropped: the connection that waits for replies does not take them");
        }
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Text, Address>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
