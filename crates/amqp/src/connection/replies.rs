//! Replies that go straight from one connection to another, without a queue: RabbitMQ's direct reply-to.
//!
//! Whoever consumes from `amq.rabbitmq.reply-to` gets an address, which its requests carry. A publish to the default
//! exchange with that address as its key goes to that connection, if it has room for it, and is lost otherwise, as
//! with RabbitMQ: a reply is worth no more than the one who waits for it.
//!
//! Source: RabbitMQ's documentation of direct reply-to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::channel::effect::Publish;
use crate::wire::text::Text;

/// Replies that a connection has not looked at yet.
const WAITING_MAX: usize = 1024;
/// The same in bytes. One that is larger takes all of them.
const WAITING_BYTES_MAX: u32 = 32 << 20;

/// A message for a consumer of replies.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) channel: u16,
    pub(crate) generation: u64,
    pub(crate) routing_key: Text,
    pub(crate) properties: Bytes,
    pub(crate) body: Bytes,
    /// Its part of what may wait.
    _held: OwnedSemaphorePermit,
}

/// Where replies wait for a connection.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    sender: mpsc::Sender<Reply>,
    /// Bytes that may come.
    room: Arc<Semaphore>,
}

impl Inbox {
    /// An inbox, and the end that its connection holds.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Reply>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self { sender, room: Arc::new(Semaphore::new(WAITING_BYTES_MAX as usize)) }, receiver)
    }

    /// Puts a reply in, if there is room for it.
    fn put(&self, at: (u16, u64), publish: &Publish) -> bool {
        let (properties, body) = (publish.properties(), publish.content.body.clone());
        let bytes = u32::try_from(properties.len() + body.len()).unwrap_or(u32::MAX).min(WAITING_BYTES_MAX);
        let Ok(held) = Arc::clone(&self.room).try_acquire_many_owned(bytes) else { return false };
        let ((channel, generation), routing_key) = (at, publish.routing_key.clone());
        self.sender
            .try_send(Reply { channel, generation, routing_key, properties, body, _held: held })
            .is_ok()
    }
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
    inbox: Inbox,
}

impl Replies {
    /// Lets replies to `address` go to a channel of the connection whose inbox this is.
    pub(crate) fn open(&self, address: &Text, at: (u16, u64), inbox: Inbox) {
        let (channel, generation) = at;
        self.lock().insert(address.detached(), Address { channel, generation, inbox });
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
        let Address { channel, generation, inbox } = address;
        if !inbox.put((channel, generation), publish) {
            tracing::debug!("a reply was dropped: the connection that waits for replies does not take them");
        }
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Text, Address>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::outbound::Content;

    fn reply(body_bytes: usize) -> Publish {
        Publish {
            number: None,
            mandatory: false,
            exchange: "".into(),
            routing_key: "address".into(),
            content: Content { properties: Bytes::new(), body: vec![0; body_bytes].into() },
            reply_to: None,
        }
    }

    #[test]
    fn so_many_bytes_wait_for_one_who_does_not_look() {
        let (replies, (inbox, mut receiver)) = (Replies::default(), Inbox::new());
        replies.open(&"address".into(), (1, 1), inbox);
        // 32 MiB are three of 10 MiB and one of 2.
        [10, 10, 10, 10, 2, 1]
            .iter()
            .for_each(|mib| assert!(replies.send(&reply(mib << 20)), "dropped unseen"));
        let waiting = |receiver: &mut mpsc::Receiver<Reply>| {
            std::iter::from_fn(|| receiver.try_recv().ok())
                .map(|reply| reply.body.len() >> 20)
                .collect::<Vec<_>>()
        };
        assert_eq!(waiting(&mut receiver), [10, 10, 10, 2]);
        replies.send(&reply(100 << 20));
        replies.send(&reply(1));
        assert_eq!(waiting(&mut receiver), [100], "one that is larger than all comes alone");
    }
}
