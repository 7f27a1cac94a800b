//! Files of dead segments that are written again: what they held before never comes back, whenever the power fails.

use annals_journal::{AppendError, FaultFiles, Files, Group, Journal, LogId, OpenMode, verify};

use crate::rewrite::eventually;
use crate::world::{append, one, read_all, start};

const ENTRY_BYTES: usize = 60_000;
/// Entries that are kept: less than a segment has room for.
const KEPT: u64 = 10;

/// Whether a segment was made of the file of another: see `docs/format.md`.
fn is_reused(bytes: &[u8]) -> bool {
    bytes.starts_with(b"AnSegmnt") && bytes[14] == 1
}

/// Files may be gone once one looks into them: the upkeep goes on.
fn reused(files: &FaultFiles) -> Vec<String> {
    let names = files.list().unwrap().into_iter();
    names
        .filter(|name| name.ends_with(".segment") && files.bytes(name).is_some_and(|bytes| is_reused(&bytes)))
        .collect()
}

/// Where the payload of an entry is in a file.
fn place_of(offset: u64, bytes: &[u8]) -> Option<usize> {
    let text = format!("1/{offset}/");
    bytes.windows(text.len()).rposition(|window| window == text.as_bytes())
}

fn retired(files: &FaultFiles) -> Vec<String> {
    let mut names = files.list().unwrap();
    names.retain(|name| name.ends_with(".retired"));
    names
}

/// What was acknowledged: the entries `from..to`.
#[derive(Clone, Copy, Default, Debug)]
struct Truth {
    from: u64,
    to: u64,
}

/// Appends and trims `count` times. What happens to an operation that fails is open.
fn work(journal: &Journal, truth: &mut Truth, count: u64) -> Result<(), AppendError> {
    for _ in 0..count {
        append(journal, one(1, truth.to, ENTRY_BYTES))?;
        truth.to += 1;
        let from = truth.to.saturating_sub(KEPT);
        if from > truth.from && from.is_multiple_of(5) {
            let mut trim = Group::new();
            trim.trim(LogId(1), from);
            append(journal, trim)?;
            truth.from = from;
        }
    }
    Ok(())
}

/// Works until the segment that is written is one that was another before, and holds entries.
fn work_in_reused(files: &FaultFiles, journal: &Journal, truth: &mut Truth) -> String {
    for _ in 0..12_000 {
        work(journal, truth, 1).unwrap();
        let written =
            |name: &String| files.bytes(name).is_some_and(|bytes| place_of(truth.to - 1, &bytes).is_some());
        if let Some(name) = reused(files).into_iter().find(written) {
            return name;
        }
        // So that the upkeep gets its turn.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("no file was written again: {:?}", files.list().unwrap());
}

fn check(files: &FaultFiles, truth: Truth, context: &str) {
    let report = verify(files, |_, _| {}).unwrap();
    assert!(report.damage.is_empty(), "{context}: {report:?}");
    let left = retired(files);
    let journal = start(files);
    let found = read_all(&journal, 1);
    assert!(found.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{context}: {found:?}");
    // The operation that failed may have happened: one entry more, or five less.
    let (first, last) = (found.first().copied().unwrap_or(0), found.last().map_or(0, |last| last + 1));
    assert!(first == truth.from || first == truth.from + 5, "{context}: {truth:?}, first {first}");
    assert!(last == truth.to || last == truth.to + 1, "{context}: {truth:?}, last {last}");
    append(&journal, one(1, last, 100)).unwrap();
    let still = retired(files);
    assert!(!left.iter().any(|name| still.contains(name)), "{context}: {still:?}");
}

#[test]
fn what_a_file_held_before_is_not_there_after_a_kill_or_a_power_failure() {
    let files = FaultFiles::new();
    let (journal, mut truth) = (start(&files), Truth::default());
    work_in_reused(&files, &journal, &mut truth);
    // A footer that is being written would be a notice.
    eventually("sealed", || journal.extents(LogId(1)).iter().rev().skip(1).all(|extent| extent.sealed));
    let killed = files.kill();
    let report = verify(&killed, |_, _| {}).unwrap();
    assert!(report.cut.is_none() && report.notices.is_empty(), "{report:?}");
    check(&killed, truth, "killed");
    check(&files.crash_keeping_only_synced(), truth, "only what was synced");
    for seed in 0..50 {
        check(&files.crash(seed), truth, &format!("seed {seed}"));
    }
    journal.close();
    check(&files, truth, "closed");
}

#[test]
fn the_power_may_fail_at_any_step() {
    let files = FaultFiles::new();
    let (journal, mut truth) = (start(&files), Truth::default());
    work_in_reused(&files, &journal, &mut truth);
    journal.close();
    for limit in 1..120 {
        let files = files.kill();
        let (journal, mut truth) = (start(&files), truth);
        files.stop_after(files.operations() + limit * 2);
        let ended = (0..60).find_map(|_| work(&journal, &mut truth, 1).err());
        drop(journal);
        for seed in 0..3 {
            check(&files.crash(seed), truth, &format!("after {limit}, seed {seed}: {ended:?}"));
        }
    }
}

#[test]
fn a_torn_write_is_told_from_what_was_left() {
    let files = FaultFiles::new();
    let (journal, mut truth) = (start(&files), Truth::default());
    let name = work_in_reused(&files, &journal, &mut truth);
    let torn = files.kill();
    drop(journal);
    // Of the last frame only the fixed header has reached the disk.
    let at = place_of(truth.to - 1, &torn.bytes(&name).unwrap()).unwrap();
    let file = torn.open(&name, OpenMode::Write).unwrap();
    file.write_at(at as u64 - 10, &[0x55; 200]).unwrap();
    // Nor has a marker behind it, which a test that was slow would find there.
    file.write_at((at + ENTRY_BYTES).next_multiple_of(4096) as u64, &[0; 4096]).unwrap();
    file.sync_data().unwrap();
    let report = verify(&torn, |_, _| {}).unwrap();
    let cut = report.cut.as_ref().expect("a cut");
    assert!(report.damage.is_empty() && cut.file == name, "{report:?}");
    assert_eq!(read_all(&start(&torn), 1).last(), Some(&(truth.to - 2)));
}

#[test]
fn a_file_that_somebody_may_read_is_not_written_again() {
    let files = FaultFiles::new();
    let (journal, mut truth) = (start(&files), Truth::default());
    work(&journal, &mut truth, 8).unwrap();
    let plan = journal.plan_read(LogId(1), 0..u64::MAX, 1 << 20).unwrap();
    let names = files.list().unwrap();
    // Everything that the plan is about dies; what it would read must stay as it is.
    for _ in 0..8 {
        work(&journal, &mut truth, 20).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    eventually("the first segment is gone", || {
        !names.iter().all(|name| files.list().unwrap().contains(name))
    });
    let read = journal.read_planned(&plan);
    assert!(read.is_ok(), "{read:?}");
}

#[test]
fn a_file_that_was_longer_has_nothing_of_it_where_an_index_would_end() {
    let files = FaultFiles::new();
    let journal = start(&files);
    // Its segment is three times as large as usual.
    append(&journal, one(1, 0, 3 << 20)).unwrap();
    let mut trim = Group::new();
    trim.trim(LogId(1), 1);
    append(&journal, trim).unwrap();
    eventually("written again", || {
        journal.roll();
        append(&journal, one(2, journal.log(LogId(2)).map_or(0, |log| log.offsets.end), 100)).unwrap();
        !reused(&files).is_empty()
    });
    for name in reused(&files) {
        let bytes = files.bytes(&name).unwrap();
        let end = &bytes[bytes.len() - 4096..];
        assert!(end.iter().all(|&byte| byte == 0), "{name} ends in what it held before");
    }
}
