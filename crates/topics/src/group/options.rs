//! What an operator can choose about groups, under the names that Kafka's brokers use.

use std::time::Duration;

/// Limits and timeouts of a [`GroupCoordinator`](super::GroupCoordinator).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `group.initial.rebalance.delay.ms`: how long the first generation of an empty group waits for more members.
    ///
    /// A member that joins meanwhile extends the wait by as much again, up to the rebalance timeout. Kafka waits 3 s,
    /// for fleets that start over seconds. Here one program with a few consumers is the common case: 100 ms lets
    /// consumers that start together share one generation, and nobody who starts a single one notices it.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`: a shorter session timeout is refused. Default 6 s.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`: a longer session timeout is refused. Default 30 min.
    pub session_timeout_max: Duration,
    /// `group.max.size`: members a group may have, and member ids that may be handed out and unused. Kafka does not
    /// bound it by default; here it is 10,000, so that a client in a loop cannot fill the memory.
    pub group_size_max: usize,
    /// How long a new member may wait for its first JoinGroup answer before it is taken for gone. It cannot send
    /// heartbeats while it waits. 5 min, as in Kafka.
    pub new_member_join_timeout: Duration,
    /// `offset.metadata.max.bytes`: default 4096.
    pub offset_metadata_size_bytes_max: usize,
    /// `offsets.retention.minutes`: how long the offsets of a group without members are kept. Default 7 days.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`: default 10 min.
    pub offsets_retention_check_interval: Duration,
    /// How many expired offsets one [`tick`](super::GroupCoordinator::tick) removes before it gives others a turn.
    pub expired_per_tick_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_millis(100),
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            group_size_max: 10_000,
            new_member_join_timeout: Duration::from_secs(5 * 60),
            offset_metadata_size_bytes_max: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_retention_check_interval: Duration::from_secs(10 * 60),
            expired_per_tick_max: 10_000,
        }
    }
}
