//! Directories that earlier versions wrote can be read by this one. Made by `examples/make_fixture.rs`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use annals_clock::Clock;
use annals_journal::{DiskFiles, Idle, Journal, LogId, verify};

use crate::world::{append, one, small};

fn copy_of(version: &str) -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version);
    let directory = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    directory
}

fn texts(journal: &Journal, log: u64) -> Vec<String> {
    let facts = journal.log(LogId(log)).unwrap();
    let entries = journal.entries(LogId(log), facts.offsets.start, 1 << 20).unwrap();
    entries.iter().map(|entry| String::from_utf8(entry.payload.to_vec()).unwrap()).collect()
}

#[test]
fn version_1_is_read() {
    let directory = copy_of("v1");
    let files = Arc::new(DiskFiles::open(directory.path()).unwrap());
    let report = verify(files.as_ref(), |_, _| {}).unwrap();
    assert!(report.damage.is_empty() && report.cut.is_none(), "{report:?}");
    let opened = Journal::open(small(), files, Clock::system(), Arc::new(Idle)).unwrap();
    let journal = opened.start(Arc::new(Idle)).unwrap();
    let expected =
        |log, from| (from..15).map(|offset| format!("log {log}, offset {offset}")).collect::<Vec<_>>();
    assert_eq!(texts(&journal, 1), expected(1, 0));
    assert_eq!(texts(&journal, 2), expected(2, 4));
    assert!(journal.log(LogId(3)).is_none(), "it was deleted");
    assert_eq!(journal.log(LogId(4)).unwrap().offsets, 0..10);
    assert_eq!(journal.find_timestamp(LogId(1), 1_700_000_000_007, 0).unwrap(), Some(7));
    append(&journal, one(1, 15, 10)).unwrap();
}
