//! Catch-up subscriptions: everything that is there, then everything that comes, nothing skipped.
//!
//! A page says up to where it has looked; the page of one stream does not, so the head is asked for before it. When the page is
//! the last one, everything up to there has been seen, and waiting for what is behind cannot miss anything.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Position, Read, ReadError, Recorded, Source, Store};

/// What a subscription says next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all signals are events")]
pub enum Signal {
    /// An event.
    Event(Recorded),
    /// Everything up to this position was delivered or is not asked for: live from here on, until more comes.
    CaughtUp(Option<Position>),
}

/// Some events in order, or none and the news that there are no more.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Recorded>,
    /// Nothing that is asked for is left at or before this position.
    pub(crate) through: Option<Position>,
    /// Whether this is all that there was.
    pub(crate) live: bool,
}

/// Events as they come, oldest first; see [`crate::EventStore::subscribe`].
///
/// An error takes nothing away: the next call goes on where the last good one ended.
pub struct Subscription {
    store: Arc<dyn Store>,
    read: Read,
    /// Up to where everything was delivered.
    through: Option<Position>,
    /// Whether there may be more than what was delivered.
    more: bool,
    waiting: VecDeque<Signal>,
}

impl Subscription {
    /// Follows what `read` asks for, from its first place on.
    pub fn new(store: Arc<dyn Store>, read: Read) -> Self {
        let at_position = !matches!(read.source, Source::Stream(_));
        let before = read.from.filter(|_| at_position).and_then(|from| from.checked_sub(1));
        Self { store, read, through: before.map(Position), more: true, waiting: VecDeque::new() }
    }

    /// The next event, or that there is no more for now. Waits if it has said so already.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ReadError`]; call again to go on.
    pub async fn next(&mut self) -> Result<Signal, ReadError> {
        loop {
            if let Some(signal) = self.waiting.pop_front() {
                return Ok(signal);
            }
            let batch = self.next_batch().await?;
            self.waiting.extend(batch.events.into_iter().map(Signal::Event));
            if batch.live {
                self.waiting.push_back(Signal::CaughtUp(batch.through));
            }
        }
    }

    /// The next events; waits if there are none and it has said so already.
    pub(crate) async fn next_batch(&mut self) -> Result<Batch, ReadError> {
        if !self.more {
            self.store.beyond(self.through).await?;
        }
        let is_stream = matches!(self.read.source, Source::Stream(_));
        let head = if is_stream { self.store.head().await? } else { None };
        let page = self.store.read(self.read.clone()).await?;
        let live = page.next.is_none();
        let last = page.events.last();
        let seen = if is_stream && live { head } else { page.looked_to };
        // Nothing is awaited from here on: either all of this happens or nothing.
        self.through = self.through.max(seen).max(last.map(|event| event.position));
        self.read.from = match (&self.read.source, page.next) {
            (_, Some(next)) => Some(next),
            (Source::Stream(_), None) => last.map(|event| event.revision.0 + 1).or(self.read.from),
            (_, None) => self.through.map(|through| through.0 + 1),
        };
        self.more = !live;
        Ok(Batch { events: page.events, through: self.through, live })
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("read", &self.read)
            .field("through", &self.through)
            .finish_non_exhaustive()
    }
}
