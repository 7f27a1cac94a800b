//! Settling what was delivered.

pub use annals_queues::queue::Settlement;
use annals_queues::routing::QueueId;

/// A message that was delivered and is not settled yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// The queue.
    pub queue: QueueId,
    /// The number of the lease in it. Lost with a restart, as the delivery is.
    pub number: u64,
}
