//! A data directory whose segment files are not what the journal wrote.
//!
//! The input describes the files (see the `forge` module). Promised: the journal opens them or says why not; what it then
//! lists can be read or is reported as damaged; it takes new appends, and a second start finds them.

use std::sync::Arc;

use annals_clock::Clock;
use annals_journal::{
    AppendError, FaultFiles, Files as _, Group, Idle, Journal, LogId, OpenMode, Options, Payload, verify,
};
use bytes::Bytes;

use crate::forge::{self, Forge};
use crate::input::Input;

/// How many files an input may describe.
const SEGMENTS_MAX: u64 = 4;
/// Room for the forged files and some new ones.
const DISK_BYTES: u64 = 64 << 20;
/// How many reads of one log are enough: it cannot have as many entries.
const READS_MAX: usize = 10_000;
const READ_BYTES_MAX: usize = 64 << 10;
/// A log that no forged file names: ids are never used again, so one that was deleted takes nothing.
const FRESH: LogId = LogId(forge::FRESH_LOG);
const TIME_MS: i64 = 1_767_225_600_000;

/// Opens the directory that `data` describes, reads it, writes to it and opens it again.
pub fn run(data: &[u8]) {
    let files = forged(data);
    let report = verify(&files, |_, _| {});
    let opened = Journal::open(options(), Arc::new(files.clone()), Clock::system(), Arc::new(Idle));
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            assert!(report.is_err(), "what can be verified can be opened: {error}");
            return;
        }
    };
    read_all(opened.journal());
    let journal = opened.start(Arc::new(Idle)).unwrap_or_else(|error| panic!("no threads: {error}"));
    let written = write(&journal);
    journal.close();
    check_reopened(&files.kill(), &written);
}

fn forged(data: &[u8]) -> FaultFiles {
    let files = FaultFiles::new();
    files.set_capacity(Some(DISK_BYTES));
    let (mut forge, mut steps) = (Forge::default(), Input::new(data));
    for id in 1..=SEGMENTS_MAX {
        if steps.is_empty() {
            break;
        }
        let bytes = forge.segment(id, &mut steps);
        let file = files.open(&format!("{id:010}-{id:010}-0000.segment"), OpenMode::CreateNew);
        let written = file.and_then(|file| {
            file.write_at(0, &bytes)?;
            file.sync_data()
        });
        written.and_then(|()| files.sync_directory()).unwrap_or_else(|error| panic!("no file: {error}"));
    }
    files
}

fn options() -> Options {
    Options { segment_bytes: 1 << 20, tail_cache_bytes: 1 << 20, ..Options::default() }
}

fn read_all(journal: &Journal) {
    for log in journal.logs() {
        let _ = (journal.extents(log), journal.summary(log));
        let Some(facts) = journal.log(log) else { continue };
        assert!(facts.offsets.start <= facts.offsets.end, "{log} has {facts:?}");
        let _ = journal.read(log, facts.offsets.start..u64::MAX, READ_BYTES_MAX);
        let _ = journal.read_heads(log, facts.offsets.start, 61, 1000);
        let _ = journal.find_timestamp(log, TIME_MS, facts.offsets.start);
        let _ = journal.find_max_timestamp(log, 0);
        read_entries(journal, log);
    }
}

/// Reads a log entry by entry up to its end, or to where it is damaged.
fn read_entries(journal: &Journal, log: LogId) {
    let Some(facts) = journal.log(log) else { return };
    let mut from = facts.offsets.start;
    for _ in 0..READS_MAX {
        let Ok(entries) = journal.entries(log, from, READ_BYTES_MAX) else { return };
        let Some(last) = entries.last() else { return };
        for entry in &entries {
            assert_eq!(crc32c::crc32c(&entry.payload), entry.header.crc, "what is read is what was written");
        }
        assert!(last.header.end_offset() > from, "{log}: no way forward from {from}");
        from = last.header.end_offset();
    }
    panic!("{log} has no end");
}

/// What was acknowledged.
struct Written {
    log: LogId,
    offset: u64,
    payload: Bytes,
}

/// Appends to each log that there is, and to a new one.
fn write(journal: &Journal) -> Vec<Written> {
    let mut logs = journal.logs();
    logs.sort_unstable();
    logs.truncate(8);
    logs.push(FRESH);
    logs.into_iter().filter_map(|log| append(journal, log)).collect()
}

fn append(journal: &Journal, log: LogId) -> Option<Written> {
    let offset = match journal.log(log) {
        Some(facts) => facts.offsets.end,
        None if log != FRESH => return None,
        None => 0,
    };
    let payload = Bytes::from(format!("written to {log} after the forgery"));
    let mut group = Group::new();
    group.push(log, offset, 1, TIME_MS, Payload::new(payload.clone()));
    match block_on(journal.append(group)) {
        Ok(_) => {
            let read = journal.read(log, offset..u64::MAX, READ_BYTES_MAX);
            let read = read.unwrap_or_else(|error| panic!("acknowledged, and cannot be read: {error}"));
            assert_eq!(read.pieces.concat(), payload, "what was acknowledged is what is read");
            Some(Written { log, offset, payload })
        }
        // Nothing can follow the largest offset.
        Err(AppendError::Stopped { .. }) if offset == u64::MAX => None,
        Err(error) => panic!("{log} takes nothing at {offset}: {error}"),
    }
}

fn check_reopened(files: &FaultFiles, written: &[Written]) {
    let opened = Journal::open(options(), Arc::new(files.clone()), Clock::system(), Arc::new(Idle));
    let opened = opened.unwrap_or_else(|error| panic!("opened once, and not again: {error}"));
    for Written { log, offset, payload } in written {
        let read = opened.journal().read(*log, *offset..u64::MAX, READ_BYTES_MAX);
        let read = read.unwrap_or_else(|error| panic!("acknowledged, and gone after a restart: {error}"));
        assert_eq!(read.pieces.concat(), *payload, "{log} at {offset}");
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}")).block_on(future)
}
