//! The deliveries of a channel that its client has not settled yet.
//!
//! Tags only grow, so that a tag is found by halving. What is settled out of turn stays as an empty place until it is at
//! the front, or until there are more empty places than others: settling costs the same in whatever order it comes, and
//! the memory is that of what is unsettled.

use std::collections::VecDeque;

use crate::reply::{Exception, precondition_failed};

/// Empty places that are not worth a thought.
const EMPTY_MIN: usize = 64;

/// Deliveries by tag, each with what the broker needs to settle it.
#[derive(Clone, Debug)]
pub(crate) struct Unacked<T> {
    places: VecDeque<(u64, Option<T>)>,
    /// Places that are not empty.
    len: usize,
}

impl<T> Default for Unacked<T> {
    fn default() -> Self {
        Self { places: VecDeque::new(), len: 0 }
    }
}

impl<T> Unacked<T> {
    /// Adds a delivery. Its tag is larger than all before.
    pub(crate) fn push(&mut self, tag: u64, delivery: T) {
        debug_assert!(self.places.back().is_none_or(|(last, _)| *last < tag));
        self.places.push_back((tag, Some(delivery)));
        self.len += 1;
    }

    /// Deliveries that are not settled.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes one delivery out, or all up to and with it; tag 0 with `multiple` is all of them.
    ///
    /// # Errors
    /// RabbitMQ's error for a tag that is not there, and then nothing is taken.
    pub(crate) fn take(&mut self, tag: u64, multiple: bool) -> Result<Vec<(u64, T)>, Exception> {
        if tag == 0 && multiple {
            return Ok(self.take_all());
        }
        let place = self.places.binary_search_by_key(&tag, |(tag, _)| *tag).ok();
        let place = place.filter(|place| self.places[*place].1.is_some());
        let Some(place) = place else {
            return Err(precondition_failed(format!("unknown delivery tag {tag}")));
        };
        let taken = if multiple { self.take_up_to(place) } else { self.take_one(place) };
        self.len -= taken.len();
        self.tidy();
        Ok(taken)
    }

    /// Takes every delivery out, in the order of the tags.
    pub(crate) fn take_all(&mut self) -> Vec<(u64, T)> {
        self.len = 0;
        let places = std::mem::take(&mut self.places);
        places.into_iter().filter_map(|(tag, delivery)| Some((tag, delivery?))).collect()
    }

    /// Puts deliveries back that were taken out.
    pub(crate) fn put_back(&mut self, deliveries: impl IntoIterator<Item = (u64, T)>) {
        let mut all = self.take_all();
        all.extend(deliveries);
        all.sort_by_key(|(tag, _)| *tag);
        self.len = all.len();
        self.places = all.into_iter().map(|(tag, delivery)| (tag, Some(delivery))).collect();
    }

    fn take_one(&mut self, place: usize) -> Vec<(u64, T)> {
        let (tag, delivery) = &mut self.places[place];
        delivery.take().map(|delivery| (*tag, delivery)).into_iter().collect()
    }

    fn take_up_to(&mut self, place: usize) -> Vec<(u64, T)> {
        self.places.drain(..=place).filter_map(|(tag, delivery)| Some((tag, delivery?))).collect()
    }

    fn tidy(&mut self) {
        while self.places.front().is_some_and(|(_, delivery)| delivery.is_none()) {
            self.places.pop_front();
        }
        if self.places.len() - self.len > self.len.max(EMPTY_MIN) {
            self.places.retain(|(_, delivery)| delivery.is_some());
        }
        if self.places.capacity() > 4 * self.places.len().max(EMPTY_MIN) {
            self.places.shrink_to(2 * self.places.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use annals_clock::Clock;

    use super::*;

    fn tags(taken: Vec<(u64, u64)>) -> Vec<u64> {
        assert!(taken.iter().all(|(tag, delivery)| tag * 10 == *delivery));
        taken.into_iter().map(|(tag, _)| tag).collect()
    }

    #[test]
    fn it_does_what_a_set_does() {
        let (clock, _) = Clock::manual(0, 7);
        let (mut unacked, mut model, mut next) = (Unacked::default(), BTreeSet::new(), 1);
        for _ in 0..20_000 {
            let (what, multiple) = (clock.random() % 10, clock.random() % 8 == 0);
            if what < 6 {
                next += clock.random() % 2;
                unacked.push(next, next * 10);
                model.insert(next);
                next += 1;
                continue;
            }
            let tag = clock.random() % (next + 2);
            let expected: Vec<u64> = match (tag, multiple) {
                (0, true) => model.iter().copied().collect(),
                (tag, true) if model.contains(&tag) => model.range(..=tag).copied().collect(),
                (tag, false) if model.contains(&tag) => vec![tag],
                _ => Vec::new(),
            };
            model.retain(|tag| !expected.contains(tag));
            match unacked.take(tag, multiple) {
                Ok(taken) => assert_eq!(tags(taken), expected),
                Err(error) => {
                    assert!(expected.is_empty());
                    let text = format!("PRECONDITION_FAILED - unknown delivery tag {tag}");
                    assert_eq!(error.to_string(), text);
                }
            }
            assert_eq!(unacked.len(), model.len());
        }
        assert_eq!(tags(unacked.take_all()), model.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn one_that_stays_does_not_hold_the_places_of_the_others() {
        let mut unacked = Unacked::default();
        unacked.push(1, 10);
        for tag in 2..100_000 {
            unacked.push(tag, tag * 10);
            unacked.take(tag, false).expect("there");
        }
        assert!(unacked.places.len() <= 2 * EMPTY_MIN && unacked.places.capacity() < 1000);
        assert_eq!(tags(unacked.take(1, false).expect("there")), [1]);
    }

    #[test]
    fn what_is_put_back_is_there_again() {
        let mut unacked = Unacked::default();
        (1..=5).for_each(|tag| unacked.push(tag, tag * 10));
        let taken = unacked.take(3, true).expect("there");
        unacked.put_back(taken);
        assert_eq!(tags(unacked.take(0, true).expect("any")), [1, 2, 3, 4, 5]);
    }
}
