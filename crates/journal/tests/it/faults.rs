//! A disk that fails or fills.

use std::sync::Arc;

use annals_clock::Clock;
use annals_journal::{AppendError, FaultFiles, Files, Group, Idle, Journal, LogId};

use crate::counting::CountingFiles;
use crate::rewrite::eventually;
use crate::world::{append, one, read_all, small, start};

#[test]
fn a_failed_sync_stops_writes_loudly_and_reads_go_on() {
    let files = FaultFiles::new();
    let journal = start(&files);
    append(&journal, one(1, 0, 100)).unwrap();
    files.wait_for_spare();
    files.fail_syncs(true);
    let error = append(&journal, one(1, 1, 100)).unwrap_err();
    assert!(matches!(&error, AppendError::Stopped { reason } if reason.contains("fdatasync")), "{error}");
    files.fail_syncs(false);
    assert!(append(&journal, one(1, 1, 100)).is_err(), "a failed sync is never taken back");
    assert_eq!(read_all(&journal, 1), [0], "what was not acknowledged is not shown");
    assert!(journal.stopped().is_some());
}

#[test]
fn a_failed_write_stops_writes() {
    let files = FaultFiles::new();
    let journal = start(&files);
    append(&journal, one(1, 0, 100)).unwrap();
    files.fail_writes(true);
    assert!(append(&journal, one(1, 1, 100)).is_err());
    assert_eq!(read_all(&journal, 1), [0]);
}

#[test]
fn a_full_disk_refuses_appends_keeps_reading_and_trimming_and_recovers_by_itself() {
    let files = FaultFiles::new();
    files.set_capacity(Some(8 << 20));
    let journal = start(&files);
    let mut next = 0;
    let error = loop {
        match append(&journal, one(1, next, 50_000)) {
            Ok(_) => next += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, AppendError::NoSpace);
    assert!(next > 60, "most of the disk was used: {next} entries");
    assert!(journal.is_full());
    assert_eq!(read_all(&journal, 1).len() as u64, next);
    let mut trim = Group::new();
    trim.trim(LogId(1), next - 10);
    append(&journal, trim).unwrap();
    eventually("space returns", || append(&journal, one(1, next, 50_000)).is_ok());
    assert_eq!(read_all(&journal, 1).len(), 11);
    let journal = start(&files.crash_keeping_only_synced());
    assert_eq!(read_all(&journal, 1).len(), 11);
}

#[test]
fn a_group_that_can_never_fit_is_refused_and_others_go_on() {
    let files = FaultFiles::new();
    files.set_capacity(Some(8 << 20));
    let journal = start(&files);
    append(&journal, one(1, 0, 100)).unwrap();
    assert_eq!(append(&journal, one(1, 1, 20 << 20)), Err(AppendError::NoSpace));
    eventually("appends resume", || append(&journal, one(1, 1, 100)).is_ok());
}

#[test]
fn rewrites_without_room_are_tried_less_and_less_often_until_there_is_room() {
    let files = FaultFiles::new();
    let counting = CountingFiles::new(&files);
    let opened = Journal::open(small(), Arc::new(counting.clone()), Clock::system(), Arc::new(Idle)).unwrap();
    let journal = opened.start(Arc::new(Idle)).unwrap();
    for offset in 0..40 {
        append(&journal, one(1, offset, 40_000)).unwrap();
        append(&journal, one(2, offset, 10_000)).unwrap();
    }
    eventually("sealed", || journal.extents(LogId(1)).iter().rev().skip(1).all(|extent| extent.sealed));
    files.wait_for_spare();
    let first = "0000000001-0000000001-0000.segment".to_owned();
    // The filesystem says that there is room and has none, as with a quota.
    counting.promise(1 << 30);
    let names = files.list().unwrap();
    files.set_capacity(Some(
        names.iter().filter_map(|name| files.bytes(name)).map(|bytes| bytes.len() as u64).sum(),
    ));
    let mut trim = Group::new();
    trim.trim(LogId(1), 40);
    let (clock, before) = (Clock::system(), counting.rewrites());
    append(&journal, trim).unwrap();
    eventually("it was tried several times", || counting.rewrites() >= before + 4);
    std::thread::sleep(std::time::Duration::from_millis(1000));
    // At 20 ms, then after 40, 80 and so on; without patience there would be one every 20 ms.
    let tries = counting.rewrites() - before;
    let most = (clock.monotonic().as_millis() / 20).ilog2() + 2;
    assert!(tries <= u64::from(most), "{tries} tries, not {most}");
    files.set_capacity(None);
    eventually("rewritten", || !files.list().unwrap().contains(&first));
    assert_eq!(read_all(&journal, 2).len(), 40);
}
