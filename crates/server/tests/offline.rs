//! The command line as a user meets it before there is a broker: help, wrong calls, exit codes, checks.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

/// Runs `annals` with `args`, without any of its environment variables and without a terminal.
fn annals(args: &[&str]) -> Output {
    annals_with_input(args, "")
}

#[expect(clippy::unwrap_used, reason = "a test helper")]
fn annals_with_input(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    for name in
        ["ANNALS_BOOTSTRAP_SERVER", "ANNALS_COMMAND_CONFIG", "ANNALS_SERVER", "ANNALS_STORE", "ANNALS_LOG"]
    {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_command_has_help_with_an_example() {
    let commands = [
        &["topic", "create"][..],
        &["topic", "list"],
        &["topic", "describe"],
        &["topic", "alter"],
        &["topic", "delete"],
        &["produce"],
        &["consume"],
        &["group", "list"],
        &["group", "describe"],
        &["group", "reset"],
        &["group", "delete"],
        &["store", "create"],
        &["store", "list"],
        &["store", "describe"],
        &["store", "delete"],
        &["store", "export"],
        &["store", "import"],
        &["store", "scavenge"],
        &["stream", "list"],
        &["stream", "read"],
        &["stream", "append"],
        &["stream", "metadata"],
        &["stream", "delete"],
        &["projection", "list"],
        &["projection", "rebuild"],
        &["projection", "pause"],
        &["projection", "resume"],
        &["subscription", "create"],
        &["subscription", "list"],
        &["subscription", "describe"],
        &["subscription", "alter"],
        &["subscription", "read"],
        &["subscription", "parked"],
        &["subscription", "replay-parked"],
        &["subscription", "discard-parked"],
        &["subscription", "delete"],
        &["bench"],
        &["doctor"],
        &["dev"],
        &["completion"],
    ];
    for command in commands {
        let output = annals(&[command, &["--help"]].concat());
        assert_eq!(code(&output), Some(0), "{command:?}");
        let example = format!("annals {}", command.join(" "));
        let text = stdout(&output);
        assert!(text.contains("Examples:") && text.contains(&example), "{command:?}: {text}");
    }
}

#[test]
fn wrong_calls_exit_with_2() {
    for args in [&[][..], &["nonsense"], &["topic", "create"], &["consume", "orders", "--from", "soon"]] {
        assert_eq!(code(&annals(args)), Some(2), "{args:?}");
    }
}

#[test]
fn a_closed_port_is_reported_with_what_to_do() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    for args in
        [&["topic", "list"][..], &["consume", "orders"], &["group", "list"], &["bench", "produce"], &["dev"]]
    {
        let output = annals(&[args, &["--bootstrap-server", &address]].concat());
        assert_eq!(code(&output), Some(1), "{args:?}");
        let expected =
            format!("annals: cannot reach a broker at {address}: connection refused; start one with");
        assert!(stderr(&output).starts_with(&expected), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_server_that_is_not_there_is_reported_with_what_to_do() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("http://127.0.0.1:{port}");
    let commands = [
        &["store", "list"][..],
        &["stream", "list"],
        &["stream", "read", "--all"],
        &["projection", "list"],
        &["subscription", "list"],
    ];
    for args in commands {
        let output = annals(&[args, &["--server", &address]].concat());
        assert_eq!(code(&output), Some(1), "{args:?}");
        let text = stderr(&output);
        let expected = format!("annals: the server at {address} cannot be reached: ");
        assert!(text.starts_with(&expected) && text.contains("is `annals serve` running there?"), "{text}");
        let output = annals(&[args, &["--server", "https://127.0.0.1"]].concat());
        assert_eq!(code(&output), Some(2), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn deleting_without_a_terminal_needs_yes() {
    for kind in ["topic", "group", "store", "stream", "subscription"] {
        let output = annals(&[kind, "delete", "precious"]);
        assert_eq!(code(&output), Some(2));
        assert!(stderr(&output).contains("--yes"), "{}", stderr(&output));
    }
}

#[test]
fn a_wrong_properties_file_names_file_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client.properties");
    std::fs::write(&path, "acks=all\nlingr.ms=5\n").unwrap();
    let output = annals(&["topic", "list", "--command-config", path.to_str().unwrap()]);
    assert_eq!(code(&output), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("client.properties: line 2: \"lingr.ms\"") && text.contains("\"linger.ms\""),
        "{text}"
    );
}

#[test]
fn a_dry_run_of_produce_needs_no_broker_and_names_the_line() {
    let input = "{\"id\":1}\n{\"id\":2}\n[3]\n";
    let output = annals_with_input(&["produce", "orders", "--json", "--dry-run"], input);
    assert_eq!(code(&output), Some(1));
    assert!(stderr(&output).contains("line 3: not a JSON object but an array"), "{}", stderr(&output));
    let output = annals_with_input(&["produce", "orders", "--json", "--dry-run", "--skip-invalid"], input);
    assert_eq!(code(&output), Some(0));
    assert_eq!(stderr(&output), "would send 2 records and skip 1 line\n");
}

#[test]
fn an_event_type_in_the_present_tense_draws_advice_and_nothing_worse() {
    let args = ["produce", "orders", "--dry-run", "--event-type", "PlaceOrder"];
    let output = annals_with_input(&args, "x\n");
    assert_eq!(code(&output), Some(0));
    assert!(stderr(&output).contains("OrderPlaced"), "{}", stderr(&output));
    let output = annals_with_input(&["produce", "orders", "--dry-run", "--event-type", "OrderPlaced"], "x\n");
    assert!(!stderr(&output).contains("advice"), "{}", stderr(&output));
}

#[test]
fn completion_scripts_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = annals(&["completion", shell]);
        assert_eq!(code(&output), Some(0));
        assert!(stdout(&output).contains("consume"), "{shell}");
    }
}

#[test]
fn doctor_writes_json_and_fails_where_nothing_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let output = annals(&["doctor", "--data-dir", directory.path().to_str().unwrap(), "-o", "json"]);
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> =
        checks.as_array().unwrap().iter().filter_map(|check| check["check"].as_str()).collect();
    assert!(names.contains(&"disk sync") && names.contains(&"port 9092"), "{names:?}");
    let output = annals(&["doctor", "--data-dir", "/proc"]);
    assert_eq!(code(&output), Some(1));
}
