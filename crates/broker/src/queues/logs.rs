//! Which logs belong to queues.
//!
//! The numbers are persisted: the queue's own number and, in the lowest nine bits, the part of it. They are far above those
//! of partitions, which count up from 64.

use annals_journal::LogId;
use annals_queues::routing::QueueId;

/// The definitions of virtual hosts, exchanges, queues and bindings: a keyed log.
pub(crate) const DEFINITIONS_LOG: LogId = LogId(16);

/// Bodies that several queues share: each once.
pub(crate) const BODIES_LOG: LogId = LogId(17);

/// How far topics were read whose records are published through exchanges.
pub(crate) const POSITIONS_LOG: LogId = LogId(18);

const FIRST: u64 = 1 << 40;
const END: u64 = 1 << 41;
const PART_BITS: u32 = 9;
/// The part that is the state log. The parts below are lanes.
const STATE: u16 = 257;

/// What a log of a queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Messages of this lane.
    Lane(u16),
    /// What became of them.
    State,
}

pub(crate) fn is_queue_log(log: LogId) -> bool {
    (FIRST..END).contains(&log.0) || log == BODIES_LOG
}

pub(crate) fn lane_log(queue: QueueId, lane: u16) -> LogId {
    LogId(FIRST | (queue.0 << PART_BITS) | u64::from(lane))
}

pub(crate) fn state_log(queue: QueueId) -> LogId {
    lane_log(queue, STATE)
}

/// The queue and the part of it that a log is.
pub(crate) fn owner_of(log: LogId) -> Option<(QueueId, Part)> {
    if !(FIRST..END).contains(&log.0) {
        return None;
    }
    let part = (log.0 & ((1 << PART_BITS) - 1)) as u16;
    let queue = QueueId((log.0 - FIRST) >> PART_BITS);
    Some((queue, if part == STATE { Part::State } else { Part::Lane(part) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_its_queue() {
        for (queue, lane) in [(1, 0), (77, 256), (1 << 20, 9)] {
            let queue = QueueId(queue);
            assert_eq!(owner_of(lane_log(queue, lane)), Some((queue, Part::Lane(lane))));
            assert_eq!(owner_of(state_log(queue)), Some((queue, Part::State)));
        }
        assert_eq!(owner_of(LogId(64)), None);
    }
}
