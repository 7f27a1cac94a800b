//! A journal on faulty files, with short ways to use it.

use std::sync::Arc;
use std::time::Duration;

use annals_clock::Clock;
use annals_journal::{
    AppendError, FaultFiles, Group, Idle, Journal, LogId, Opened, Options, Payload, Sequence,
};

/// Options that make a few kilobytes look like a lot.
pub(crate) fn small() -> Options {
    Options {
        segment_bytes: 1 << 20,
        tail_cache_bytes: 64 << 10,
        row_cache_bytes: 64 << 10,
        upkeep_interval: Duration::from_millis(20),
        ..Options::default()
    }
}

pub(crate) fn open(files: &FaultFiles) -> Opened {
    open_with(files, small())
}

pub(crate) fn open_with(files: &FaultFiles, options: Options) -> Opened {
    Journal::open(options, Arc::new(files.clone()), Clock::system(), Arc::new(Idle)).expect("opens")
}

pub(crate) fn start(files: &FaultFiles) -> Journal {
    open(files).start(Arc::new(Idle)).expect("starts")
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn append(journal: &Journal, group: Group) -> Result<Sequence, AppendError> {
    block_on(journal.append(group))
}

/// The payload that belongs at an offset: long enough to notice mixing.
pub(crate) fn payload(log: LogId, offset: u64, len: usize) -> Payload {
    let mut bytes = format!("{}/{offset}/", log.0).into_bytes();
    bytes.resize(len.max(bytes.len()), b'.');
    Payload::new(bytes.into())
}

pub(crate) fn one(log: u64, offset: u64, len: usize) -> Group {
    let mut group = Group::new();
    group.push(LogId(log), offset, 1, offset as i64, payload(LogId(log), offset, len));
    group
}

/// Every entry of a log, read one by one and checked to be what belongs there.
pub(crate) fn read_all(journal: &Journal, log: u64) -> Vec<u64> {
    let Some(facts) = journal.log(LogId(log)) else { return Vec::new() };
    let mut offsets = Vec::new();
    let mut next = facts.offsets.start;
    while next < facts.offsets.end {
        let entries = journal.entries(LogId(log), next, 100_000).expect("reads");
        assert!(!entries.is_empty(), "log {log} has nothing at {next} of {:?}", facts.offsets);
        for entry in entries {
            let expected = format!("{log}/{}/", entry.header.base_offset);
            assert!(entry.payload.starts_with(expected.as_bytes()), "{expected}: {:?}", entry.payload);
            offsets.push(entry.header.base_offset);
            next = entry.header.end_offset();
        }
    }
    offsets
}
