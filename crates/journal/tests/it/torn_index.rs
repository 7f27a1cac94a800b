//! What `verify` says of an index that was being written when the power failed, and of one that was damaged later.

use annals_journal::{FaultFiles, Files, LogId, OpenMode, Report, verify};

use crate::rewrite::eventually;
use crate::world::{append, one, read_all, start};

/// Two sealed segments with ten entries each.
fn two_segments() -> (FaultFiles, [String; 2]) {
    let files = FaultFiles::new();
    let journal = start(&files);
    for offset in 0..20 {
        append(&journal, one(1, offset, 300)).unwrap();
        if offset == 9 {
            journal.roll();
            eventually("sealed", || journal.extents(LogId(1)).iter().all(|extent| extent.sealed));
        }
    }
    journal.close();
    let mut names = files.list().unwrap();
    // A spare that was being prepared may be left.
    names.retain(|name| {
        name.ends_with(".segment") && files.bytes(name).is_some_and(|bytes| is_sealed(&bytes))
    });
    names.sort();
    (files, names.try_into().expect("two segments"))
}

fn is_sealed(bytes: &[u8]) -> bool {
    bytes.len() > 80 && bytes[bytes.len() - 80..].starts_with(b"AnFooter")
}

/// How many bytes of the file are its index: see `docs/format.md`.
fn index_len(files: &FaultFiles, name: &str) -> usize {
    let bytes = files.bytes(name).unwrap();
    let trailer = &bytes[bytes.len() - 80..];
    let data_end = u64::from_le_bytes(trailer[24..32].try_into().unwrap());
    bytes.len() - data_end as usize
}

fn lose_last(files: &FaultFiles, name: &str, lost: usize) -> FaultFiles {
    let files = files.kill();
    let file = files.open(name, OpenMode::Write).unwrap();
    file.write_at(file.len().unwrap() - lost as u64, &vec![0; lost]).unwrap();
    file.sync_data().unwrap();
    files
}

fn check(files: &FaultFiles) -> Report {
    verify(files, |_, _| {}).unwrap()
}

#[test]
fn an_interrupted_index_is_no_damage_wherever_it_ends() {
    let (files, [first, second]) = two_segments();
    let len = index_len(&files, &first);
    // The last four bytes are zero anyway.
    for lost in 5..=len {
        let torn = lose_last(&files, &first, lost);
        let report = check(&torn);
        assert!(report.damage.is_empty() && report.cut.is_none(), "{lost} bytes lost: {report:?}");
        assert_eq!(report.notices.len(), usize::from(lost < len), "{lost} bytes lost");
        assert!(report.notices.iter().all(|notice| notice.file == first));
        assert_eq!(report.logs[&LogId(1)].offsets, 0..20);
    }
    let torn = lose_last(&files, &first, len / 2);
    let journal = start(&torn);
    assert_eq!(read_all(&journal, 1).len(), 20);
    eventually("sealed", || journal.extents(LogId(1)).iter().all(|extent| extent.sealed));
    journal.close();
    let report = check(&torn);
    assert!(report.damage.is_empty() && report.notices.is_empty(), "it was built again: {report:?}");
    // At the end of the journal the same is an unfinished write.
    let torn = lose_last(&files, &second, index_len(&files, &second) / 2);
    let report = check(&torn);
    assert!(report.damage.is_empty() && report.notices.is_empty() && report.cut.is_some(), "{report:?}");
}

#[test]
fn a_flipped_bit_in_an_index_is_damage() {
    let (files, names) = two_segments();
    for name in names {
        let (end, len) = (files.bytes(&name).unwrap().len(), index_len(&files, &name));
        for bit in (end - len) * 8..end * 8 {
            let damaged = files.kill();
            damaged.flip_bit(&name, bit as u64);
            let report = check(&damaged);
            assert!(!report.damage.is_empty(), "bit {bit}: {report:?}");
            assert!(report.notices.is_empty() && !report.is_data_lost(), "bit {bit}: {report:?}");
            assert_eq!(report.logs[&LogId(1)].offsets, 0..20);
        }
    }
}
