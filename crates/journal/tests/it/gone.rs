//! What should be gone from the disk is, also where files could not be removed, and nothing of it comes back.

use std::sync::Arc;

use annals_journal::{FaultFiles, Files, Group, Journal, LogId};

use crate::rewrite::{Evens, eventually};
use crate::world::{append, block_on, one, open, read_all, start};

const ENTRY_BYTES: usize = 60_000;

fn delete(journal: &Journal, log: u64) {
    let mut group = Group::new();
    group.delete(LogId(log));
    append(journal, group).unwrap();
}

/// Closes the active segment, and waits until all that hold entries of `log` are sealed.
fn seal(journal: &Journal, log: u64) {
    eventually("sealed", || {
        journal.roll();
        std::thread::sleep(std::time::Duration::from_millis(5));
        journal.extents(LogId(log)).iter().all(|extent| extent.sealed)
    });
}

fn segments(files: &FaultFiles) -> Vec<String> {
    let mut names = files.list().unwrap();
    names.retain(|name| name.ends_with(".segment"));
    names.sort();
    names
}

/// Which files hold these bytes, whatever their names.
fn files_with(files: &FaultFiles, text: &str) -> Vec<String> {
    let holds = |name: &String| {
        let bytes = files.bytes(name).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    files.list().unwrap().into_iter().filter(holds).collect()
}

#[test]
fn what_a_rewrite_leaves_out_is_in_no_file_any_more() {
    let files = FaultFiles::new();
    let journal = open(&files).start(Arc::new(Evens)).unwrap();
    for offset in 0..34 {
        append(&journal, one(1, offset, ENTRY_BYTES)).unwrap();
    }
    seal(&journal, 1);
    assert_eq!(files_with(&files, "1/3/").len(), 1);
    block_on(journal.rewrite(LogId(1), 34)).unwrap();
    assert_eq!(files_with(&files, "1/3/"), [""; 0]);
    assert_eq!(files_with(&files, "1/4/").len(), 1);
}

#[test]
fn what_is_no_secret_may_stay_in_a_file_that_is_kept() {
    let files = FaultFiles::new();
    let journal = open(&files).start(Arc::new(Evens)).unwrap();
    for offset in 0..34 {
        append(&journal, one(2, offset, ENTRY_BYTES)).unwrap();
    }
    seal(&journal, 2);
    block_on(journal.rewrite(LogId(2), 34)).unwrap();
    let names = files.list().unwrap();
    assert!(names.iter().any(|name| name.ends_with(".retired")), "{names:?}");
}

#[test]
fn a_deletion_outlives_every_segment_that_records_it() {
    let files = FaultFiles::new();
    let journal = start(&files);
    // A segment that stays: most of it is of a log that lives on.
    for offset in 0..10 {
        append(&journal, one(1, offset, 1000)).unwrap();
        append(&journal, one(2, offset, ENTRY_BYTES)).unwrap();
    }
    seal(&journal, 2);
    delete(&journal, 1);
    // The segment that records the deletion dies, and then the one to which it was copied.
    for log in 10..14 {
        for offset in 0..5 {
            append(&journal, one(log, offset, ENTRY_BYTES)).unwrap();
        }
        seal(&journal, log);
        let before = segments(&files);
        delete(&journal, log);
        eventually("the segment is gone", || {
            segments(&files).len() < before.len() || segments(&files) != before
        });
        journal.roll();
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    for files in [files.kill(), files.crash_keeping_only_synced()] {
        let journal = start(&files);
        assert!(journal.log(LogId(1)).is_none(), "{:?}", segments(&files));
        assert_eq!(read_all(&journal, 2).len(), 10);
    }
}

#[test]
fn files_that_cannot_be_removed_do_not_come_back_and_go_later() {
    let files = FaultFiles::new();
    let journal = open(&files).start(Arc::new(Evens)).unwrap();
    for offset in 0..30 {
        append(&journal, one(1, offset, ENTRY_BYTES)).unwrap();
    }
    seal(&journal, 1);
    files.fail_removals(true);
    let old = segments(&files);
    block_on(journal.rewrite(LogId(1), 30)).unwrap_err();
    assert!(segments(&files).len() > old.len(), "beside each other: {:?}", segments(&files));
    // What replaced them dies, and so does all that knows of it.
    delete(&journal, 1);
    for offset in 0..14 {
        append(&journal, one(3, offset, ENTRY_BYTES)).unwrap();
    }
    seal(&journal, 3);
    delete(&journal, 3);
    journal.roll();
    std::thread::sleep(std::time::Duration::from_millis(300));
    for files in [files.kill(), files.crash_keeping_only_synced()] {
        let journal = start(&files);
        assert!(journal.log(LogId(1)).is_none() && journal.log(LogId(3)).is_none(), "{:?}", segments(&files));
    }
    files.fail_removals(false);
    eventually("they are gone", || files_with(&files, "1/4/").iter().all(|name| !name.ends_with(".segment")));
    assert!(start(&files.kill()).log(LogId(1)).is_none());
}

#[test]
fn a_rewrite_whose_name_may_be_lost_stops_the_journal() {
    let files = FaultFiles::new();
    let journal = open(&files).start(Arc::new(Evens)).unwrap();
    for offset in 0..10 {
        append(&journal, one(1, offset, ENTRY_BYTES)).unwrap();
    }
    seal(&journal, 1);
    files.fail_directory_syncs(true);
    block_on(journal.rewrite(LogId(1), 10)).unwrap_err();
    assert!(journal.stopped().is_some_and(|reason| reason.contains("directory")), "{:?}", journal.stopped());
    files.fail_directory_syncs(false);
    for seed in 0..20 {
        let found = read_all(&start(&files.crash(seed)), 1);
        let evens = [0, 2, 4, 6, 8, 9];
        assert!(found == evens || found.len() == 10, "seed {seed}: {found:?}");
    }
}

#[test]
fn what_is_appended_to_a_deleted_log_takes_no_space() {
    let files = FaultFiles::new();
    let journal = start(&files);
    append(&journal, one(1, 0, ENTRY_BYTES)).unwrap();
    delete(&journal, 1);
    // It was on its way while the log was deleted.
    for offset in 1..12 {
        append(&journal, one(1, offset, ENTRY_BYTES)).unwrap();
    }
    append(&journal, one(2, 0, 100)).unwrap();
    assert!(journal.log(LogId(1)).is_none() && journal.extents(LogId(1)).is_empty());
    let old = segments(&files)[0].clone();
    seal(&journal, 2);
    eventually("rewritten without it", || !segments(&files).contains(&old));
    journal.close();
    assert!(start(&files).log(LogId(1)).is_none());
}
