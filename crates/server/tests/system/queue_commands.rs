//! Queues from the command line, and moves of messages that somebody kills in the middle.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Server, annals, eventually};

const WITHIN: Duration = Duration::from_secs(60);

/// Runs a command against a server.
fn run(server: &Server, args: &[&str]) -> Output {
    annals(&[args, &["--server", server.http()]].concat())
}

/// What a command prints that has to succeed.
fn done(server: &Server, args: &[&str]) -> String {
    let output = run(server, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "annals {args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command prints as JSON.
fn listed(server: &Server, args: &[&str]) -> Value {
    serde_json::from_str(&done(server, &[args, &["-o", "json"]].concat())).unwrap()
}

/// The exit code of a command, and what it complains about.
fn refused(server: &Server, args: &[&str]) -> (Option<i32>, String) {
    let output = run(server, args);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Messages that are ready in a queue.
fn ready(server: &Server, queue: &str) -> u64 {
    let (status, found) = server.api("GET", &format!("/api/queues/%2F/{queue}"), None);
    assert_eq!(status, 200, "{found}");
    found["messages_ready"].as_u64().unwrap()
}

/// The bodies of all messages of a queue.
fn bodies(server: &Server, queue: &str) -> Vec<String> {
    let (_, messages) = server.api("GET", &format!("/api/queues/%2F/{queue}/messages?count=1000"), None);
    messages.as_array().unwrap().iter().map(|one| one["payload"].as_str().unwrap().to_owned()).collect()
}

fn publish(server: &Server, queue: &str, body: &str) {
    let message = json!({
        "routing_key": queue, "payload": body, "payload_encoding": "string", "properties": {"delivery_mode": 2},
    });
    let answer = server.api("POST", "/api/exchanges/%2F/amq.default/publish", Some(&message));
    assert_eq!(answer, (200, json!({"routed": true})));
}

/// A queue whose dead letters go to another one, with `count` messages that were rejected.
fn bury(server: &Server, queue: &str, count: u32) {
    done(server, &["exchange", "declare", "dead", "--type", "fanout"]);
    done(server, &["queue", "declare", "graveyard"]);
    done(server, &["binding", "add", "dead", "--queue", "graveyard"]);
    done(server, &["queue", "declare", queue, "--dead-letter-exchange", "dead"]);
    (0..count).for_each(|number| publish(server, queue, &number.to_string()));
    let take = json!({"count": count, "ackmode": "reject_requeue_false", "encoding": "auto"});
    let (status, taken) = server.api("POST", &format!("/api/queues/%2F/{queue}/get"), Some(&take));
    assert_eq!((status, taken.as_array().map(Vec::len)), (200, Some(count as usize)));
    eventually("all messages are dead letters", WITHIN, || ready(server, "graveyard") == u64::from(count));
}

#[test]
fn the_command_line_leads_through_the_life_of_a_queue() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    assert_eq!(
        done(&server, &["exchange", "declare", "orders", "--type", "topic"]),
        "declared exchange orders\n"
    );
    assert_eq!(
        done(&server, &["queue", "declare", "billing", "--max-length", "10"]),
        "declared queue billing\n"
    );
    assert_eq!(
        done(&server, &["queue", "declare", "billing", "--max-length", "10"]),
        "there is already queue billing\n"
    );
    let (code, error) = refused(&server, &["queue", "declare", "billing", "--max-length", "11"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("inequivalent arg 'x-max-length' for queue 'billing' in vhost '/'"), "{error}");

    let bind = ["binding", "add", "orders", "--queue", "billing", "--routing-key", "orders.#"];
    assert_eq!(done(&server, &bind), "bound queue billing to exchange orders\n");
    let bindings = listed(&server, &["binding", "list"]);
    let seen = |field: &str| bindings[0][field].clone();
    assert_eq!(
        (seen("source"), seen("destination"), seen("routing_key")),
        (json!("orders"), json!("billing"), json!("orders.#"))
    );
    assert_eq!(bindings.as_array().unwrap().len(), 1);

    let publish =
        ["exchange", "publish", "orders", "-k", "orders.new", "--body", "one", "--header", "pages=3"];
    done(&server, &publish);
    let (code, error) = refused(&server, &["exchange", "publish", "orders", "-k", "other", "--body", "x"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no queue got the message"), "{error}");
    let messages = listed(&server, &["queue", "peek", "billing"]);
    assert_eq!(messages[0]["payload"], "one");
    assert_eq!(messages[0]["properties"]["headers"], json!({"pages": 3}));
    assert_eq!(ready(&server, "billing"), 1);
    let table = done(&server, &["queue", "list"]);
    assert!(table.contains("billing  classic  max-length=10      1        0          0"), "{table}");
    assert!(done(&server, &["queue", "describe", "billing"]).contains("published: 1"));

    done(&server, &["queue", "declare", "billing.new"]);
    assert_eq!(
        done(&server, &["queue", "move", "billing", "--to", "billing.new"]),
        "moved 1 message from queue billing\n"
    );
    assert_eq!((ready(&server, "billing"), bodies(&server, "billing.new")), (0, vec!["one".to_owned()]));
    assert_eq!(done(&server, &["queue", "purge", "billing.new", "--yes"]), "purged queue billing.new\n");
    assert_eq!(ready(&server, "billing.new"), 0);
    let unbind = ["binding", "remove", "orders", "--queue", "billing", "--routing-key", "orders.#"];
    done(&server, &unbind);
    assert_eq!(refused(&server, &unbind).0, Some(1), "it is gone");
    assert_eq!(
        done(&server, &["queue", "delete", "billing", "--dry-run"]),
        "would delete queue billing (0 messages)\n"
    );
    done(&server, &["queue", "delete", "billing", "billing.new", "--yes"]);
    assert_eq!(listed(&server, &["queue", "list"]), json!([]));
    done(&server, &["exchange", "delete", "orders", "--yes"]);
    assert_eq!(listed(&server, &["exchange", "list"]), json!([]));
}

#[test]
fn commands_that_are_called_wrongly_or_find_nothing_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let (code, error) = refused(&server, &["queue", "describe", "nothing"]);
    assert_eq!((code, error.as_str()), (Some(1), "annals: no queue \"nothing\" in this virtual host\n"));
    for args in
        [&["queue", "move", "a"][..], &["queue", "delete", "a"], &["binding", "add", "x"], &["queue", "peek"]]
    {
        assert_eq!(refused(&server, args).0, Some(2), "{args:?}");
    }
    let (code, error) = refused(&server, &["queue", "list", "--user", "guest:wrong"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("Login failed") && error.contains("--user"), "{error}");
    let (code, error) = refused(&server, &["queue", "list", "--vhost", "nowhere"]);
    assert_eq!(code, Some(1), "{error}");
}

#[test]
fn dead_letters_are_found_looked_at_and_sent_back() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    bury(&server, "billing", 3);
    let found = listed(&server, &["dlq", "list"]);
    assert_eq!(found, json!([{"queue": "graveyard", "messages": 3, "from": ["billing"]}]));
    let table = done(&server, &["dlq", "peek", "graveyard"]);
    assert_eq!(table.matches("billing: rejected").count(), 3, "{table}");

    let preview = listed(&server, &["dlq", "redrive", "graveyard", "--dry-run"]);
    assert_eq!(
        preview,
        json!({"messages": 3, "targets": [{"queue": "billing", "messages": 3}], "unroutable": 0})
    );
    assert_eq!((ready(&server, "graveyard"), ready(&server, "billing")), (3, 0), "nothing has moved");

    let moved = done(&server, &["dlq", "redrive", "graveyard", "--max", "2"]);
    assert_eq!(moved, "moved 2 messages from queue graveyard\n");
    assert_eq!(bodies(&server, "billing"), ["0", "1"]);
    assert_eq!(bodies(&server, "graveyard"), ["2"]);
    done(&server, &["queue", "declare", "elsewhere"]);
    done(&server, &["dlq", "redrive", "graveyard", "--to", "elsewhere"]);
    assert_eq!((ready(&server, "graveyard"), bodies(&server, "elsewhere")), (0, vec!["2".to_owned()]));
}

#[test]
fn a_redrive_that_is_killed_loses_and_doubles_nothing() {
    const COUNT: u32 = 200;
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start_on_lasting_port(directory.path(), &[]);
    bury(&server, "billing", COUNT);
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.args(["dlq", "redrive", "graveyard", "--rate", "10", "--server", server.http()]);
    let mut redrive = command.stdout(Stdio::null()).spawn().unwrap();
    eventually("some messages are back", WITHIN, || ready(&server, "billing") > 0);
    redrive.kill().unwrap();
    redrive.wait().unwrap();
    // The server goes on without the command that asked for it.
    let before = ready(&server, "billing");
    eventually("more messages are back", WITHIN, || ready(&server, "billing") > before);
    assert!(ready(&server, "billing") < u64::from(COUNT), "killed too late to see anything");
    server.kill();
    server.restart();
    // And it goes on after the restart.
    eventually("all messages are back", WITHIN, || ready(&server, "billing") == u64::from(COUNT));
    assert_eq!(ready(&server, "graveyard"), 0);
    let back = bodies(&server, "billing");
    assert_eq!(back.len(), COUNT as usize);
    let all: BTreeSet<String> = (0..COUNT).map(|number| number.to_string()).collect();
    assert_eq!(back.into_iter().collect::<BTreeSet<_>>(), all);
}

#[test]
fn what_is_not_due_yet_is_shown_and_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let exchange = json!({"type": "x-delayed-message", "arguments": {"x-delayed-type": "fanout"}});
    assert_eq!(server.api("PUT", "/api/exchanges/%2F/later", Some(&exchange)).0, 201);
    assert_eq!(listed(&server, &["queue", "scheduled"]), json!([]));
    for body in ["one", "two"] {
        let message = json!({
            "routing_key": "k", "payload": body, "payload_encoding": "string",
            "properties": {"delivery_mode": 2, "headers": {"x-delay": 3_600_000}},
        });
        assert_eq!(server.api("POST", "/api/exchanges/%2F/later/publish", Some(&message)).0, 200);
    }
    let table = done(&server, &["queue", "scheduled"]);
    assert!(table.contains("59m") && table.contains("later") && table.contains("two"), "{table}");
    let scheduled = listed(&server, &["queue", "scheduled", "-n", "1"]);
    let sequence = scheduled[0]["sequence"].to_string();
    let cancel = ["queue", "cancel", &sequence];
    assert_eq!(refused(&server, &cancel).0, Some(2), "there is no terminal to ask on");
    assert_eq!(
        done(&server, &[&cancel[..], &["--dry-run"]].concat()),
        "would delete 1 scheduled message of queue amq.delayed\n"
    );
    let cancel = [&cancel[..], &["--yes"]].concat();
    assert_eq!(done(&server, &cancel), format!("cancelled message {sequence}\n"));
    let (code, error) = refused(&server, &cancel);
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("no scheduled message {sequence} in queue \"amq.delayed\"")), "{error}");
    assert_eq!(listed(&server, &["queue", "scheduled"])[0]["payload"], "two");
}
