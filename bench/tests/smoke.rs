//! The harness from end to end: a server is started, put under load and measured, and leaves results.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

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

/// Runs one scenario shortly with one subject, and returns its figures and what else it has left.
fn quick_run(scenario: &str, subject: &str) -> (tempfile::TempDir, Vec<Value>) {
    let harness = PathBuf::from(env!("CARGO_BIN_EXE_annals-bench"));
    let scratch = tempfile::TempDir::new().unwrap();
    let mut command = Command::new(&harness);
    command.args([scenario, "--quick", "--subject", subject, "--xtask", "/none", "--root", "/none"]);
    command.arg("--annals").arg(annals(&harness)).arg("--target").arg(scratch.path());
    command.arg("--out").arg(scratch.path().join("out")).arg("--data-dir").arg(scratch.path().join("data"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = std::fs::read_to_string(scratch.path().join("out/results.json")).unwrap();
    (scratch, serde_json::from_str(&text).unwrap())
}

#[test]
fn a_quick_run_leaves_figures_tables_and_samples() {
    let (scratch, figures) = quick_run("memory", "annals-sync");
    let idle = figures.iter().find(|figure| figure["metric"] == "resident memory: idle").unwrap();
    assert_eq!(idle["goal"], "at most 30 MiB");
    assert!(idle["ours"].as_f64().unwrap() > 1.0 && idle["disk"]["write_sync_1mib_mb_per_s"].is_number());
    let tables = std::fs::read_to_string(scratch.path().join("out/tables.md")).unwrap();
    assert!(tables.contains("A quick run"));
    let left = std::fs::read_dir(scratch.path().join("data")).unwrap();
    let left = left.filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(left.count(), 0, "the data directories are removed");
}

#[test]
fn messages_go_through_queues() {
    let (_scratch, figures) = quick_run("queue-latency", "annals-queues");
    let of = |metric: &str| figures.iter().find(|figure| figure["metric"] == metric).unwrap();
    assert!(of("messages: 5,000 messages/s")["ours"].as_f64().unwrap() > 0.0);
    assert_eq!(of("end to end: 5,000 messages/s, p99")["goal"], "at most 3 times");
}
