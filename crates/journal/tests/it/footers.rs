//! Footers that are lost: everything is found again by reading the frames, once, and they are written anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_clock::Clock;
use annals_journal::{EntryHeader, FaultFiles, Files, Idle, Journal, LogId, OpenMode, Replay, verify};

use crate::world::{append, one, read_all, small, start};

const LOGS: u64 = 3;
const ENTRIES: u64 = 40;

/// Counts what it is shown; the summary of a log is the number of its entries.
#[derive(Default)]
struct Counts {
    of: BTreeMap<LogId, u64>,
    shown: u64,
    /// Logs are only followed if this is set.
    wanted: bool,
}

impl Replay for Counts {
    fn head_len(&self) -> usize {
        if self.wanted { 6 } else { 0 }
    }

    fn start(&mut self, log: LogId, at: u64, summary: Option<&[u8]>) -> bool {
        let count = summary.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        assert_eq!(count, at, "one record an entry");
        self.of.insert(log, count);
        true
    }

    fn apply(&mut self, header: &EntryHeader, head: &[u8]) {
        let wanted = format!("{}/{}/.", header.log.0, header.base_offset);
        assert!(wanted.starts_with(std::str::from_utf8(&head[..4]).unwrap()), "{wanted}: {head:?}");
        assert_eq!(self.of[&header.log], header.base_offset, "{}: in order, none left out", header.log);
        *self.of.get_mut(&header.log).unwrap() += 1;
        self.shown += 1;
    }

    fn summary(&mut self, log: LogId) -> Option<Vec<u8>> {
        Some(self.of[&log].to_le_bytes().into())
    }

    fn forget(&mut self, log: LogId) {
        self.of.remove(&log).unwrap();
    }
}

/// Several segments with entries of several logs.
fn several_segments() -> FaultFiles {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..ENTRIES {
        for log in 1..=LOGS {
            append(&journal, one(log, offset, 40_000)).unwrap();
        }
    }
    journal.close();
    files
}

fn segments(files: &FaultFiles) -> Vec<String> {
    let mut names: Vec<_> =
        files.list().unwrap().into_iter().filter(|name| name.ends_with(".segment")).collect();
    names.sort();
    names
}

/// The trailer says where the frames end: see `docs/format.md`.
fn strip(files: &FaultFiles, names: &[String]) {
    for name in names {
        let bytes = files.bytes(name).unwrap();
        let trailer = &bytes[bytes.len() - 80..];
        assert_eq!(&trailer[..8], b"AnFooter");
        let data_end = u64::from_le_bytes(trailer[24..32].try_into().unwrap());
        let file = files.open(name, OpenMode::Write).unwrap();
        file.set_len(data_end).unwrap();
        file.sync_data().unwrap();
    }
}

fn replay(files: &FaultFiles, counts: &mut Counts) -> Journal {
    let clock = Clock::system();
    let opened = Journal::open_replaying(small(), Arc::new(files.clone()), clock, Arc::new(Idle), counts);
    opened.unwrap().start(Arc::new(Idle)).unwrap()
}

fn assert_whole(journal: &Journal) {
    for log in 1..=LOGS {
        assert_eq!(read_all(journal, log), (0..ENTRIES).collect::<Vec<_>>());
    }
}

#[test]
fn without_footers_everything_is_found_and_shown_once() {
    let files = several_segments();
    let names = segments(&files);
    assert!(names.len() >= 4, "{names:?}");
    strip(&files, &names);
    let mut counts = Counts { wanted: true, ..Counts::default() };
    let journal = replay(&files, &mut counts);
    assert_whole(&journal);
    assert_eq!(counts.shown, LOGS * ENTRIES);
    assert!(journal.damage().is_empty(), "{:?}", journal.damage());
    // All but the last segment have their footers back before the journal starts, with what the owner said.
    let after = files.kill();
    let report = verify(&after, |_, _| {}).unwrap();
    assert!(report.segments.iter().rev().skip(1).all(|segment| segment.sealed), "{:?}", report.segments);
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    journal.close();
}

#[test]
fn summaries_written_anew_are_given_back() {
    let files = several_segments();
    let names = segments(&files);
    strip(&files, &names);
    drop(replay(&files, &mut Counts { wanted: true, ..Counts::default() }));
    // The last segment loses its footer once more: its entries are shown from where the summaries end.
    strip(&files, &names[names.len() - 1..]);
    let mut counts = Counts { wanted: true, ..Counts::default() };
    assert_whole(&replay(&files, &mut counts));
    assert!(counts.shown > 0 && counts.shown < LOGS * ENTRIES, "{} shown", counts.shown);
    assert!(counts.of.values().all(|&count| count == ENTRIES), "{:?}", counts.of);
}

#[test]
fn a_log_whose_state_is_unknown_is_not_shown() {
    let files = several_segments();
    let names = segments(&files);
    // The footers that stay have no summaries: `Idle` gave none.
    strip(&files, &names[1..2]);
    let mut counts = Counts { wanted: true, ..Counts::default() };
    assert_whole(&replay(&files, &mut counts));
    assert_eq!((counts.shown, counts.of.len()), (0, 0));
}

#[test]
fn what_was_shown_is_forgotten_when_a_footer_hides_what_follows() {
    let files = several_segments();
    let names = segments(&files);
    strip(&files, &names[..2]);
    let mut counts = Counts { wanted: true, ..Counts::default() };
    assert_whole(&replay(&files, &mut counts));
    assert!(counts.shown > 0);
    assert!(counts.of.is_empty(), "{:?}", counts.of);
}

#[test]
fn power_failures_while_footers_are_written_again_lose_nothing() {
    let files = several_segments();
    strip(&files, &segments(&files));
    for step in 0..40 {
        for seed in 0..3 {
            let files = files.crash_keeping_only_synced();
            files.stop_after(files.operations() + step);
            let opened = Journal::open(small(), Arc::new(files.clone()), Clock::system(), Arc::new(Idle));
            drop(opened);
            let files = files.crash(step * 3 + seed);
            let journal = start(&files);
            assert_whole(&journal);
            assert!(journal.damage().iter().all(|damage| !damage.data_lost), "{:?}", journal.damage());
        }
    }
}

#[test]
fn a_full_disk_costs_only_the_footers() {
    let files = several_segments();
    strip(&files, &segments(&files));
    files.set_capacity(Some(0));
    let mut counts = Counts { wanted: true, ..Counts::default() };
    let clock = Clock::system();
    let opened =
        Journal::open_replaying(small(), Arc::new(files.clone()), clock, Arc::new(Idle), &mut counts)
            .unwrap();
    assert_eq!(counts.shown, LOGS * ENTRIES);
    assert_whole(opened.journal());
}
