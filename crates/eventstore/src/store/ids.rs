//! The ids of the latest events, so that an append that is sent again is recognised.

use std::collections::VecDeque;

use crate::TermKey;
use crate::term::KeyMap;

/// Where an event is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) position: u64,
    pub(crate) revision: u64,
}

/// A bounded memory of ids; the oldest goes first.
pub(crate) struct Ids {
    known: KeyMap<Known>,
    order: VecDeque<TermKey>,
    max: usize,
}

impl Ids {
    pub(crate) fn new(max: usize) -> Self {
        Self { known: KeyMap::default(), order: VecDeque::new(), max }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.max);
    }

    pub(crate) fn get(&self, id: TermKey) -> Option<Known> {
        self.known.get(&id).copied()
    }

    pub(crate) fn insert(&mut self, id: TermKey, known: Known) {
        if self.max == 0 || self.known.insert(id, known).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Terms;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let (terms, mut ids) = (Terms::new([5; 16]), Ids::new(3));
        let id = |n: u64| terms.id(terms.stream("s"), &n.to_string());
        for n in 0..5 {
            ids.insert(id(n), Known { position: n, revision: n });
        }
        let known: Vec<bool> = (0..5).map(|n| ids.get(id(n)).is_some()).collect();
        assert_eq!(known, [false, false, true, true, true]);
    }
}
