//! The order in which a client asks for its partitions.
//!
//! librdkafka asks for all that have room in each request, and begins one partition further each time, so that none starves where
//! an answer is limited. Whoever does so will take what follows the second partition of an answer, then the third: that can be
//! read before it is asked for.

use std::sync::{Mutex, PoisonError};

use annals_broker::api::topics::TopicRef;

use super::session::Wanted;

/// What one connection asked for last.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    /// The partition that comes first next time, if the order goes on by one.
    next: Mutex<Option<(TopicRef, i32)>>,
}

impl Rotation {
    /// Takes a request; says whether it began one partition further than the one before it.
    pub(super) fn goes_on(&self, wanted: &[Wanted]) -> bool {
        let place = |wanted: &Wanted| (wanted.topic.clone(), wanted.partition);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *next, wanted.get(1).map(place));
        before.is_some() && before == wanted.first().map(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(partitions: &[i32]) -> Vec<Wanted> {
        let wanted = |&partition: &i32| Wanted {
            topic: TopicRef::Name("t".into()),
            partition,
            leader_epoch: -1,
            offset: 0,
            max_bytes: 1,
        };
        partitions.iter().map(wanted).collect()
    }

    #[test]
    fn a_client_goes_on_if_it_begins_one_partition_further() {
        let rotation = Rotation::default();
        let cases: [(&[i32], bool); 8] = [
            (&[0, 1, 2], false),
            (&[1, 2, 0], true),
            (&[2, 0, 1], true),
            (&[2, 0, 1], false),
            (&[0, 2], true),
            (&[], false),
            (&[3], false),
            (&[3], false),
        ];
        for (partitions, expected) in cases {
            assert_eq!(rotation.goes_on(&wanted(partitions)), expected, "{partitions:?}");
        }
    }
}
