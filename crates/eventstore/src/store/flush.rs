//! Handing the tail over to the index, and starting from what the index holds.

use std::ops::Range;
use std::sync::Arc;

use super::{Head, Heads, Keeping, Options, Store, TailEvent};
use crate::metadata::Effect;
use crate::name::described_by;
use crate::term::KeyMap;
use crate::{Position, Terms};

/// Durable events that the index does not hold yet, and what it takes to tell how streams are behind them.
pub struct Flush {
    pub(crate) range: Range<u64>,
    pub(crate) events: Vec<(u64, Arc<TailEvent>)>,
    /// Streams whose metadata changed, as they are now.
    pub(crate) described: Vec<StreamImage>,
    /// What streams keep that have events here and metadata of before.
    pub(crate) keeping: KeyMap<Keeping>,
    pub(crate) stream_count: u64,
    pub(crate) seed: [u8; 16],
    pub(crate) digest: u64,
}

/// A stream as the index holds it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct StreamImage {
    pub(crate) name: Arc<str>,
    pub(crate) head: Head,
    pub(crate) keeping: Option<Keeping>,
}

impl Flush {
    /// The position behind the last event.
    pub fn end(&self) -> Position {
        Position(self.range.end)
    }

    /// How many events it holds.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl Store {
    /// Everything durable that is not in the index. Write it there, then call [`Store::indexed_to`]. Made to be quick, since
    /// nothing is decided meanwhile: the work is left to the index.
    pub fn flush(&self) -> Flush {
        let range = self.tail.start()..self.applied;
        let events: Vec<_> =
            self.tail.slice(range.clone()).map(|(position, event)| (position, Arc::clone(event))).collect();
        let mut flush = Flush {
            range,
            events,
            described: Vec::new(),
            keeping: KeyMap::default(),
            stream_count: self.heads.len() as u64,
            seed: self.terms.seed(),
            digest: self.heads.digest(),
        };
        if self.heads.has_metadata() {
            self.add_metadata(&mut flush);
        }
        flush
    }

    fn add_metadata(&self, flush: &mut Flush) {
        for (_, event) in &flush.events {
            if let Some(keeping) = self.heads.keeping(event.stream) {
                flush.keeping.insert(event.stream, keeping.clone());
            }
            if let (Some(Effect::Metadata { of, .. }), Some(name)) =
                (&event.effect, described_by(&event.name))
            {
                let (head, keeping) = (self.heads.get(*of), self.heads.keeping(*of).cloned());
                flush.described.push(StreamImage { name: name.into(), head, keeping });
            }
        }
    }

    /// The index holds everything below `position`: it need not be in memory any more.
    pub fn indexed_to(&mut self, position: Position) {
        self.tail.cut(position.0.min(self.applied));
    }

    /// Events that are in memory because the index does not hold them.
    pub fn tail_len(&self) -> usize {
        (self.tail.end() - self.tail.start()) as usize
    }

    /// A store that goes on behind what its index holds; see [`crate::index::Index::load`].
    pub(crate) fn restored(terms: Terms, options: Options, position: Position) -> Self {
        Self::behind(terms, options, position, Heads::default())
    }

    /// A store whose streams are known, and whose log goes on at `position`.
    pub(crate) fn behind(terms: Terms, options: Options, position: Position, heads: Heads) -> Self {
        let mut store = Self { heads, ..Self::new(terms, options) };
        store.tail = super::Tail::starting_at(position.0);
        store.applied = position.0;
        store
    }

    pub(crate) fn restore_stream(&mut self, image: StreamImage) {
        let key = self.terms.stream(&image.name);
        if image.head != Head::default() {
            self.heads.set(key, image.head);
        }
        if let Some(keeping) = image.keeping {
            self.heads.set_keeping(key, keeping);
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.heads.digest()
    }
}
