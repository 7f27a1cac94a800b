//! Bringing scattered entries together: nothing changes for readers but the number of reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_clock::Clock;
use annals_journal::{FaultFiles, Files, Group, Idle, Journal, LogId, Opened, verify};
use proptest::prelude::*;

use crate::counting::CountingFiles;
use crate::rewrite::eventually;
use crate::world::{append, open, payload, read_all, small, start};

/// More logs than four segments can hold a good share of each: they become one.
const LOGS: u64 = 40;

/// A journal with `rounds` groups of one entry for each log in each of `segments` segments, killed while it writes the
/// last. Nothing is brought together yet, since the batch might still have grown.
fn scattered(segments: u64, rounds: u64, len: usize) -> FaultFiles {
    let files = FaultFiles::new();
    let journal = start(&files);
    for segment in 0..segments {
        for round in 0..rounds {
            let offset = segment * rounds + round;
            let mut group = Group::new();
            for log in 1..=LOGS {
                group.push(LogId(log), offset, 1, offset as i64, payload(LogId(log), offset, len));
            }
            append(&journal, group).unwrap();
        }
        if segment + 1 < segments {
            journal.roll();
            eventually("sealed", || journal.extents(LogId(1)).iter().all(|extent| extent.sealed));
        }
    }
    files.kill()
}

fn segments(files: &FaultFiles) -> Vec<String> {
    let mut names = files.list().unwrap();
    names.retain(|name| name.ends_with(".segment"));
    names.sort();
    names
}

/// Whether the first four segments have become one.
fn is_clustered(files: &FaultFiles) -> bool {
    segments(files)[0] == "0000000001-0000000004-0001.segment"
}

/// Reads a log as a consumer does that is far behind. Gives the number of reads.
fn cold_scan(files: &FaultFiles, log: u64) -> (Vec<u8>, u64) {
    let counting = CountingFiles::new(files);
    let opened: Opened =
        Journal::open(small(), Arc::new(counting.clone()), Clock::system(), Arc::new(Idle)).unwrap();
    let (journal, before) = (opened.journal(), counting.reads());
    let end = journal.log(LogId(log)).unwrap().offsets.end;
    let (mut bytes, mut next) = (Vec::new(), 0);
    while next < end {
        let read = journal.read(LogId(log), next..u64::MAX, 1 << 20).unwrap();
        bytes.extend(read.pieces.concat());
        next = read.next_offset;
    }
    (bytes, counting.reads() - before)
}

#[test]
fn a_log_far_behind_takes_a_read_a_segment_instead_of_one_an_entry() {
    let files = scattered(4, 50, 400);
    let (before, reads_before) = cold_scan(&files, 7);
    let journal = start(&files);
    eventually("brought together", || is_clustered(&files));
    journal.close();
    let (after, reads_after) = cold_scan(&files, 7);
    assert!(before == after, "the same bytes");
    // One read for each of the 200 entries and one for the rows of each sealed segment; then one of each.
    assert_eq!((reads_before, reads_after), (203, 2));
    assert!(verify(&files, |_, _| {}).unwrap().damage.is_empty());
}

#[test]
fn each_byte_is_brought_together_once() {
    let files = scattered(4, 50, 400);
    let counting = CountingFiles::new(&files);
    for _ in 0..3 {
        let opened =
            Journal::open(small(), Arc::new(counting.clone()), Clock::system(), Arc::new(Idle)).unwrap();
        let journal = opened.start(Arc::new(Idle)).unwrap();
        eventually("brought together", || is_clustered(&files));
        std::thread::sleep(std::time::Duration::from_millis(200));
        journal.close();
    }
    assert_eq!(counting.rewrites(), 1);
}

#[test]
fn few_logs_and_large_entries_stay_where_they_are() {
    for (logs, len) in [(3, 400), (8, 40_000)] {
        let files = FaultFiles::new();
        let counting = CountingFiles::new(&files);
        let opened =
            Journal::open(small(), Arc::new(counting.clone()), Clock::system(), Arc::new(Idle)).unwrap();
        let journal = opened.start(Arc::new(Idle)).unwrap();
        // Large groups, so that padding is no reason.
        let offsets: Vec<u64> = (0..4_000_000 / (logs * len)).collect();
        for offsets in offsets.chunks((400_000 / (logs * len)) as usize) {
            let mut group = Group::new();
            for &offset in offsets {
                for log in 1..=logs {
                    group.push(LogId(log), offset, 1, 0, payload(LogId(log), offset, len as usize));
                }
            }
            append(&journal, group).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(counting.rewrites(), 0, "{logs} logs, entries of {len} bytes");
    }
}

#[test]
fn readers_notice_nothing_while_entries_are_brought_together() {
    let files = scattered(4, 150, 400);
    let journal = start(&files);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (journal, done) = (&journal, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    for log in (1 + reader..=LOGS).step_by(3) {
                        assert_eq!(read_all(journal, log), (0..600).collect::<Vec<_>>(), "log {log}");
                    }
                    std::thread::yield_now();
                }
            });
        }
        // Appends go on too, and reach the same logs.
        for offset in 600..620 {
            append(&journal, crate::world::one(LOGS + 1, offset - 600, 100)).unwrap();
        }
        eventually("brought together", || is_clustered(&files));
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(read_all(&journal, LOGS + 1).len(), 20);
    assert_eq!(read_all(&journal, 1).len(), 600);
}

#[test]
fn a_crash_at_any_step_of_bringing_together_loses_nothing() {
    let base = scattered(4, 4, 400);
    assert!(!is_clustered(&base));
    let whole = base.kill();
    let journal = start(&whole);
    eventually("brought together", || segments(&whole).len() <= 2 && is_clustered(&whole));
    journal.close();
    let steps = whole.operations();
    let mut saw = [false; 2];
    for step in 0..steps + 5 {
        let files = base.kill();
        files.stop_after(step);
        let opened = Journal::open(small(), Arc::new(files.clone()), Clock::system(), Arc::new(Idle));
        // The power may go during recovery.
        if let Ok(opened) = opened {
            let journal = opened.start(Arc::new(Idle)).unwrap();
            eventually("stopped", || files.operations() >= step || is_clustered(&files));
            drop(journal);
        }
        for (name, files) in [("synced", files.crash_keeping_only_synced()), ("torn", files.crash(step))] {
            let context = format!("step {step}, {name}");
            saw[usize::from(is_clustered(&files))] = true;
            let opened = open(&files);
            let journal = opened.journal();
            for log in 1..=LOGS {
                assert_eq!(read_all(journal, log), (0..16).collect::<Vec<_>>(), "{context}: log {log}");
            }
            assert!(
                journal.damage().iter().all(|damage| !damage.data_lost),
                "{context}: {:?}",
                journal.damage()
            );
        }
    }
    assert_eq!(saw, [true, true], "both sides of the step that counts were seen");
}

/// What may happen to a log in a group.
#[derive(Debug, Clone)]
enum Step {
    Append { log: u64, len: usize },
    Trim { log: u64, keep: u64 },
    Delete { log: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        400 => (1..=60_u64, 1..3000_usize).prop_map(|(log, len)| Step::Append { log, len }),
        8 => (1..=60_u64, 0..20_u64).prop_map(|(log, keep)| Step::Trim { log, keep }),
        1 => (1..=60_u64).prop_map(|log| Step::Delete { log }),
    ];
    proptest::collection::vec(step, 1500..3000)
}

/// The offsets of each log and the length of each entry.
type Model = BTreeMap<u64, (u64, Vec<usize>)>;

fn play(journal: &Journal, steps: &[Step]) -> Model {
    let mut model = Model::new();
    let mut deleted = Vec::new();
    for steps in steps.chunks(10) {
        let mut group = Group::new();
        for step in steps {
            match *step {
                Step::Append { log, len } if !deleted.contains(&log) => {
                    let (_, lens) = model.entry(log).or_default();
                    let offset = lens.len() as u64;
                    let payload = payload(LogId(log), offset, len);
                    lens.push(payload.len());
                    group.push(LogId(log), offset, 1, 0, payload);
                }
                Step::Trim { log, keep } if model.contains_key(&log) => {
                    let (start, lens) = model.get_mut(&log).unwrap();
                    *start = (lens.len() as u64).saturating_sub(keep).max(*start);
                    group.trim(LogId(log), *start);
                }
                Step::Delete { log } if model.remove(&log).is_some() => {
                    deleted.push(log);
                    group.delete(LogId(log));
                }
                _ => {}
            }
        }
        if !group.is_empty() {
            append(journal, group).unwrap();
        }
    }
    model
}

fn check(journal: &Journal, model: &Model) {
    let mut logs: Vec<u64> = journal.logs().into_iter().map(|log| log.0).collect();
    logs.sort_unstable();
    assert_eq!(logs, model.keys().copied().collect::<Vec<_>>());
    for (&log, (start, lens)) in model {
        let facts = journal.log(LogId(log)).unwrap();
        assert_eq!(facts.offsets, *start..lens.len() as u64, "log {log}");
        assert_eq!(read_all(journal, log), facts.offsets.clone().collect::<Vec<_>>(), "log {log}");
        let read = journal.read(LogId(log), *start..u64::MAX, usize::MAX).unwrap();
        assert_eq!(read.bytes, lens[*start as usize..].iter().sum::<usize>(), "log {log}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn every_log_reads_the_same_before_and_after(steps in steps()) {
        let files = FaultFiles::new();
        let counting = CountingFiles::new(&files);
        let opened =
            Journal::open(small(), Arc::new(counting.clone()), Clock::system(), Arc::new(Idle)).unwrap();
        let journal = opened.start(Arc::new(Idle)).unwrap();
        let model = play(&journal, &steps);
        check(&journal, &model);
        journal.close();
        let journal = start(&files);
        // Trims and small files may have led to a rewrite before.
        if segments(&files).len() > 4 {
            eventually("rewritten", || segments(&files).iter().any(|name| !name.contains("-0000.")));
        }
        check(&journal, &model);
        journal.close();
        check(&start(&files), &model);
    }
}

#[test]
fn a_plan_needs_no_disk_once_the_rows_of_its_segments_were_read_and_its_parts_come_to_all_of_it() {
    const LEN: usize = 1000;
    let files = scattered(3, 10, LEN);
    let counting = CountingFiles::new(&files);
    let opened = Journal::open(small(), Arc::new(counting.clone()), Clock::system(), Arc::new(Idle)).unwrap();
    let (journal, log) = (opened.journal(), LogId(7));
    assert!(journal.plan_cached(log, 5..u64::MAX, 1 << 20).is_none(), "nothing was read yet");
    let plan = || journal.plan_read(log, 5..u64::MAX, 1 << 20).unwrap();
    let planned = plan();
    let before = counting.reads();
    let cached = journal.plan_cached(log, 5..u64::MAX, 1 << 20).expect("known by now");
    assert_eq!(counting.reads(), before, "no disk");
    assert_eq!((cached.offset(), cached.next_offset(), cached.bytes()), (5, 30, planned.bytes()));
    assert!(journal.plan_cached(log, 31..99, 1 << 20).is_none(), "out of range");

    let expected = journal.read_planned(&planned).unwrap().pieces.concat();
    for (bytes_max, count) in [(1, 25), (LEN, 25), (2 * LEN, 13), (10 * LEN + 1, 3), (1 << 20, 1)] {
        let parts = plan().split(bytes_max);
        assert_eq!(parts.len(), count, "of at most {bytes_max}");
        let read = |part| journal.read_planned(part).unwrap().pieces.concat();
        assert_eq!(parts.iter().map(read).collect::<Vec<_>>().concat(), expected);
    }
}

#[test]
fn the_rows_of_a_segment_that_was_just_written_are_known() {
    let files = FaultFiles::new();
    let journal = start(&files);
    let log = LogId(7);
    let mut group = Group::new();
    group.push(log, 0, 1, 0, payload(log, 0, 1000));
    append(&journal, group).unwrap();
    journal.roll();
    eventually("sealed", || journal.extents(log).iter().all(|extent| extent.sealed));
    assert!(journal.plan_cached(log, 0..1, 1 << 20).is_some());
}
