//! Segments that cannot be sealed at once.

use std::time::Duration;

use annals_journal::{FaultFiles, Files, Group, Journal, LogId};

use crate::rewrite::eventually;
use crate::world::{append, payload, read_all, start};

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
    std::thread::sleep(Duration::from_millis(200));
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
