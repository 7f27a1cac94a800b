//! `annals consume`

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::time::Duration;

use crate::broker::Broker;

fn with_numbers(broker: &Broker, count: u32) -> String {
    let topic = broker.topic("numbers", 1);
    let input = (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, "{number}").unwrap();
        text
    });
    broker.run_with_input(&["produce", &topic], &input).ok();
    topic
}

#[test]
fn positions_from_and_until() {
    let broker = Broker::start();
    let topic = with_numbers(&broker, 10);
    let consume = |args: &[&str]| broker.run(&[&["consume", &topic, "--exit-at-end"], args].concat()).ok();
    assert_eq!(consume(&["--from", "-2"]), "8\n9\n");
    assert_eq!(consume(&["--from", "7"]), "7\n8\n9\n");
    assert_eq!(consume(&["--from", "2", "--until", "4"]), "2\n3\n");
    assert_eq!(consume(&["--from", "end"]), "");
    assert_eq!(consume(&["--from", "1h ago", "-n", "1"]), "0\n");
    assert_eq!(consume(&["--until", "1h ago"]), "");
    assert_eq!(consume(&[]).lines().count(), 10);
}

#[test]
fn a_format_string_shapes_the_output() {
    let broker = Broker::start();
    let topic = broker.topic("format", 1);
    broker.run_with_input(&["produce", &topic, "-K", ":", "-H", "h=1"], "k:v\n").ok();
    let format = r"%t %p:%o %k=%s [%h] %K %S%%\n";
    let text = broker.run(&["consume", &topic, "-e", "-f", format]).ok();
    assert_eq!(text, format!("{topic} 0:0 k=v [h=1] 1 1%\n"));
}

#[test]
fn several_topics_are_read_to_their_ends() {
    let broker = Broker::start();
    let (a, b) = (broker.topic("a", 2), broker.topic("b", 3));
    broker.run_with_input(&["produce", &a], &"a\n".repeat(100)).ok();
    broker.run_with_input(&["produce", &b], &"b\n".repeat(200)).ok();
    let text = broker.run(&["consume", &a, &b, "--exit-at-end"]).ok();
    assert_eq!(text.lines().filter(|line| *line == "a").count(), 100);
    assert_eq!(text.lines().filter(|line| *line == "b").count(), 200);
}

#[test]
fn a_group_goes_on_where_it_was() {
    let broker = Broker::start();
    let topic = with_numbers(&broker, 10);
    let group = broker.name("group");
    let consume = |args: &[&str]| broker.run(&[&["consume", &topic, "--group", &group], args].concat()).ok();
    assert_eq!(consume(&["-n", "4"]), "0\n1\n2\n3\n");
    assert_eq!(consume(&["--exit-at-end"]), "4\n5\n6\n7\n8\n9\n");
    assert_eq!(consume(&["--exit-at-end"]), "");
}

#[test]
fn a_closed_pipe_is_an_ordinary_end() {
    let broker = Broker::start();
    let topic = with_numbers(&broker, 50_000);
    let mut child = broker.spawn(&["consume", &topic]);
    let mut first = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "0\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!(complaints, "");
}

#[test]
fn ctrl_c_commits_and_leaves_the_group() {
    let broker = Broker::start();
    let topic = with_numbers(&broker, 10);
    let group = broker.name("interrupted");
    let mut child = broker.spawn(&["consume", &topic, "--group", &group]);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(10);
    assert_eq!(lines.map(|line| line.unwrap()).last().as_deref(), Some("9"));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // At once: a member that did not leave would be waited for.
    let described = &broker.run(&["group", "describe", &group, "-o", "json"]).json()[0];
    assert_eq!((&described["members"], &described["lag"]), (&0.into(), &0.into()));
}

fn interrupt(child: &Child) {
    // The output reaches the pipe before the loop is back in its wait.
    std::thread::sleep(Duration::from_millis(200));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}
