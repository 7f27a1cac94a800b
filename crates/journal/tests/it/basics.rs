//! Appending, reading, trimming, restarting.

use std::sync::Arc;

use annals_clock::Clock;
use annals_journal::{DiskFiles, FaultFiles, Group, Idle, Journal, Limit, LogId, ReadError};

use crate::rewrite::eventually;
use crate::world::{append, one, open, payload, read_all, small, start};

#[test]
fn what_was_appended_is_read_back_before_and_after_a_restart() {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..100 {
        append(&journal, one(1, offset, 500)).unwrap();
    }
    assert_eq!(read_all(&journal, 1).len(), 100);
    journal.close();
    assert_eq!(read_all(&journal, 1).len(), 100, "a closed journal can be read");
    let journal = start(&files);
    assert_eq!(read_all(&journal, 1), (0..100).collect::<Vec<_>>());
    append(&journal, one(1, 100, 500)).unwrap();
    assert_eq!(read_all(&journal, 1).len(), 101);
}

#[test]
fn a_group_spans_logs_and_segments_roll() {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..400 {
        let mut group = Group::new();
        for log in 1..4 {
            group.push(LogId(log), offset, 1, 0, payload(LogId(log), offset, 4000));
        }
        append(&journal, group).unwrap();
    }
    for log in 1..4 {
        assert_eq!(read_all(&journal, log).len(), 400);
        assert!(journal.extents(LogId(log)).len() > 3, "several segments");
    }
    journal.close();
    let journal = start(&files);
    assert_eq!(read_all(&journal, 3).len(), 400);
}

#[test]
fn real_files_give_the_same() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let files = Arc::new(DiskFiles::open(directory.path()).unwrap());
        let opened = Journal::open(small(), files, Clock::system(), Arc::new(Idle)).unwrap();
        let journal = opened.start(Arc::new(Idle)).unwrap();
        for offset in round * 300..(round + 1) * 300 {
            append(&journal, one(1, offset, 3000)).unwrap();
        }
        assert_eq!(read_all(&journal, 1).len() as u64, (round + 1) * 300);
        if round == 0 {
            journal.close();
        } // Else it ends as a killed process would.
    }
}

#[test]
fn a_read_takes_what_fits_and_at_least_one_entry() {
    let journal = start(&FaultFiles::new());
    for offset in 0..10 {
        append(&journal, one(1, offset, 1000)).unwrap();
    }
    assert_eq!(journal.read(LogId(1), 0..u64::MAX, 3500).unwrap().next_offset, 3);
    assert_eq!(journal.read(LogId(1), 4..u64::MAX, 10).unwrap().next_offset, 5, "one, however large");
    let little = Limit { bytes: 999, first_always: false };
    assert_eq!(
        journal.read(LogId(1), 4..u64::MAX, little).unwrap().next_offset,
        4,
        "what fits, and nothing does"
    );
    assert_eq!(journal.read_cached(LogId(1), 4..u64::MAX, little).unwrap().unwrap().bytes, 0);
    let fitting = Limit { bytes: 2000, first_always: false };
    assert_eq!(journal.read(LogId(1), 4..u64::MAX, fitting).unwrap().next_offset, 6);
    assert_eq!(
        journal.read(LogId(1), 10..u64::MAX, 10).unwrap().bytes,
        0,
        "the end is a valid place to wait"
    );
    assert_eq!(
        journal.read(LogId(1), 2..4, 100_000).unwrap().next_offset,
        4,
        "nothing beyond what is asked for"
    );
    assert_eq!(journal.read_cached(LogId(1), 2..4, 100_000).unwrap().unwrap().next_offset, 4);
    assert_eq!(journal.read(LogId(1), 2..2, 100_000).unwrap().bytes, 0);
    assert!(matches!(journal.read(LogId(1), 11..u64::MAX, 10), Err(ReadError::OutOfRange { .. })));
    assert!(matches!(journal.read(LogId(2), 0..u64::MAX, 10), Err(ReadError::OutOfRange { .. })));
}

#[test]
fn an_offset_inside_an_entry_gives_that_entry() {
    let journal = start(&FaultFiles::new());
    let mut group = Group::new();
    group.push(LogId(1), 0, 10, 0, payload(LogId(1), 0, 20));
    group.push(LogId(1), 10, 10, 0, payload(LogId(1), 10, 20));
    append(&journal, group).unwrap();
    let entries = journal.entries(LogId(1), 15, 10).unwrap();
    assert_eq!(entries[0].header.base_offset, 10);
}

#[test]
fn trims_and_deletions_survive_a_restart() {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..600 {
        append(&journal, one(1, offset, 4000)).unwrap();
        append(&journal, one(2, offset, 400)).unwrap();
    }
    let mut group = Group::new();
    group.trim(LogId(1), 500);
    group.delete(LogId(2));
    append(&journal, group).unwrap();
    let check = |journal: &Journal| {
        assert_eq!(journal.log(LogId(1)).unwrap().offsets, 500..600);
        assert!(journal.log(LogId(2)).is_none());
        assert_eq!(read_all(journal, 1).len(), 100);
        assert!(matches!(journal.read(LogId(1), 499..u64::MAX, 10), Err(ReadError::OutOfRange { .. })));
    };
    check(&journal);
    journal.close();
    check(&start(&files));
}

#[test]
fn a_log_trimmed_to_its_end_keeps_its_next_offset() {
    let files = FaultFiles::new();
    let journal = start(&files);
    append(&journal, one(1, 0, 10)).unwrap();
    let mut group = Group::new();
    group.trim(LogId(1), 1);
    append(&journal, group).unwrap();
    journal.close();
    let journal = start(&files);
    assert_eq!(journal.log(LogId(1)).unwrap().offsets, 1..1);
    append(&journal, one(1, 1, 10)).unwrap();
}

#[test]
fn a_wrong_offset_is_a_bug_that_stops_writes_and_not_reads() {
    let journal = start(&FaultFiles::new());
    append(&journal, one(1, 0, 10)).unwrap();
    let error = append(&journal, one(1, 5, 10)).unwrap_err();
    assert!(error.to_string().contains("expected an entry at offset 1"), "{error}");
    assert!(append(&journal, one(2, 0, 10)).is_err());
    assert_eq!(read_all(&journal, 1), [0]);
}

#[test]
fn timestamps_find_the_first_entry_that_is_late_enough() {
    let files = FaultFiles::new();
    let journal = start(&files);
    for (offset, timestamp) in [10, 30, 20, 40].into_iter().enumerate() {
        let mut group = Group::new();
        group.push(LogId(1), offset as u64, 1, timestamp, payload(LogId(1), offset as u64, 10));
        append(&journal, group).unwrap();
    }
    let check = |journal: &Journal| {
        let find = |timestamp| journal.find_timestamp(LogId(1), timestamp, 0).unwrap();
        assert_eq!(
            [find(0), find(15), find(30), find(35), find(41)],
            [Some(0), Some(1), Some(1), Some(3), None]
        );
        assert_eq!(journal.find_max_timestamp(LogId(1), 0).unwrap(), Some((3, 40)));
    };
    check(&journal);
    journal.close();
    let journal = start(&files);
    check(&journal);
    append(&journal, one(1, 4, 10)).unwrap();
    let mut trim = Group::new();
    trim.trim(LogId(1), 2);
    append(&journal, trim).unwrap();
    let largest = |from| journal.find_max_timestamp(LogId(1), from).unwrap();
    assert_eq!((largest(0), largest(4), largest(5)), (Some((3, 40)), Some((4, 4)), None));
}

#[test]
fn the_largest_timestamp_is_none_of_an_entry_that_is_trimmed_away() {
    let files = FaultFiles::new();
    let journal = start(&files);
    let append_at = |offset, timestamp| {
        let mut group = Group::new();
        group.push(LogId(1), offset, 1, timestamp, payload(LogId(1), offset, 10));
        append(&journal, group).unwrap();
    };
    [(0, 90), (1, 30), (2, 20)].into_iter().for_each(|(offset, timestamp)| append_at(offset, timestamp));
    eventually("sealed", || {
        journal.roll();
        std::thread::sleep(std::time::Duration::from_millis(5));
        journal.extents(LogId(1)).iter().all(|extent| extent.sealed)
    });
    [(3, 30), (4, 25)].into_iter().for_each(|(offset, timestamp)| append_at(offset, timestamp));
    let mut trim = Group::new();
    trim.trim(LogId(1), 1);
    append(&journal, trim).unwrap();
    assert_eq!(journal.find_max_timestamp(LogId(1), 0).unwrap(), Some((1, 30)));
    assert_eq!(journal.find_max_timestamp(LogId(1), 2).unwrap(), Some((3, 30)));
}

#[test]
fn a_group_larger_than_a_segment_gets_one_of_its_size() {
    let files = FaultFiles::new();
    let journal = start(&files);
    append(&journal, one(1, 0, 10)).unwrap();
    append(&journal, one(1, 1, 5 << 20)).unwrap();
    append(&journal, one(1, 2, 10)).unwrap();
    assert_eq!(read_all(&journal, 1), [0, 1, 2]);
    journal.close();
    assert_eq!(read_all(&start(&files), 1), [0, 1, 2]);
}

#[test]
fn a_newer_format_is_refused_with_its_name() {
    let files = FaultFiles::new();
    drop(open(&files));
    let file = annals_journal::Files::open(&files, "FORMAT", annals_journal::OpenMode::Write).unwrap();
    file.write_at(0, b"annals-journal 9\n").unwrap();
    let opened = Journal::open(small(), Arc::new(files), Clock::system(), Arc::new(Idle));
    let error = opened.err().unwrap().to_string();
    assert!(error.contains("annals-journal 9"), "{error}");
}
