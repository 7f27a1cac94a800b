//! Which publishes are confirmed: servers confirm one or all up to one, in any order.

use std::collections::VecDeque;

/// Publishes of one channel that wait for their confirms.
#[derive(Default)]
pub(super) struct Confirms {
    /// The number of the first of `done`.
    first: u64,
    /// Whether each is confirmed, from the oldest that is not.
    done: VecDeque<bool>,
    waiting: usize,
}

impl Confirms {
    /// One more is sent.
    pub(super) fn sent(&mut self) {
        self.done.push_back(false);
        self.waiting += 1;
    }

    /// How many are not confirmed.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The server confirms `tag`, or all up to it. The first publish has the tag 1.
    pub(super) fn confirm(&mut self, tag: u64, multiple: bool) {
        let Some(place) = tag.checked_sub(self.first + 1) else { return };
        let place = usize::try_from(place).unwrap_or(usize::MAX).min(self.done.len().saturating_sub(1));
        let from = if multiple { 0 } else { place };
        for done in self.done.iter_mut().take(place + 1).skip(from) {
            self.waiting -= usize::from(!std::mem::replace(done, true));
        }
        while self.done.front() == Some(&true) {
            self.done.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirms_come_in_any_order_and_count_once() {
        let mut confirms = Confirms::default();
        (0..5).for_each(|_| confirms.sent());
        confirms.confirm(3, false);
        assert_eq!(confirms.waiting(), 4);
        confirms.confirm(3, true);
        assert_eq!(confirms.waiting(), 2);
        confirms.confirm(3, true);
        confirms.confirm(5, false);
        assert_eq!(confirms.waiting(), 1);
        confirms.confirm(5, true);
        assert_eq!(confirms.waiting(), 0);
        confirms.sent();
        confirms.confirm(6, true);
        assert_eq!(confirms.waiting(), 0);
    }
}
