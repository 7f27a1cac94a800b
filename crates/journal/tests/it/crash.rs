//! Crashes: what was acknowledged is there, groups are whole, whatever happened to unsynced writes.
//!
//! `ANNALS_TEST_SEEDS` sets how many seeds of random operations are tried.

use std::collections::HashMap;

use annals_journal::{FaultFiles, Group, Journal, LogId};

use crate::world::{append, one, payload, read_all, start};

/// What the world must still hold.
#[derive(Default, Clone)]
struct Truth {
    /// The next offset of each log, as far as acknowledged.
    ends: HashMap<u64, u64>,
    starts: HashMap<u64, u64>,
    /// Groups as (log, offset) pairs, in order.
    groups: Vec<Vec<(u64, u64)>>,
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Appends random groups until one fails; gives what was acknowledged, and the group whose fate is open.
fn work(journal: &Journal, dice: &mut Dice, truth: &mut Truth, steps: u64) -> Option<Vec<(u64, u64)>> {
    for _ in 0..steps {
        let mut group = Group::new();
        let mut members = Vec::new();
        let mut next: HashMap<u64, u64> = HashMap::new();
        for _ in 0..=dice.below(4) {
            let log = 1 + dice.below(5);
            let offset = *next.entry(log).or_insert_with(|| truth.ends.get(&log).copied().unwrap_or(0));
            let len = match dice.below(20) {
                0 => 100_000 + dice.below(200_000),
                1..5 => 4000 + dice.below(200),
                _ => dice.below(600),
            };
            group.push(LogId(log), offset, 1, 0, payload(LogId(log), offset, len as usize));
            members.push((log, offset));
            next.insert(log, offset + 1);
        }
        let trim = (dice.below(15) == 0).then(|| 1 + dice.below(5));
        let trim = trim.and_then(|log| Some((log, truth.ends.get(&log)? / 2)));
        if let Some((log, start)) = trim {
            group.trim(LogId(log), start);
        }
        if append(journal, group).is_err() {
            return Some(members);
        }
        truth.ends.extend(next);
        if let Some((log, start)) = trim {
            let known = truth.starts.entry(log).or_default();
            *known = start.max(*known);
        }
        truth.groups.push(members);
    }
    None
}

/// Checks a recovered journal against the truth and moves the truth to what was found.
fn check(journal: &Journal, truth: &mut Truth, open_fate: Option<&[(u64, u64)]>, context: &str) {
    let mut found = HashMap::new();
    for log in 1..=5_u64 {
        let offsets = read_all(journal, log);
        let start = journal.log(LogId(log)).map_or(0, |facts| facts.offsets.start);
        let end = journal.log(LogId(log)).map_or(0, |facts| facts.offsets.end);
        let acknowledged = truth.ends.get(&log).copied().unwrap_or(0);
        assert!(end >= acknowledged, "{context}: log {log} ends at {end}, acknowledged were {acknowledged}");
        assert_eq!(offsets, (start..end).collect::<Vec<_>>(), "{context}: log {log}");
        assert!(start >= truth.starts.get(&log).copied().unwrap_or(0), "{context}: a trim was undone");
        found.insert(log, end);
    }
    // The one group whose answer never came is there whole or not at all, and nothing else is.
    let members = open_fate.unwrap_or_default();
    let present = members.iter().filter(|(log, offset)| found[log] > *offset).count();
    assert!(present == 0 || present == members.len(), "{context}: half a group");
    for (log, end) in found {
        let more = members.iter().filter(|(member, _)| *member == log).count() as u64;
        let acknowledged = truth.ends.get(&log).copied().unwrap_or(0);
        assert!(end <= acknowledged + more, "{context}: log {log} holds what nobody wrote");
        truth.ends.insert(log, end);
    }
}

fn seeds() -> u64 {
    std::env::var("ANNALS_TEST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

#[test]
fn random_operations_survive_random_power_failures() {
    let mut acknowledged = 0;
    for seed in 0..seeds() {
        let mut dice = Dice(seed);
        let mut files = FaultFiles::new();
        let mut truth = Truth::default();
        for life in 0..3 {
            let context = format!("seed {seed}, life {life}");
            files.stop_after(files.operations() + 3 + dice.below(60));
            let opened = Journal::open(
                crate::world::small(),
                std::sync::Arc::new(files.clone()),
                annals_clock::Clock::system(),
                std::sync::Arc::new(annals_journal::Idle),
            );
            // The power may go during recovery: then the next life recovers.
            let fate = opened.ok().and_then(|opened| {
                let journal = opened.start(std::sync::Arc::new(annals_journal::Idle)).unwrap();
                work(&journal, &mut dice, &mut truth, 40)
            });
            files = files.crash(dice.below(1 << 30));
            let journal = start(&files);
            check(&journal, &mut truth, fate.as_deref(), &context);
            journal.close();
        }
        acknowledged += truth.groups.len();
    }
    println!("figure: seeds={}", seeds());
    println!("figure: groups acknowledged={acknowledged}");
}

#[test]
fn every_write_boundary_of_a_small_workload_can_be_the_last() {
    let workload = |files: &FaultFiles, truth: &mut Truth| {
        let opened = Journal::open(
            crate::world::small(),
            std::sync::Arc::new(files.clone()),
            annals_clock::Clock::system(),
            std::sync::Arc::new(annals_journal::Idle),
        );
        let journal = opened.ok()?.start(std::sync::Arc::new(annals_journal::Idle)).unwrap();
        work(&journal, &mut Dice(7), truth, 30)
    };
    let whole = FaultFiles::new();
    workload(&whole, &mut Truth::default());
    for boundary in 0..whole.operations() {
        for torn in 0..4 {
            let files = FaultFiles::new();
            files.stop_after(boundary);
            let mut truth = Truth::default();
            let fate = workload(&files, &mut truth);
            let files = files.crash(torn);
            let journal = start(&files);
            check(&journal, &mut truth, fate.as_deref(), &format!("boundary {boundary}, tear {torn}"));
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_wrote() {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..50 {
        append(&journal, one(1, offset, 5000)).unwrap();
    }
    let journal = start(&files.kill());
    assert_eq!(read_all(&journal, 1).len(), 50);
}

#[test]
fn a_torn_index_does_not_take_the_next_segment_with_it() {
    for step in 0..16 {
        let files = FaultFiles::new();
        let journal = start(&files);
        append(&journal, one(1, 0, 100)).unwrap();
        journal.roll();
        // The power fails while the first segment is sealed and the second has a single group.
        files.stop_after(files.operations() + step);
        let acknowledged = 1 + u64::from(append(&journal, one(1, 1, 100)).is_ok());
        std::thread::sleep(std::time::Duration::from_millis(20));
        for seed in 0..50 {
            let found = read_all(&start(&files.crash(seed)), 1).len() as u64;
            assert!(found >= acknowledged, "step {step}, seed {seed}: {found} of {acknowledged}");
        }
    }
}
