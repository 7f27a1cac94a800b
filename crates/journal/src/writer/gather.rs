//! Whether to wait shortly, after a sync, for those who were just answered.
//!
//! Clients that wait for each append before they send the next come in two camps otherwise: while one camp's groups are being
//! synced, those of the other collect, and every sync carries half of what it could. Where a sync takes long, a share of that
//! time is enough for the first camp to come again, and both share the next sync: nearly twice the appends, in half the time each.
//!
//! It is not worth it on a fast disk, nor for large writes, whose time grows with their size. Where they do not come, it is tried
//! less and less often.

use std::time::Duration;

/// The share of a sync's time that may be waited: by less than all of it, both are served sooner than in two camps.
const SHARE: u32 = 2;
/// A shorter wait is beyond what a thread can be woken for.
const WAIT_MIN: Duration = Duration::from_micros(200);
/// In less than this nobody can be answered and come again.
const PAUSE_MIN: Duration = Duration::from_micros(100);
/// After a larger write nobody is waited for.
const BYTES_MAX: usize = 512 << 10;
/// The most syncs between two tries.
const SKIPS_MAX: u32 = 63;

/// What the last sync and the last waits tell.
#[derive(Default)]
pub(crate) struct Gather {
    /// How many groups the last sync carried, how many waited when it was over, and how long to wait for the senders of the
    /// former.
    answered: usize,
    waiting: usize,
    wait: Duration,
    /// So many more syncs without a wait.
    skips: u32,
    /// How many that were the last time.
    skipped: u32,
}

/// For what to wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Until so many groups wait.
    pub(crate) waiting: usize,
    /// How many of them are to come.
    answered: usize,
    /// At most so long.
    pub(crate) wait: Duration,
    /// As long as one comes in each such time.
    pub(crate) pause: Duration,
}

impl Gather {
    /// A write was synced while others came, which are `waiting`; those that it carried are not answered yet.
    pub(crate) fn synced(&mut self, took: Duration, bytes: usize, groups: usize, waiting: usize) {
        self.wait = took / SHARE;
        self.waiting = waiting;
        self.answered = if bytes <= BYTES_MAX { groups } else { 0 };
    }

    /// For what to wait. `None` if it is not worth it.
    pub(crate) fn wish(&mut self) -> Option<Wish> {
        let answered = std::mem::take(&mut self.answered);
        if answered < 2 || self.wait < WAIT_MIN {
            return None;
        }
        if self.skips > 0 {
            self.skips -= 1;
            return None;
        }
        let pause = (self.wait / 4).max(PAUSE_MIN);
        Some(Wish { waiting: self.waiting + answered, answered, wait: self.wait, pause })
    }

    /// What came of it: now so many groups wait.
    pub(crate) fn waited(&mut self, wish: &Wish, waiting: usize) {
        let came = (waiting + wish.answered).saturating_sub(wish.waiting);
        self.skipped = if came * 2 >= wish.answered { 0 } else { (self.skipped * 2 + 1).min(SKIPS_MAX) };
        self.skips = self.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_millis(2);

    fn wish_for(waiting: usize, answered: usize) -> Option<Wish> {
        Some(Wish { waiting, answered, wait: SLOW / 2, pause: SLOW / 8 })
    }

    #[test]
    fn those_who_were_answered_are_waited_for_where_a_sync_takes_long() {
        let mut gather = Gather::default();
        assert_eq!(gather.wish(), None);
        gather.synced(SLOW, 64 << 10, 16, 3);
        assert_eq!(gather.wish(), wish_for(19, 16));
        assert_eq!(gather.wish(), None, "once for a sync");
        gather.synced(SLOW, 4096, 1, 0);
        assert_eq!(gather.wish(), None, "one is not waited for");
        gather.synced(Duration::from_micros(200), 64 << 10, 16, 0);
        assert_eq!(gather.wish(), None, "the disk is faster");
        gather.synced(SLOW, 4 << 20, 16, 0);
        assert_eq!(gather.wish(), None, "a large write");
    }

    #[test]
    fn where_nobody_comes_it_is_tried_less_and_less() {
        let mut gather = Gather::default();
        let mut tries = Vec::new();
        for sync in 0..200 {
            gather.synced(SLOW, 4096, 4, 1);
            if let Some(wish) = gather.wish() {
                tries.push(sync);
                gather.waited(&wish, 1);
            }
        }
        assert_eq!(tries, [0, 2, 6, 14, 30, 62, 126, 190]);
        loop {
            gather.synced(SLOW, 4096, 4, 1);
            if let Some(wish) = gather.wish() {
                gather.waited(&wish, 5);
                break;
            }
        }
        gather.synced(SLOW, 4096, 4, 1);
        assert!(gather.wish().is_some(), "they come again");
    }
}
