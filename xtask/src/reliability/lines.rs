//! The lines of the table: what is done, what must hold, and which tests do it.

use std::time::Duration;

/// One line of the table.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) must: &'static str,
    pub(super) work: Work,
}

/// What does the work of a line.
pub(super) enum Work {
    /// Tests of the crates, one after the other.
    Tests(&'static [Test]),
    /// A scenario of `cargo xtask bench`, with Annals alone.
    Bench(&'static str),
}

/// One test at a size of its own.
pub(super) struct Test {
    /// Said before the names of its figures, where a line has several tests.
    pub(super) about: &'static str,
    pub(super) package: &'static str,
    pub(super) target: &'static str,
    pub(super) name: &'static str,
    /// The variable that says how large, and its values in full and quick.
    pub(super) size: Option<(&'static str, &'static str, &'static str)>,
    /// When it is taken to hang.
    pub(super) limit: Duration,
}

const HOUR: Duration = Duration::from_secs(3600);

/// All lines, in the order of the table.
pub(super) const LINES: &[Line] = &[
    Line {
        name: "seeds",
        what: "10,000 seeds of random operations on files in memory; the power fails at a random write, and what was not \
               synced is kept, lost or torn at any byte",
        must: "what was acknowledged is there, groups are whole, retries are not doubled, no damage is reported",
        work: Work::Tests(&[JOURNAL_SEEDS, BROKER_SEEDS]),
    },
    Line {
        name: "kills",
        what: "200 times kill -9 while idempotent producers write, a consumer commits, and retention and compaction run",
        must: "every record once, in order, at the offset that was acknowledged; no commit goes back; `annals verify` finds \
               nothing",
        work: Work::Tests(&[KILLS]),
    },
    Line {
        name: "amqp-kills",
        what: "200 times kill -9 while a publisher waits for confirms and a consumer takes messages in transactions",
        must: "every confirmed message is there, in order and once; none whose transaction was confirmed comes again",
        work: Work::Tests(&[AMQP_KILLS]),
    },
    Line {
        name: "full-disk",
        what: "a filesystem of 96 MB is filled, twice, and the server killed on it while it is full",
        must: "writes are refused with an error that says so; reads, commits and deletions go on; writes resume by themselves \
               within 5 s of space; nothing acknowledged is lost",
        work: Work::Tests(&[FULL_DISK]),
    },
    Line {
        name: "flips",
        what: "10,000 times one bit of one file at rest: segments that are written, sealed or rewritten, their indexes, FORMAT, \
               CLUSTER, LOCK, leftovers",
        must: "`verify` or the start names the file, or everything is as it was; never a panic; at most one group is lost; \
               nothing is shown that was not written; writing goes on, or the start is refused with the name of the file",
        work: Work::Tests(&[FLIPS]),
    },
    Line {
        name: "slow-disk",
        what: "a disk that takes 80 to 400 ms for a sync and 1 to 20 ms for a write, under more load than it takes, for a minute, \
               and then a power failure",
        must: "no acknowledgement before its sync, none lost; reads beside it are prompt; what waits for the disk is bounded",
        work: Work::Tests(&[SLOW_DISK]),
    },
    Line {
        name: "idle",
        what: "10,000 idle connections, under a memory limit of 512 MiB",
        must: "at most 32 KiB for each; a client beside them is served, and so is each of them",
        work: Work::Tests(&[IDLE]),
    },
    Line {
        name: "amqp-idle",
        what: "5,000 idle AMQP connections, each with a channel",
        must: "at most 64 KiB for each; a client beside them is served, and so are they",
        work: Work::Tests(&[AMQP_IDLE]),
    },
    Line {
        name: "stalled",
        what: "1,000 consumers that ask for 64 MB each and never read an answer, under a memory limit of 512 MiB",
        must: "the limit holds; a client beside them is served",
        work: Work::Tests(&[STALLED]),
    },
    Line {
        name: "catch-up",
        what: "a consumer reads an old topic as fast as it can beside live producers (`cargo xtask bench catch-up`)",
        must: "the producers keep 90 % of their throughput",
        work: Work::Bench("catch-up"),
    },
];

const JOURNAL_SEEDS: Test = Test {
    about: "journal",
    package: "annals-journal",
    target: "it",
    name: "crash::random_operations_survive_random_power_failures",
    size: Some(("ANNALS_TEST_SEEDS", "10000", "500")),
    limit: HOUR,
};
const BROKER_SEEDS: Test = Test {
    about: "broker",
    package: "annals-broker",
    target: "faults",
    name: "acknowledged_operations_survive_power_failures",
    ..JOURNAL_SEEDS
};
const KILLS: Test = Test {
    about: "",
    package: "annals-server",
    target: "system",
    name: "crash::nothing_acknowledged_is_lost_or_doubled_by_kills",
    size: Some(("ANNALS_TEST_KILLS", "200", "10")),
    limit: HOUR,
};
const FULL_DISK: Test =
    Test { name: "full_disk::a_full_disk_refuses_writes_until_there_is_space", size: None, ..KILLS };
const FLIPS: Test = Test {
    about: "",
    name: "flips::no_flipped_bit_is_silent",
    size: Some(("ANNALS_TEST_FLIPS", "10000", "1000")),
    ..BROKER_SEEDS
};
const SLOW_DISK: Test = Test {
    about: "",
    name: "slow::a_slow_disk_makes_acknowledgements_late_and_nothing_else",
    size: Some(("ANNALS_TEST_SLOW_SECONDS", "60", "5")),
    ..BROKER_SEEDS
};
const IDLE: Test = Test {
    name: "scale::idle_connections_cost_little_and_disturb_nobody",
    size: Some(("ANNALS_TEST_IDLE", "10000", "1000")),
    ..KILLS
};
const AMQP_KILLS: Test =
    Test { name: "amqp::what_was_confirmed_is_there_after_kills_and_what_is_done_with_is_not", ..KILLS };
const AMQP_IDLE: Test = Test {
    name: "amqp::idle_amqp_connections_cost_little",
    size: Some(("ANNALS_TEST_IDLE", "5000", "1000")),
    ..KILLS
};
const STALLED: Test = Test {
    name: "scale::stalled_consumers_hold_a_bounded_share_and_disturb_nobody",
    size: Some(("ANNALS_TEST_STALLED", "1000", "100")),
    ..KILLS
};
