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
/// After a larger write nobody is waited for.
const BYTES_MAX: usize = 512 << 10;
/// The most syncs between two tries.
const SKIPS_MAX: u32 = 63;

/// What the last sync and the last waits tell.
#[derive(Default)]
pub(crate) struct Gather {
    /// How many groups the last sync carried, and how long to wait for their senders.
    answered: usize,
    wait: Duration,
    /// So many more syncs without a wait.
    skips: u32,
    /// How many that were the last time.
    skipped: u32,
}

impl Gather {
    /// A write was synced.
    pub(crate) fn synced(&mut self, took: Duration, bytes: usize, groups: usize) {
        self.wait = took / SHARE;
        self.answered = if bytes <= BYTES_MAX { groups } else { 0 };
    }

    /// How long to wait, and for how many groups: most of those that were answered. `None` if it is not worth it.
    pub(crate) fn wish(&mut self) -> Option<(Duration, usize)> {
        let answered = std::mem::take(&mut self.answered);
        if answered < 2 || self.wait < WAIT_MIN {
            return None;
        }
        if self.skips > 0 {
            self.skips -= 1;
            return None;
        }
        Some((self.wait, answered - answered / 8))
    }

    /// What came of waiting: `more` groups were wished for, and `came`.
    pub(crate) fn waited(&mut self, more: usize, came: usize) {
        self.skipped = if came * 2 >= more { 0 } else { (self.skipped * 2 + 1).min(SKIPS_MAX) };
        self.skips = self.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_millis(2);

    #[test]
    fn those_who_were_answered_are_waited_for_where_a_sync_takes_long() {
        let mut gather = Gather::default();
        assert_eq!(gather.wish(), None);
        gather.synced(SLOW, 64 << 10, 16);
        assert_eq!(gather.wish(), Some((SLOW / 2, 14)));
        assert_eq!(gather.wish(), None, "once for a sync");
        gather.synced(SLOW, 4096, 1);
        assert_eq!(gather.wish(), None, "one is not waited for");
        gather.synced(Duration::from_micros(200), 64 << 10, 16);
        assert_eq!(gather.wish(), None, "the disk is faster");
        gather.synced(SLOW, 4 << 20, 16);
        assert_eq!(gather.wish(), None, "a large write");
    }

    #[test]
    fn where_nobody_comes_it_is_tried_less_and_less() {
        let mut gather = Gather::default();
        let mut tries = Vec::new();
        for sync in 0..200 {
            gather.synced(SLOW, 4096, 4);
            if let Some((_, more)) = gather.wish() {
                tries.push(sync);
                gather.waited(more, 0);
            }
        }
        assert_eq!(tries, [0, 2, 6, 14, 30, 62, 126, 190]);
        loop {
            gather.synced(SLOW, 4096, 4);
            if let Some((_, more)) = gather.wish() {
                gather.waited(more, more);
                break;
            }
        }
        gather.synced(SLOW, 4096, 4);
        assert!(gather.wish().is_some(), "they come again");
    }
}
