//! The harness from end to end: a server is started, put under load and measured, and leaves results.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The `annals` beside the harness. `cargo test --workspace` has built it; a test of this crate alone builds it now.
fn annals(harness: &Path) -> PathBuf {
    let annals = harness.with_file_name("annals");
    if !annals.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "annals-server", "--bin", "annals"]);
        assert!(build.status().is_ok_and(|status| status.success()));
    }
    annals
}

#[test]
fn a_quick_run_leaves_figures_tables_and_samples() {
    let harness = PathBuf::from(env!("CARGO_BIN_EXE_annals-bench"));
    let scratch = tempfile::TempDir::new().unwrap();
    let (out, data) = (scratch.path().join("out"), scratch.path().join("data"));
    let mut command = Command::new(&harness);
    command.args(["memory", "--quick", "--subject", "annals-sync", "--xtask", "/none", "--root", "/none"]);
    command.arg("--annals").arg(annals(&harness)).arg("--target").arg(scratch.path());
    command.arg("--out").arg(&out).arg("--data-dir").arg(&data);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    let text = std::fs::read_to_string(out.join("results.json")).unwrap();
    let figures: Vec<Value> = serde_json::from_str(&text).unwrap();
    let idle = figures.iter().find(|figure| figure["metric"] == "resident memory: idle").unwrap();
    assert_eq!(idle["goal"], "at most 30 MiB");
    assert!(idle["ours"].as_f64().unwrap() > 1.0 && idle["disk"]["write_sync_1mib_mb_per_s"].is_number());
    assert!(std::fs::read_to_string(out.join("tables.md")).unwrap().contains("A quick run"));
    let left = std::fs::read_dir(&data).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(left.count(), 0, "the data directories are removed");
}
