//! `annals group`

use crate::broker::Broker;

/// A topic with ten records, and a group that has read four of them.
fn behind(broker: &Broker) -> (String, String) {
    let (topic, group) = (broker.topic("work", 1), broker.name("workers"));
    broker.run_with_input(&["produce", &topic], &"x\n".repeat(10)).ok();
    broker.run(&["consume", &topic, "--group", &group, "-n", "4"]).ok();
    (topic, group)
}

#[test]
fn lag_is_counted_in_records_and_in_time() {
    let broker = Broker::start();
    let (topic, group) = behind(&broker);
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    let described = &broker.run(&["group", "describe", &group, "-o", "json"]).json()[0];
    let row = &described["partitions"][0];
    assert_eq!(
        (&row["topic"], &row["committed_offset"], &row["end_offset"]),
        (&topic.into(), &4.into(), &10.into())
    );
    assert_eq!((&row["lag"], &described["lag"]), (&6.into(), &6.into()));
    let time_lag_ms = row["time_lag_ms"].as_i64().unwrap();
    assert!((1_200..60_000).contains(&time_lag_ms), "{time_lag_ms}");
}

#[test]
fn a_group_that_has_caught_up_has_no_time_lag() {
    let broker = Broker::start();
    let (topic, group) = behind(&broker);
    broker.run(&["consume", &topic, "--group", &group, "--exit-at-end"]).ok();
    let described = &broker.run(&["group", "describe", &group, "-o", "json"]).json()[0];
    assert_eq!((&described["lag"], &described["time_lag_ms"]), (&0.into(), &0.into()));
}

#[test]
fn reset_shows_first_and_moves_only_when_told() {
    let broker = Broker::start();
    let (topic, group) = behind(&broker);
    let committed =
        || broker.run(&["group", "describe", &group, "-o", "json"]).json()[0]["partitions"][0].clone();
    let reset = |args: &[&str]| broker.run(&[&["group", "reset", &group], args].concat()).ok();

    assert!(reset(&["--to-latest"]).contains("would move 1 offset"));
    assert_eq!(committed()["committed_offset"], 4);
    reset(&["--to-latest", "--execute"]);
    assert_eq!(committed()["committed_offset"], 10);
    reset(&["--shift-by", "-3", "--execute"]);
    assert_eq!(committed()["committed_offset"], 7);
    reset(&["--to-offset", "2", "--topic", &format!("{topic}:0"), "--execute"]);
    assert_eq!(committed()["committed_offset"], 2);
    reset(&["--to-time", "1h ago", "--execute"]);
    assert_eq!(committed()["committed_offset"], 0);
    reset(&["--to-offset", "99", "--execute"]);
    assert_eq!(committed()["committed_offset"], 10);
    reset(&["--to-earliest", "--execute"]);
    assert_eq!(committed()["committed_offset"], 0);
}

#[test]
fn a_group_with_members_is_neither_reset_nor_deleted() {
    let broker = Broker::start();
    let (topic, group) = behind(&broker);
    let mut member = broker.spawn(&["consume", &topic, "--group", &group]);
    let is_stable =
        || broker.run(&["group", "describe", &group, "-o", "json"]).json()[0]["state"] == "Stable";
    while !is_stable() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let reset = broker.run(&["group", "reset", &group, "--to-earliest", "--execute"]).failed();
    assert!(reset.contains("has 1 member"), "{reset}");
    assert!(broker.run(&["group", "delete", &group, "--yes"]).failed().contains("has 1 member"));
    member.kill().unwrap();
    member.wait().unwrap();
}

#[test]
fn a_deleted_group_is_gone() {
    let broker = Broker::start();
    let (_, group) = behind(&broker);
    let listed = || broker.run(&["group", "list"]).ok().lines().any(|line| line.starts_with(&group));
    assert!(listed());
    assert_eq!(broker.run(&["group", "delete", &group, "--yes"]).ok(), format!("deleted group {group}\n"));
    assert!(!listed());
    assert!(broker.run(&["group", "describe", &group]).failed().contains("does not exist"));
}
