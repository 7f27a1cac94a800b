//! Segments that cannot be closed or sealed at once.

use std::sync::Arc;
use std::time::Duration;

use annals_journal::{Durability, FaultFiles, Files, Group, Idle, Journal, LogId, Options, Purpose};

use crate::rewrite::eventually;
use crate::world::{append, block_on, one, open_with, payload, read_all, small, start};

/// Entries of few bytes: the index of a segment full of them is nearly as large as it.
const ENTRIES: u64 = 12_000;

fn used(files: &FaultFiles) -> u64 {
    files.set_capacity(Some(1 << 40));
    (1 << 40) - files.free_bytes().unwrap()
}

/// A journal whose first segment is closed, but has no room for its index.
fn without_room_for_an_index(files: &FaultFiles) -> Journal {
    let journal = start(files);
    for from in (0..ENTRIES).step_by(100) {
        let mut group = Group::new();
        (from..from + 100)
            .for_each(|offset| group.push(LogId(1), offset, 1, 0, payload(LogId(1), offset, 20)));
        append(&journal, group).unwrap();
    }
    // The spare is there, and nothing else has room.
    files.wait_for_spare();
    files.set_capacity(Some(used(files)));
    journal.roll();
    std::thread::sleep(Duration::from_millis(200));
    assert!(!journal.extents(LogId(1))[0].sealed, "it should not have had room");
    journal
}

#[test]
fn a_segment_is_sealed_once_there_is_room_for_its_index() {
    let files = FaultFiles::new();
    let journal = without_room_for_an_index(&files);
    files.set_capacity(None);
    eventually("sealed", || journal.extents(LogId(1))[0].sealed);
    assert_eq!(read_all(&journal, 1).len() as u64, ENTRIES);
    journal.close();
    assert_eq!(read_all(&start(&files), 1).len() as u64, ENTRIES);
}

#[test]
fn a_segment_without_room_for_its_index_gives_its_space_back_when_all_in_it_is_dead() {
    let files = FaultFiles::new();
    let journal = without_room_for_an_index(&files);
    let name = "0000000001-0000000001-0000.segment".to_owned();
    assert!(files.list().unwrap().contains(&name));
    let mut delete = Group::new();
    delete.delete(LogId(1));
    append(&journal, delete).unwrap();
    eventually("its space is back", || !files.list().unwrap().contains(&name));
}

#[test]
fn a_spare_that_goes_while_a_segment_is_closed_early_is_not_missed() {
    let files = FaultFiles::new();
    let options =
        Options { durability: Durability::Async, async_interval: Duration::from_secs(3600), ..small() };
    let journal = open_with(&files, options).start(Arc::new(Idle)).unwrap();
    append(&journal, one(1, 0, 1000).with_durability(Durability::Sync)).unwrap();
    files.wait_for_spare();
    append(&journal, one(1, 1, 1000)).unwrap();
    let permit = block_on(journal.admit(4096, Purpose::Data)).unwrap();
    files.delay_syncs(Duration::from_millis(400));
    journal.roll();
    std::thread::sleep(Duration::from_millis(100));
    // The segment is being synced. A group that is larger than the spare has it replaced by another.
    let large = std::thread::scope(|scope| {
        let large = scope.spawn(|| block_on(journal.admit(3 << 20, Purpose::Data)));
        std::thread::sleep(Duration::from_millis(350));
        let written = block_on(journal.submit(permit, one(1, 2, 1000)));
        assert!(written.is_ok(), "{written:?}");
        files.delay_syncs(Duration::ZERO);
        large.join().unwrap()
    });
    block_on(journal.submit(large.unwrap(), one(1, 3, 2 << 20))).unwrap();
    assert_eq!(read_all(&journal, 1), [0, 1, 2, 3]);
}
