//! `annals bench` and `annals dev`: short runs that show that the figures add up.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};

use crate::broker::Broker;

#[test]
fn the_figures_of_a_short_run_add_up() {
    let broker = Broker::start();
    let (topic, directory) = (broker.name("bench"), tempfile::tempdir().unwrap());
    let disk = directory.path().to_str().unwrap();
    let args =
        ["bench", "-o", "json", "all", "--topic", &topic, "-n", "2000", "--size", "100B", "--disk-dir", disk];
    let report = broker.run(&args).json();
    let runs = report["runs"].as_array().unwrap();
    let tests: Vec<&str> = runs.iter().map(|run| run["test"].as_str().unwrap()).collect();
    assert_eq!(tests, ["produce", "consume", "end to end"]);
    for run in runs {
        assert_eq!(run["records"], 2_000, "{run}");
        assert_eq!(run["bytes"], 200_000, "{run}");
    }
    let latency = &runs[0]["latency_ms"];
    assert!(latency["p50"].as_f64().unwrap() <= latency["p99"].as_f64().unwrap());
    assert!(report["disk"]["sync_1mib_mb_per_s"].as_f64().unwrap() > 0.0);
    assert!(broker.run(&["topic", "describe", &topic]).failed().contains("does not exist"));
}

#[test]
fn dev_prints_hints_and_numbers_and_ends_in_order() {
    let broker = Broker::start();
    let mut child = broker.spawn(&["dev", "--rate", "200", "--bootstrap-server", &broker.address]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    watch_and_interrupt(&mut child, &mut lines);
}

#[test]
fn dev_serves_by_itself_and_leaves_nothing_behind() {
    let broker = Broker::start();
    let mut child =
        broker.spawn(&["dev", "--rate", "200", "--kafka-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let serving = lines.find(|line| line.starts_with("serving kafka=127.0.0.1:")).unwrap();
    let (_, directory) = serving.split_once("data in ").unwrap();
    assert!(Path::new(directory).is_dir(), "{serving}");
    watch_and_interrupt(&mut child, &mut lines);
    assert!(!Path::new(directory).exists(), "{directory} is left behind");
}

/// Waits for hints and numbers, and ends it as a person would.
fn watch_and_interrupt(dev: &mut Child, lines: &mut impl Iterator<Item = String>) {
    assert!(lines.any(|line| line.contains("kcat -b")));
    let numbers = lines.find(|line| line.contains("end to end")).unwrap();
    assert!(numbers.contains(" received ") && numbers.contains(" lag "), "{numbers}");
    let pid = dev.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(dev.wait().unwrap().code(), Some(0));
}
