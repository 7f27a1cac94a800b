//! One way out for requests, and who waits for which reply.
//!
//! Invariant: whoever waits is in `waiting` until the reply, the end of the session, or its own end, whichever is first; so a
//! reply that finds nobody is a late one. A session ends with the first error of its transport, and the client makes
//! another one for the next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::stats::Counter;
use super::transport::{Message, Outgoing, Replies, Requests, Transport, TransportError};

/// What somebody who waits is told.
pub(super) type Outcome = Result<Message, TransportError>;

pub(super) struct Session {
    outgoing: Arc<dyn Outgoing>,
    waiting: Arc<Waiting>,
    /// Reads replies as long as the session is there.
    _reader: JoinSet<()>,
}

/// Who waits.
#[derive(Default)]
struct Waiting {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<String, oneshot::Sender<Outcome>>,
    /// Why there will be no more replies.
    ended: Option<TransportError>,
}

/// What a client counts over all of its sessions.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: Counter,
    pub(super) replied: Counter,
    pub(super) failed: Counter,
    pub(super) timed_out: Counter,
    pub(super) late_replies: Counter,
}

impl Session {
    pub(super) async fn open(
        transport: &dyn Transport,
        counters: Arc<Counters>,
    ) -> Result<Self, TransportError> {
        let Requests { outgoing, replies } = transport.open_requests().await?;
        let waiting = Arc::<Waiting>::default();
        let mut reader = JoinSet::new();
        reader.spawn(read(replies, Arc::clone(&waiting), counters));
        Ok(Self { outgoing, waiting, _reader: reader })
    }

    pub(super) fn outgoing(&self) -> &dyn Outgoing {
        &*self.outgoing
    }

    pub(super) fn is_up(&self) -> bool {
        self.waiting.lock().ended.is_none()
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting.lock().by_id.len() as u64
    }

    /// Puts `id` down as somebody who waits, until the ticket is dropped.
    pub(super) fn wait_for(&self, id: &str) -> Result<Ticket, TransportError> {
        let (sender, reply) = oneshot::channel();
        let mut table = self.waiting.lock();
        if let Some(error) = &table.ended {
            return Err(error.clone());
        }
        table.by_id.insert(id.to_owned(), sender);
        Ok(Ticket { waiting: Arc::clone(&self.waiting), id: id.to_owned(), reply })
    }
}

impl Waiting {
    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, error: &TransportError) {
        let mut table = self.lock();
        table.ended = Some(error.clone());
        for (_, sender) in table.by_id.drain() {
            // Who does not wait any more need not know.
            let _ = sender.send(Err(error.clone()));
        }
    }
}

/// Somebody who waits for a reply.
pub(super) struct Ticket {
    waiting: Arc<Waiting>,
    id: String,
    reply: oneshot::Receiver<Outcome>,
}

impl Ticket {
    pub(super) async fn reply(mut self) -> Outcome {
        let gone = |_| Err(TransportError::new("the client was closed"));
        (&mut self.reply).await.unwrap_or_else(gone)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.lock().by_id.remove(&self.id);
    }
}

async fn read(mut replies: Box<dyn Replies>, waiting: Arc<Waiting>, counters: Arc<Counters>) {
    loop {
        let message = match replies.next().await {
            Ok(message) => message,
            Err(error) => return waiting.end(&error),
        };
        let id = message.correlation_id.clone().unwrap_or_default();
        let sender = waiting.lock().by_id.remove(&id);
        let late = match sender {
            Some(sender) => sender.send(Ok(message)).is_err(),
            None => true,
        };
        if late {
            counters.late_replies.count();
            tracing::debug!(correlation_id = id, "a reply came too late and is dropped");
        }
    }
}
