//! Sessions, deferred and scheduled messages: what Service Bus has beside queues.

use annals_queues::Text;
use annals_queues::queue::GroupError;
pub use annals_queues::queue::Holder;

use super::{QueueError, QueueRef};

/// A session of a queue with groups, and who holds it; see [`Broker::accept_session`](crate::Broker::accept_session).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The queue.
    pub queue: QueueRef,
    /// The session: the name of the group.
    pub group: Text,
    /// Who holds it, drawn by [`Broker::new_holder`](crate::Broker::new_holder).
    pub holder: Holder,
}

/// Why a session did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The queue did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Somebody else holds it, nobody does, or none is free.
    #[error(transparent)]
    Group(#[from] GroupError),
}
