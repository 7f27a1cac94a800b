//! `annals topic`

use crate::broker::Broker;

#[test]
fn a_topic_lives_from_create_to_delete() {
    let broker = Broker::start();
    let name = broker.name("orders");
    let created = broker.run(&["topic", "create", &name, "-p", "3", "-c", "retention.ms=86400000"]).ok();
    assert_eq!(created, format!("created topic {name} with 3 partitions\n"));

    let listed = broker.run(&["topic", "list", "-o", "json"]).json();
    let row = listed.as_array().unwrap().iter().find(|row| row["topic"] == name.as_str()).unwrap();
    assert_eq!((&row["partitions"], &row["records"]), (&3.into(), &0.into()));

    let described = &broker.run(&["topic", "describe", &name, "-o", "json"]).json()[0];
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(described["configs"]["retention.ms"], "86400000");

    assert_eq!(broker.run(&["topic", "delete", &name, "--yes"]).ok(), format!("deleted topic {name}\n"));
    assert!(broker.run(&["topic", "describe", &name]).failed().contains("does not exist"));
}

#[test]
fn creating_twice_fails_unless_that_is_fine() {
    let broker = Broker::start();
    let name = broker.topic("twice", 1);
    assert!(broker.run(&["topic", "create", &name]).failed().contains("exists already"));
    broker.run(&["topic", "create", &name, "--if-not-exists"]).ok();
}

#[test]
fn a_dry_run_creates_nothing() {
    let broker = Broker::start();
    let name = broker.name("dry");
    assert!(broker.run(&["topic", "create", &name, "--dry-run"]).ok().starts_with("would create"));
    assert!(broker.run(&["topic", "describe", &name]).failed().contains("does not exist"));
}

#[test]
fn altering_keeps_what_is_not_named() {
    let broker = Broker::start();
    let name = broker.name("altered");
    broker
        .run(&["topic", "create", &name, "-c", "retention.ms=1000000", "-c", "max.message.bytes=2000000"])
        .ok();
    broker.run(&["topic", "alter", &name, "-p", "4", "-c", "retention.ms=2000000"]).ok();
    let described = &broker.run(&["topic", "describe", &name, "-o", "json"]).json()[0];
    assert_eq!(described["partitions"].as_array().unwrap().len(), 4);
    assert_eq!(described["configs"]["retention.ms"], "2000000");
    assert_eq!(described["configs"]["max.message.bytes"], "2000000");

    broker.run(&["topic", "alter", &name, "--delete-config", "max.message.bytes"]).ok();
    let described = &broker.run(&["topic", "describe", &name, "-o", "json"]).json()[0];
    assert_eq!(described["configs"].as_object().unwrap().get("max.message.bytes"), None);
    assert!(broker.run(&["topic", "alter", &name, "-p", "2"]).failed().contains("never removed"));
}

#[test]
fn a_misspelt_config_names_the_right_one() {
    let broker = Broker::start();
    let name = broker.name("misspelt");
    let refused = broker.run(&["topic", "create", &name, "-c", "retenton.ms=1"]).failed();
    assert!(refused.contains("did you mean \"retention.ms\"?"), "{refused}");
    broker.run(&["topic", "create", &name]).ok();
    let refused = broker.run(&["topic", "alter", &name, "-c", "retenton.ms=1"]).failed();
    assert!(refused.contains("did you mean \"retention.ms\"?"), "{refused}");
}
