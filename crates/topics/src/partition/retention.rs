//! Which old records may go: `retention.ms` and `retention.bytes`.
//!
//! The journal stores a partition as extents; their facts come in, a new log start comes out. As in Kafka, extents go
//! from the oldest on, whole, and the first that has to stay ends it: by time when its largest timestamp is older than
//! the retention, by size when what is left without it still fills the limit. Nothing beyond the high watermark goes.

use crate::{NO_TIMESTAMP, Offset, TimestampMs};

/// What is known about one stretch of a partition's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Its first offset.
    pub first_offset: Offset,
    /// The offset after its last.
    pub next_offset: Offset,
    /// Its bytes.
    pub size_bytes: u64,
    /// The largest timestamp of its records, or -1 if none has one.
    pub max_timestamp: TimestampMs,
    /// When it was written: stands in where no record has a timestamp.
    pub written_ms: TimestampMs,
}

impl Extent {
    /// The date that its age is told by.
    pub(crate) fn dated_ms(&self) -> TimestampMs {
        if self.max_timestamp == NO_TIMESTAMP { self.written_ms } else { self.max_timestamp }
    }
}

/// How much of a partition is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retention {
    /// `retention.ms`; `None` for no limit.
    pub time_ms: Option<i64>,
    /// `retention.bytes`, for each partition; `None` for no limit.
    pub size_bytes: Option<u64>,
}

/// The log start that retention leads to: `log_start` itself if everything stays.
///
/// `extents` are those of the partition from its log start on, oldest first.
pub fn retained_from(
    extents: &[Extent],
    log_start: Offset,
    high_watermark: Offset,
    retention: &Retention,
    now_ms: TimestampMs,
) -> Offset {
    let expired = |extent: &Extent| retention.time_ms.is_some_and(|limit| age(extent, now_ms) > limit);
    let mut left_bytes: u64 = extents.iter().map(|extent| extent.size_bytes).sum();
    let mut start = log_start;
    for extent in extents {
        let rest_bytes = left_bytes - extent.size_bytes;
        let surplus = retention.size_bytes.is_some_and(|limit| rest_bytes >= limit && left_bytes > limit);
        if extent.next_offset > high_watermark || !(expired(extent) || surplus) {
            break;
        }
        left_bytes = rest_bytes;
        start = start.max(extent.next_offset);
    }
    start
}

fn age(extent: &Extent, now_ms: TimestampMs) -> i64 {
    now_ms.saturating_sub(extent.dated_ms())
}

#[cfg(test)]
mod tests {
    use super::{Extent, Retention, retained_from};

    /// Five extents of ten records and 100 bytes; the largest timestamps are 100, 200, ... 500.
    fn extents() -> Vec<Extent> {
        let extent = |i: i64| Extent {
            first_offset: 10 * i,
            next_offset: 10 * i + 10,
            size_bytes: 100,
            max_timestamp: 100 * (i + 1),
            written_ms: 100 * (i + 1),
        };
        (0..5).map(extent).collect()
    }

    fn check(time_ms: Option<i64>, size_bytes: Option<u64>, now_ms: i64, expected: i64) {
        let retention = Retention { time_ms, size_bytes };
        assert_eq!(
            retained_from(&extents(), 0, 50, &retention, now_ms),
            expected,
            "{retention:?} at {now_ms}"
        );
    }

    #[test]
    fn by_time() {
        check(None, None, i64::MAX, 0);
        check(Some(50), None, 150, 0); // exactly as old as allowed
        check(Some(50), None, 151, 10);
        check(Some(50), None, 350, 20);
        check(Some(0), None, 10_000, 50);
    }

    #[test]
    fn by_size() {
        check(None, Some(500), 0, 0);
        check(None, Some(401), 0, 0); // without the first, less than the limit would be left
        check(None, Some(400), 0, 10);
        check(None, Some(0), 0, 50);
    }

    #[test]
    fn either_is_enough() {
        check(Some(50), Some(200), 151, 30);
        check(Some(50), Some(1_000), 351, 30);
    }

    #[test]
    fn a_young_extent_protects_those_behind_it() {
        let mut extents = extents();
        extents[1].max_timestamp = 10_000;
        let retention = Retention { time_ms: Some(50), size_bytes: None };
        assert_eq!(retained_from(&extents, 0, 50, &retention, 9_000), 10);
    }

    #[test]
    fn never_past_the_high_watermark_nor_back() {
        let retention = Retention { time_ms: Some(0), size_bytes: None };
        assert_eq!(retained_from(&extents(), 0, 25, &retention, 9_000), 20);
        assert_eq!(retained_from(&extents(), 13, 5, &retention, 9_000), 13);
    }

    #[test]
    fn records_without_timestamps_age_from_their_writing() {
        let mut extents = extents();
        extents[0].max_timestamp = -1;
        let retention = Retention { time_ms: Some(50), size_bytes: None };
        assert_eq!(retained_from(&extents, 0, 50, &retention, 150), 0);
        assert_eq!(retained_from(&extents, 0, 50, &retention, 151), 10);
    }
}
