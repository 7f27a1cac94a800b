//! Rewriting: space returns, what is kept stays readable, and a crash in the middle changes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_clock::Clock;
use annals_journal::{
    EntryHeader, FaultFiles, Files, Group, Idle, Journal, Keep, LogId, Machine, Payload, Sequence, verify,
};
use bytes::Bytes;

use crate::world::{append, block_on, one, open, payload, read_all, small, start};

fn segment_bytes(files: &FaultFiles) -> usize {
    let names = files.list().unwrap().into_iter().filter(|name| name.ends_with(".segment"));
    names.filter_map(|name| files.bytes(&name)).map(|bytes| bytes.len()).sum()
}

#[expect(clippy::disallowed_methods, reason = "a test that waits for a background thread")]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(120), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Keeps entries at even offsets of log 1, and half of the bytes of log 2.
pub(crate) struct Evens;

impl Machine for Evens {
    fn apply(&self, _: &EntryHeader, _: &Payload, _: Sequence) {}

    fn is_secret(&self, log: LogId) -> bool {
        log == LogId(1)
    }

    fn summary(&self, log: LogId) -> Option<Vec<u8>> {
        Some(format!("summary of {log}").into_bytes())
    }

    fn keep(&self, header: &EntryHeader, payload: &Bytes) -> Keep {
        match header.log {
            LogId(1) if header.base_offset % 2 == 1 => Keep::Drop,
            LogId(2) => Keep::Replace { payload: payload.slice(..payload.len() / 2), timestamp_ms: 6 },
            _ => Keep::All,
        }
    }
}

#[test]
fn a_wish_for_compaction_is_granted() {
    let files = FaultFiles::new();
    let journal = open(&files).start(Arc::new(Evens)).unwrap();
    for offset in 0..200 {
        let mut group = Group::new();
        for log in 1..4 {
            group.push(LogId(log), offset, 1, 7, payload(LogId(log), offset, 2000));
        }
        append(&journal, group).unwrap();
    }
    // A wish to roll is ignored as long as there is no spare.
    eventually("sealed", || {
        journal.roll();
        journal.extents(LogId(1)).iter().all(|extent| extent.sealed)
    });
    block_on(journal.rewrite(LogId(1), 200)).unwrap();
    let check = |journal: &Journal| {
        let expected: Vec<u64> = (0..200).filter(|offset| offset % 2 == 0 || *offset == 199).collect();
        assert_eq!(read_all(journal, 1), expected, "the last stays, since it tells where the log ends");
        assert_eq!(read_all(journal, 2).len(), 200);
        assert_eq!(journal.log(LogId(2)).unwrap().bytes, 200 * 1000);
        assert_eq!(journal.log(LogId(3)).unwrap().bytes, 200 * 2000);
        assert_eq!(journal.find_timestamp(LogId(1), 7, 3).unwrap(), Some(4));
        assert_eq!(
            journal.find_max_timestamp(LogId(2), 0).unwrap(),
            Some((0, 6)),
            "as what it was replaced by says"
        );
        let large = journal.read(LogId(3), 0..u64::MAX, 400_000).unwrap();
        assert!(large.pieces.len() <= 3, "entries lie together: {} pieces", large.pieces.len());
        assert_eq!(journal.summary(LogId(3)), Some(("summary of log 3".into(), 200)));
    };
    check(&journal);
    journal.close();
    check(&start(&files));
    assert!(verify(&files, |_, _| {}).unwrap().damage.is_empty());
}

#[test]
fn trimmed_space_returns_also_beside_a_log_that_stays() {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..600 {
        let mut group = Group::new();
        group.push(LogId(1), offset, 1, 0, payload(LogId(1), offset, 10_000));
        group.push(LogId(2), offset, 1, 0, payload(LogId(2), offset, 100));
        append(&journal, group).unwrap();
    }
    assert!(segment_bytes(&files) > 6_000_000);
    let mut trim = Group::new();
    trim.trim(LogId(1), 600);
    append(&journal, trim).unwrap();
    journal.roll();
    eventually("space returned", || segment_bytes(&files) < 3_000_000);
    assert_eq!(read_all(&journal, 2).len(), 600);
    journal.close();
    let journal = start(&files);
    assert_eq!(read_all(&journal, 2).len(), 600);
    assert_eq!(journal.log(LogId(1)).unwrap().offsets, 600..600);
}

#[test]
fn many_small_segments_become_few() {
    let files = FaultFiles::new();
    for life in 0..40 {
        let journal = start(&files);
        append(&journal, one(1, life, 100)).unwrap();
        journal.close();
    }
    let journal = start(&files);
    let count = || files.list().unwrap().iter().filter(|name| name.ends_with(".segment")).count();
    eventually("merged", || count() < 15);
    assert_eq!(read_all(&journal, 1).len(), 40);
}

/// Lives of a process that each leave one small segment that stays, and one in which everything dies, until the power goes.
/// Returns how many entries of log 1 were acknowledged.
fn short_lives(files: &FaultFiles, lives: u64) -> u64 {
    for life in 0..lives {
        let dead = |log: u64| {
            let mut trim = Group::new();
            trim.trim(LogId(log), life + 1);
            trim
        };
        for groups in [vec![one(1, life, 100)], vec![one(2, life, 100), dead(2)]] {
            let opened = Journal::open(small(), Arc::new(files.clone()), Clock::system(), Arc::new(Idle));
            let Ok(opened) = opened else { return life };
            let Ok(journal) = opened.start(Arc::new(Idle)) else { return life };
            let is_kept = groups.len() == 1;
            let appended = groups.into_iter().all(|group| append(&journal, group).is_ok());
            journal.close();
            if !appended {
                return if is_kept { life } else { life + 1 };
            }
        }
    }
    lives
}

#[test]
fn small_segments_become_few_where_others_between_them_are_gone() {
    let files = FaultFiles::new();
    short_lives(&files, 40);
    let journal = start(&files);
    let count = || files.list().unwrap().iter().filter(|name| name.ends_with(".segment")).count();
    eventually("merged", || count() < 15);
    assert_eq!(read_all(&journal, 1).len(), 40);
}

#[test]
fn a_crash_while_small_segments_become_few_loses_nothing() {
    let whole = FaultFiles::new();
    short_lives(&whole, 14);
    let steps = whole.operations();
    for step in (0..steps).step_by(usize::try_from(steps / 40).unwrap()) {
        let files = FaultFiles::new();
        files.stop_after(step);
        let acknowledged = short_lives(&files, 14);
        for (name, files) in [("synced", files.crash_keeping_only_synced()), ("torn", files.crash(step))] {
            let journal = start(&files);
            let kept = read_all(&journal, 1);
            let context = format!("step {step}, {name}: {kept:?}");
            let expected: Vec<u64> = (0..kept.len() as u64).collect();
            assert_eq!(kept, expected, "{context}");
            assert!((acknowledged..=acknowledged + 1).contains(&(kept.len() as u64)), "{context}");
            assert!(journal.damage().is_empty(), "{context}: {:?}", journal.damage());
        }
    }
}

#[test]
fn a_deleted_log_does_not_come_back() {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..100 {
        append(&journal, one(1, offset, 30_000)).unwrap();
        append(&journal, one(2, offset, 10)).unwrap();
    }
    let mut delete = Group::new();
    delete.delete(LogId(1));
    append(&journal, delete).unwrap();
    journal.roll();
    eventually("space returned", || segment_bytes(&files) < 2_200_000);
    for _ in 0..3 {
        let journal = start(&files.kill());
        assert!(journal.log(LogId(1)).is_none());
        assert_eq!(read_all(&journal, 2).len(), 100);
    }
}

/// A workload in which rewrites happen, until the power goes.
fn churn(files: &FaultFiles, rounds: u64) -> (u64, u64) {
    let opened = Journal::open(small(), Arc::new(files.clone()), Clock::system(), Arc::new(Idle));
    let Ok(opened) = opened else { return (0, 0) };
    let journal = opened.start(Arc::new(Idle)).unwrap();
    let (mut acknowledged, mut trimmed) = (0, 0);
    for offset in 0..rounds {
        let mut group = Group::new();
        group.push(LogId(1), offset, 1, 0, payload(LogId(1), offset, 30_000));
        group.push(LogId(2), offset, 1, 0, payload(LogId(2), offset, 300));
        if append(&journal, group).is_err() {
            break;
        }
        acknowledged = offset + 1;
        if offset % 10 == 9 {
            let mut trim = Group::new();
            trim.trim(LogId(1), offset - 1);
            if append(&journal, trim).is_err() {
                break;
            }
            trimmed = offset - 1;
            journal.roll();
        }
    }
    (acknowledged, trimmed)
}

#[test]
fn a_crash_at_any_step_of_a_rewrite_loses_nothing() {
    let whole = FaultFiles::new();
    churn(&whole, 60);
    let steps = whole.operations();
    for step in (0..steps + 20).step_by(2) {
        let files = FaultFiles::new();
        files.stop_after(step);
        let (acknowledged, trimmed) = churn(&files, 60);
        for (name, files) in [("synced", files.crash_keeping_only_synced()), ("torn", files.crash(step))] {
            let journal = start(&files);
            let context = format!("step {step}, {name}");
            let small = journal.log(LogId(2)).map_or(0..0, |facts| facts.offsets);
            assert!(small.end >= acknowledged && small.end <= acknowledged + 1, "{context}: {small:?}");
            assert_eq!(read_all(&journal, 2).len() as u64, small.end, "{context}");
            let large = journal.log(LogId(1)).map_or(0..0, |facts| facts.offsets);
            assert_eq!(large.end, small.end, "{context}: half a group");
            assert!(large.start >= trimmed, "{context}: a trim was undone: {large:?}");
            assert_eq!(read_all(&journal, 1).len() as u64, large.end - large.start, "{context}");
            assert!(journal.damage().is_empty(), "{context}: {:?}", journal.damage());
        }
    }
}
