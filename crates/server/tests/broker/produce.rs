//! `annals produce`

use serde_json::{Value, json};

use crate::broker::Broker;

fn records(broker: &Broker, topic: &str) -> Vec<Value> {
    let text = broker.run(&["consume", topic, "--exit-at-end", "-o", "json"]).ok();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lines_become_records_in_order() {
    let broker = Broker::start();
    let topic = broker.topic("lines", 1);
    let outcome = broker.run_with_input(&["produce", &topic], "one\ntwo\n\nlast");
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stderr.starts_with("4 records acknowledged (10 B)"), "{}", outcome.stderr);
    let values: Vec<Value> =
        records(&broker, &topic).into_iter().map(|record| record["value"].clone()).collect();
    assert_eq!(values, [json!("one"), json!("two"), json!(""), json!("last")]);
}

#[test]
fn one_line_takes_no_time_to_get_ready() {
    let broker = Broker::start();
    let clock = annals_clock::Clock::system();
    let time = |run: &dyn Fn()| {
        let start = clock.monotonic();
        run();
        clock.monotonic() - start
    };
    let half_a_second = std::time::Duration::from_millis(500);
    // Somebody else may want the processor: what another command takes tells how much.
    let (mut created, mut produced) = (Vec::new(), Vec::new());
    let is_quick = (0..20).any(|number| {
        created.push(time(&|| drop(broker.topic(&format!("beside-{number}"), 1))));
        // A topic that the broker creates, and then one that is there.
        let topic = broker.name(&format!("new-{number}"));
        let both =
            [(); 2].map(|()| time(&|| drop(broker.run_with_input(&["produce", &topic], "one\n").ok())));
        produced.push(both.into_iter().max().unwrap());
        *produced.iter().min().unwrap() < *created.iter().min().unwrap() + half_a_second
    });
    assert!(is_quick, "{produced:?}, beside {created:?}");
}

#[test]
fn keys_headers_and_tombstones() {
    let broker = Broker::start();
    let topic = broker.topic("keys", 1);
    let args = ["produce", &topic, "-K", ":", "--null-value", "NULL", "--headers", "-H", "by=test"];
    broker.run_with_input(&args, "a=1\tk1:v1\n\tk2:NULL\n").ok();
    let records = records(&broker, &topic);
    assert_eq!((&records[0]["key"], &records[0]["value"]), (&json!("k1"), &json!("v1")));
    let headers = json!([{"name": "by", "value": "test"}, {"name": "a", "value": "1"}]);
    assert_eq!(records[0]["headers"], headers);
    assert_eq!((&records[1]["key"], &records[1]["value"]), (&json!("k2"), &Value::Null));
}

#[test]
fn json_lines_become_events() {
    let broker = Broker::start();
    let topic = broker.topic("events", 1);
    let args = ["produce", &topic, "--json", "--key-field", "customer.id", "--event-type", "OrderPlaced"];
    broker
        .run_with_input(&[&args[..], &["--source", "/shop"]].concat(), "{\"customer\":{\"id\":\"c1\"}}\n")
        .ok();
    let record = &records(&broker, &topic)[0];
    assert_eq!(record["key"], "c1");
    let header = |name: &str| {
        let headers = record["headers"].as_array().unwrap();
        headers.iter().find(|header| header["name"] == name).unwrap()["value"].as_str().unwrap().to_owned()
    };
    assert_eq!((header("ce_type"), header("ce_source")), ("OrderPlaced".into(), "/shop".into()));
    assert_eq!((header("ce_specversion"), header("content-type")), ("1.0".into(), "application/json".into()));
    assert_eq!(header("ce_id").len(), 36);
}

#[test]
fn a_wrong_line_ends_it_with_its_number_and_keeps_what_came_before() {
    let broker = Broker::start();
    let topic = broker.topic("wrong", 1);
    let input = "{\"id\":1}\nnot json\n{\"id\":3}\n";
    let outcome = broker.run_with_input(&["produce", &topic, "--json"], input);
    assert!(outcome.failed().contains("line 2: not JSON"));
    assert_eq!(records(&broker, &topic).len(), 1);
    broker.run_with_input(&["produce", &topic, "--json", "--skip-invalid"], input).ok();
    assert_eq!(records(&broker, &topic).len(), 3);
}

#[test]
fn compressed_records_come_back_as_they_were() {
    let broker = Broker::start();
    let topic = broker.topic("compressed", 1);
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let input = format!("{codec} {}\n", "x".repeat(1_000));
        broker.run_with_input(&["produce", &topic, "--compression", codec], &input.repeat(50)).ok();
    }
    let records = records(&broker, &topic);
    assert_eq!(records.len(), 250);
    for (number, codec) in codecs.iter().enumerate() {
        assert!(records[number * 50]["value"].as_str().unwrap().starts_with(codec), "{codec}");
    }
}

#[test]
fn a_partition_that_is_not_there_is_refused_at_once() {
    let broker = Broker::start();
    let topic = broker.topic("partitions", 2);
    let refused = broker.run_with_input(&["produce", &topic, "-p", "5"], "x\n").failed();
    assert!(refused.contains("no partition 5; it has 2"), "{refused}");
    broker.run_with_input(&["produce", &topic, "-p", "1"], "x\n").ok();
    assert_eq!(records(&broker, &topic)[0]["partition"], 1);
}
