//! A set of numbers, kept as ranges: which offsets of a log are settled.
//!
//! Its size goes with the number of holes, not with the number of members; a queue that is consumed in order has one range.

use std::collections::BTreeMap;
use std::ops::Range;

/// Numbers as ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// From the first number of a range to the one behind its last.
    ranges: BTreeMap<u64, u64>,
    len: u64,
}

impl RangeSet {
    /// How many numbers there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ranges there are.
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// The ranges, from the lowest.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// Whether the number is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, &end)| end > number)
    }

    /// The first number from `from` on that is not in it.
    pub fn next_missing(&self, from: u64) -> u64 {
        match self.ranges.range(..=from).next_back() {
            Some((_, &end)) if end > from => end,
            _ => from,
        }
    }

    /// The first number from `from` on that is in it.
    pub fn next_member(&self, from: u64) -> Option<u64> {
        if self.contains(from) {
            return Some(from);
        }
        self.ranges.range(from..).next().map(|(&start, _)| start)
    }

    /// How many numbers of `range` are in it.
    pub fn count_in(&self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let before = self.ranges.range(..range.start).next_back();
        let before = before.map_or(0, |(_, &end)| end.min(range.end).saturating_sub(range.start));
        let inside = self.ranges.range(range.clone());
        before + inside.map(|(&start, &end)| end.min(range.end) - start).sum::<u64>()
    }

    /// Adds a range. Returns how many numbers are new.
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        if let Some(mut last) = self.ranges.last_entry()
            && *last.get() == range.start
        {
            // The usual case by far: one after the other.
            *last.get_mut() = range.end;
            self.len += range.end - range.start;
            return range.end - range.start;
        }
        let (mut start, mut end) = (range.start, range.end);
        let mut known = 0;
        if let Some((&first, &last)) = self.ranges.range(..start).next_back()
            && last >= start
        {
            start = first;
        }
        while let Some((&first, &last)) = self.ranges.range(start..=end).next() {
            known += last - first;
            end = end.max(last);
            self.ranges.remove(&first);
        }
        self.ranges.insert(start, end);
        let new = end - start - known;
        self.len += new;
        new
    }

    /// Removes everything below `to`.
    pub fn remove_below(&mut self, to: u64) {
        while let Some((&start, &end)) = self.ranges.first_key_value() {
            if start >= to {
                return;
            }
            self.ranges.remove(&start);
            self.len -= end.min(to) - start;
            if end > to {
                self.ranges.insert(to, end);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use annals_clock::Clock;

    use super::*;

    #[test]
    fn it_is_a_set_of_numbers() {
        let (clock, _) = Clock::manual(0, 7);
        let (mut ranges, mut model) = (RangeSet::default(), BTreeSet::new());
        for step in 0..5000 {
            let start = clock.random() % 500;
            let end = start + clock.random() % 9;
            if step % 50 == 49 {
                ranges.remove_below(start / 2);
                model = model.split_off(&(start / 2));
            } else {
                let before = model.len();
                model.extend(start..end);
                assert_eq!(ranges.insert(start..end), (model.len() - before) as u64);
            }
            assert_eq!(ranges.len(), model.len() as u64);
            let probe = clock.random() % 520;
            assert_eq!(ranges.contains(probe), model.contains(&probe));
            assert_eq!(ranges.next_missing(probe), (probe..).find(|n| !model.contains(n)).unwrap());
            assert_eq!(ranges.next_member(probe), model.range(probe..).next().copied());
            assert_eq!(ranges.count_in(probe..probe + 37), model.range(probe..probe + 37).count() as u64);
        }
        let flat: Vec<u64> = ranges.iter().flatten().collect();
        assert_eq!(flat, model.into_iter().collect::<Vec<_>>());
        assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.end < b.start), "none touch");
    }
}
