//! Background work: removing what is too old or too much, and compacting.

pub(crate) mod compaction;
pub(crate) mod retention;

use annals_journal::{ExtentFacts, Journal, LogId};
use annals_topics::config::SegmentRules;
use annals_topics::partition::retention::Extent;

/// Whether so much of a partition is in the segment being written that its topic wants that to be closed.
fn waits(facts: &[ExtentFacts], rules: SegmentRules) -> bool {
    facts.iter().any(|facts| !facts.sealed && facts.bytes >= rules.bytes)
}

/// What the journal knows about a partition's log, as the engine wants it.
fn extents(journal: &Journal, log: LogId, now_ms: i64) -> Vec<Extent> {
    journal.extents(log).iter().map(|facts| extent(facts, now_ms)).collect()
}

fn extent(facts: &ExtentFacts, now_ms: i64) -> Extent {
    Extent {
        first_offset: facts.offsets.start.cast_signed(),
        next_offset: facts.offsets.end.cast_signed(),
        size_bytes: facts.bytes,
        max_timestamp: facts.max_timestamp_ms,
        // Records without a timestamp count as new: the journal does not date its extents.
        written_ms: now_ms,
    }
}
