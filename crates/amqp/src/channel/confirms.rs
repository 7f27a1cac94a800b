//! What a publisher has been told, and what not yet.
//!
//! Publishes are numbered from one. They become safe in about the order in which they came, several at a time, since the
//! journal syncs many together: so one acknowledgement stands for all up to its number. A publish that is safe before one
//! that came earlier waits for that one.

use std::collections::VecDeque;

/// How a publish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is safe, or nobody wanted it.
    Safe,
    /// It is not, and the publisher may try again.
    Failed,
}

/// Numbers publishes and tells how they ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Confirms {
    /// The number of the first of `ends`, less one: all up to it are told.
    told: u64,
    ends: VecDeque<Option<End>>,
}

/// One word to the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) end: End,
    pub(crate) number: u64,
    /// Whether all before it that were not told ended the same.
    pub(crate) multiple: bool,
}

impl Confirms {
    /// The number of the next publish.
    pub(crate) fn begin(&mut self) -> u64 {
        self.ends.push_back(None);
        self.told + self.ends.len() as u64
    }

    /// A publish has ended. What was said of it first counts.
    pub(crate) fn end(&mut self, number: u64, end: End) {
        let place = number.checked_sub(self.told + 1).and_then(|place| usize::try_from(place).ok());
        if let Some(place) = place.and_then(|place| self.ends.get_mut(place)) {
            place.get_or_insert(end);
        }
    }

    /// The next word to the publisher, if there is one to say.
    pub(crate) fn next(&mut self) -> Option<Confirm> {
        let end = (*self.ends.front()?)?;
        let count = self.ends.iter().take_while(|other| **other == Some(end)).count();
        self.ends.drain(..count);
        self.told += count as u64;
        Some(Confirm { end, number: self.told, multiple: count > 1 })
    }

    /// Publishes that have not ended, or of which the publisher has not been told.
    pub(crate) fn open(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(confirms: &mut Confirms) -> Vec<(End, u64, bool)> {
        let next = std::iter::from_fn(|| confirms.next());
        next.map(|confirm| (confirm.end, confirm.number, confirm.multiple)).collect()
    }

    #[test]
    fn one_word_stands_for_all_that_are_safe_together() {
        let mut confirms = Confirms::default();
        let numbers: Vec<_> = (0..5).map(|_| confirms.begin()).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        (1..=3).for_each(|number| confirms.end(number, End::Safe));
        assert_eq!(told(&mut confirms), [(End::Safe, 3, true)]);
        confirms.end(4, End::Safe);
        assert_eq!(told(&mut confirms), [(End::Safe, 4, false)]);
        assert_eq!((told(&mut confirms), confirms.open()), (vec![], 1));
    }

    #[test]
    fn what_is_early_waits_and_what_failed_is_told_apart() {
        let mut confirms = Confirms::default();
        (0..6).for_each(|_| _ = confirms.begin());
        for (number, end) in [(2, End::Safe), (3, End::Failed), (4, End::Failed), (6, End::Safe)] {
            confirms.end(number, end);
        }
        assert_eq!(told(&mut confirms), []);
        confirms.end(1, End::Safe);
        assert_eq!(told(&mut confirms), [(End::Safe, 2, true), (End::Failed, 4, true)]);
        confirms.end(5, End::Safe);
        assert_eq!(told(&mut confirms), [(End::Safe, 6, true)]);
        confirms.end(3, End::Safe);
        assert_eq!((told(&mut confirms), confirms.begin()), (vec![], 7));
    }
}
