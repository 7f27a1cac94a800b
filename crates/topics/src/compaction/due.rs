//! When a partition is worth a pass, and how far the pass may go.

use crate::config::Compaction;
use crate::partition::retention::Extent;
use crate::{Offset, TimestampMs};

/// How much of a partition has been compacted, and how much is new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dirt {
    /// Bytes before where the last pass ended.
    pub clean_bytes: u64,
    /// Bytes from there to where a pass may go now.
    pub dirty_bytes: u64,
    /// The smallest timestamp, or write time, among the dirty ones.
    pub oldest_dirty_ms: TimestampMs,
}

impl Dirt {
    /// Whether a pass is due: enough is new, or something has waited for too long.
    pub fn is_due(&self, config: &Compaction, now_ms: TimestampMs) -> bool {
        if self.dirty_bytes == 0 {
            return false;
        }
        let all_bytes = self.clean_bytes.saturating_add(self.dirty_bytes);
        let ratio = self.dirty_bytes as f64 / all_bytes as f64;
        let waited_ms = now_ms.saturating_sub(self.oldest_dirty_ms);
        ratio > config.min_dirty_ratio || waited_ms > config.max_lag_ms
    }
}

/// How far a pass may go: to `stable_to` (the high watermark, or the first offset of an open transaction), and not into
/// the first extent that holds a record younger than `min_lag_ms`.
pub fn cleanable_until(
    extents: &[Extent],
    stable_to: Offset,
    min_lag_ms: i64,
    now_ms: TimestampMs,
) -> Offset {
    let youngest_ms = now_ms.saturating_sub(min_lag_ms);
    let too_young = |extent: &&Extent| min_lag_ms > 0 && extent.dated_ms() > youngest_ms;
    extents.iter().find(too_young).map_or(stable_to, |extent| extent.first_offset.min(stable_to))
}

#[cfg(test)]
mod tests {
    use super::{Dirt, cleanable_until};
    use crate::config::TopicConfig;
    use crate::partition::retention::Extent;

    #[test]
    fn due_by_ratio_or_by_wait() {
        let config = TopicConfig::default().compaction;
        let dirt = |clean_bytes, dirty_bytes| Dirt { clean_bytes, dirty_bytes, oldest_dirty_ms: 100 };
        assert!(!dirt(50, 50).is_due(&config, 1_000), "half is not more than half");
        assert!(dirt(49, 51).is_due(&config, 1_000));
        let hasty = crate::config::Compaction { max_lag_ms: 10, ..config };
        assert!(!dirt(99, 1).is_due(&hasty, 110) && dirt(99, 1).is_due(&hasty, 111));
        assert!(!dirt(5, 0).is_due(&hasty, 1_000));
    }

    #[test]
    fn young_records_are_left_alone() {
        let extent = |first_offset, max_timestamp| Extent {
            first_offset,
            next_offset: first_offset + 10,
            size_bytes: 1,
            max_timestamp,
            written_ms: 0,
        };
        let extents = [extent(0, 100), extent(10, 300), extent(20, 200)];
        assert_eq!(cleanable_until(&extents, 25, 0, 300), 25);
        assert_eq!(cleanable_until(&extents, 25, 50, 300), 10);
        assert_eq!(cleanable_until(&extents, 25, 250, 300), 0);
        assert_eq!(cleanable_until(&extents, 5, 50, 300), 5);
    }
}
