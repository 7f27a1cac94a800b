//! Bits that flip in files at rest: noticed, named, and everything else stays readable.

use std::sync::Arc;

use annals_clock::Clock;
use annals_journal::{FaultFiles, Files, Idle, Journal, LogId, OpenMode, ReadError, verify};

use crate::counting::CountingFiles;
use crate::rewrite::eventually;
use crate::world::{append, block_on, one, open, read_all, small, start};

fn segments(files: &FaultFiles) -> Vec<String> {
    let mut names: Vec<_> =
        files.list().unwrap().into_iter().filter(|name| name.ends_with(".segment")).collect();
    names.sort();
    names
}

/// Which of the offsets `0..end` of log 1 can be read, and whether anything was reported.
fn survey(journal: &Journal, end: u64) -> (Vec<u64>, bool) {
    let mut readable = Vec::new();
    for offset in 0..end {
        match journal.entries(LogId(1), offset, 1) {
            Ok(entries) if entries.first().is_some_and(|entry| entry.header.base_offset == offset) => {
                assert!(entries[0].payload.starts_with(format!("1/{offset}/").as_bytes()));
                readable.push(offset);
            }
            Ok(_) | Err(ReadError::OutOfRange { .. } | ReadError::Damaged(_)) => {}
            Err(error) => panic!("offset {offset}: {error}"),
        }
    }
    (readable, !journal.damage().is_empty())
}

fn flips(name: &str, files: &FaultFiles) -> Vec<u64> {
    let bits = files.bytes(name).unwrap().len() as u64 * 8;
    let step = (bits / 400).max(1);
    (0..400).map(|i| (i * step + i * 7919 % step) % bits).collect()
}

#[test]
fn a_flipped_bit_after_an_orderly_end_costs_at_most_one_entry() {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..40 {
        append(&journal, one(1, offset, 300)).unwrap();
    }
    journal.close();
    let report = verify(&files, |_, _| {}).unwrap();
    assert!(report.damage.is_empty() && report.cut.is_none(), "{report:?}");
    assert_eq!(report.logs[&LogId(1)].offsets, 0..40);
    let [name] = &segments(&files)[..] else { panic!("one segment") };
    for bit in flips(name, &files) {
        let damaged = files.kill();
        damaged.flip_bit(name, bit);
        let report = verify(&damaged, |_, _| {}).unwrap();
        assert!(!report.damage.is_empty() || report.cut.is_some(), "bit {bit}: verify is silent");
        let journal = start(&damaged);
        let (readable, _) = survey(&journal, 40);
        assert!(readable.len() >= 39, "bit {bit}: only {readable:?}");
        assert_eq!(journal.log(LogId(1)).unwrap().offsets, 0..40, "bit {bit}");
        if readable.len() < 40 {
            assert!(!journal.damage().is_empty(), "bit {bit}: silent");
        }
        append(&journal, one(1, 40, 10)).unwrap();
    }
}

#[test]
fn a_flipped_bit_in_a_segment_that_was_never_sealed_is_told_from_a_torn_end() {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..40 {
        append(&journal, one(1, offset, 300)).unwrap();
    }
    // The marker that follows a quiet moment proves that everything was durable.
    eventually("proven", || files.is_proven());
    let files = files.kill();
    let name = segments(&files)[0].clone();
    for bit in (4096 * 8..45 * 4096 * 8).step_by(1999) {
        let damaged = files.kill();
        damaged.flip_bit(&name, bit);
        let journal = start(&damaged);
        let (readable, reported) = survey(&journal, 40);
        assert!(readable.len() >= 39, "bit {bit}: only {readable:?}");
        assert!(readable.len() == 40 || reported, "bit {bit}: silent");
        assert_eq!(
            journal.log(LogId(1)).map_or(0, |facts| facts.offsets.end),
            40,
            "bit {bit}: the end moved"
        );
        drop(journal);
        // The damage stays where it is, also for the next start.
        let again = start(&damaged.kill());
        assert_eq!(survey(&again, 40).0, readable, "bit {bit}");
    }
}

/// Three whole groups and a fourth, each in a block of its own; nothing but the fourth says that the third was durable. The
/// third does not begin like a frame any more, and in the payload of the fourth a bit is wrong, as if it was torn.
fn torn_behind_damage() -> (FaultFiles, String) {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..4 {
        append(&journal, one(1, offset, 300)).unwrap();
    }
    let files = files.kill();
    let name = segments(&files)[0].clone();
    let file = files.open(&name, OpenMode::Write).unwrap();
    // Without the marker that may have been written by now.
    file.set_len(5 * 4096).unwrap();
    file.sync_data().unwrap();
    files.flip_bit(&name, 3 * 4096 * 8);
    files.flip_bit(&name, (4 * 4096 + 200) * 8);
    (files, name)
}

#[test]
fn what_is_torn_behind_damage_stays_out_and_takes_nothing_with_it() {
    let (files, name) = torn_behind_damage();
    let cut = verify(&files, |_, _| {}).unwrap().cut;
    let opened = open(&files);
    assert_eq!(opened.cut(), cut.as_ref());
    assert_eq!(opened.cut().map(|cut| (&cut.file, cut.position)), Some((&name, 4 * 4096)));
    let journal = opened.start(Arc::new(Idle)).unwrap();
    // They get the sequences of what was torn.
    for offset in 0..3 {
        append(&journal, one(2, offset, 300)).unwrap();
    }
    let files = files.kill();
    assert_eq!(verify(&files, |_, _| {}).unwrap().logs[&LogId(1)].offsets, 0..2);
    let journal = start(&files);
    assert_eq!((read_all(&journal, 1), read_all(&journal, 2)), (vec![0, 1], vec![0, 1, 2]));
    assert!(journal.damage().iter().any(|damage| damage.file == name), "{:?}", journal.damage());
}

#[test]
fn damage_before_a_torn_end_is_damage_at_every_start() {
    let (mut files, name) = torn_behind_damage();
    for life in 0..3 {
        let journal = start(&files);
        let damage = journal.damage();
        assert!(damage.iter().any(|damage| damage.file == name), "life {life}: {damage:?}");
        files = files.crash_keeping_only_synced();
        // What is damaged lies where it lay.
        let third = &files.bytes(&name).unwrap()[3 * 4096..];
        assert!(third.windows(4).any(|window| window == b"1/2/"), "life {life}");
    }
}

/// Forty entries in each of two logs, in a rewritten segment, and its name.
fn rewritten() -> (FaultFiles, String) {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..40 {
        append(&journal, one(1, offset, 300)).unwrap();
        append(&journal, one(2, offset, 300)).unwrap();
    }
    journal.roll();
    // In the rewritten segment the entries of a log lie side by side.
    let rewritten = |name: &String| !name.ends_with("-0000.segment");
    eventually("rewritten", || {
        // Until they are closed they are left alone.
        let _ = block_on(journal.rewrite(LogId(1), 40));
        segments(&files).iter().any(rewritten)
    });
    journal.close();
    let name = segments(&files).into_iter().find(rewritten).unwrap();
    (files, name)
}

#[test]
fn a_rewritten_segment_that_lost_its_end_is_damaged() {
    let (files, name) = rewritten();
    let files = files.kill();
    let at = files.bytes(&name).unwrap().windows(5).position(|window| window == b"2/0/.").unwrap() as u64;
    // Before the frame that holds log 2: what is left are whole frames.
    let file = files.open(&name, OpenMode::Write).unwrap();
    file.set_len(at / 4096 * 4096).unwrap();
    file.sync_data().unwrap();
    let damage = verify(&files, |_, _| {}).unwrap().damage;
    assert!(damage.iter().any(|damage| damage.file == name && damage.data_lost), "{damage:?}");
    for _ in 0..2 {
        let journal = start(&files);
        assert!(journal.damage().iter().any(|damage| damage.file == name && damage.data_lost));
        append(&journal, one(3, journal.log(LogId(3)).map_or(0, |log| log.offsets.end), 10)).unwrap();
        journal.close();
    }
}

#[test]
fn what_lies_before_a_damaged_entry_in_one_piece_is_read() {
    let (files, name) = rewritten();
    let bytes = files.bytes(&name).unwrap();
    let at = bytes.windows(5).position(|window| window == b"1/25/").unwrap();
    let files = files.kill();
    files.flip_bit(&name, at as u64 * 8);
    let journal = start(&files);
    let read = journal.read(LogId(1), 0..u64::MAX, 1 << 20).unwrap();
    assert_eq!((read.next_offset, read.bytes), (25, read.pieces.concat().len()));
    assert_eq!(journal.entries(LogId(1), 0, 1 << 20).unwrap().len(), 25);
    assert!(matches!(journal.read(LogId(1), 25..u64::MAX, 1 << 20), Err(ReadError::Damaged(_))));
    assert_eq!(journal.read(LogId(1), 26..u64::MAX, 1 << 20).unwrap().next_offset, 40);
    assert_eq!(survey(&journal, 40).0.len(), 39);
}

#[test]
fn entries_in_frames_of_their_own_are_read_together_up_to_a_damaged_one() {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..40 {
        append(&journal, one(1, offset, 300)).unwrap();
        append(&journal, one(2, offset, 300)).unwrap();
    }
    journal.close();
    let files = files.kill();
    let counting = CountingFiles::new(&files);
    // Not started: the upkeep reads too.
    let opened = Journal::open(small(), Arc::new(counting.clone()), Clock::system(), Arc::new(Idle)).unwrap();
    let journal = opened.journal();
    // Where they lie is in the footer.
    journal.entries(LogId(1), 0, 1).unwrap();
    let before = counting.reads();
    assert_eq!(read_all(journal, 1), (0..40).collect::<Vec<_>>());
    // Each lies in a block of its own beside one of the other log: 8 KiB, of which 48 KiB are read at once.
    assert!(counting.reads() - before <= 8, "{} reads for 40 entries", counting.reads() - before);
    drop(opened);

    let [name] = &segments(&files)[..] else { panic!("one segment") };
    let bytes = files.bytes(name).unwrap();
    let at = bytes.windows(5).position(|window| window == b"1/25/").unwrap();
    files.flip_bit(name, at as u64 * 8);
    let journal = start(&files);
    assert_eq!(journal.entries(LogId(1), 0, 1 << 20).unwrap().len(), 25);
    assert!(matches!(journal.entries(LogId(1), 25, 1 << 20), Err(ReadError::Damaged(_))));
    assert_eq!(journal.entries(LogId(1), 26, 1 << 20).unwrap().len(), 14);
    assert_eq!(survey(&journal, 40).0.len(), 39);
}
