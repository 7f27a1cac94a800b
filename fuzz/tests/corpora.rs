//! Every input of every corpus, again: what once led somewhere new, and what once broke something.

use std::path::Path;

use annals_fuzz::TARGETS;

#[test]
fn every_kept_input_passes() {
    for (name, run) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            let input = std::fs::read(&file).unwrap();
            let passed = std::panic::catch_unwind(|| run(&input));
            assert!(passed.is_ok(), "{name} fails for {}", file.display());
        }
    }
}

#[test]
fn inputs_that_nobody_chose_pass() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for (_, run) in TARGETS {
        for _ in 0..50 {
            let len = random() % 300;
            let input: Vec<u8> = (0..len).map(|_| random().to_le_bytes()[0]).collect();
            run(&input);
        }
    }
}
