//! The commands for event stores, as a user calls them, against a server.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use annals::projection::{LiveView, ProjectionOptions, Reports};
use annals::{Annals, Envelope};
use serde_json::{Value, json};

use crate::event_store::{Account, AccountEvent};
use crate::server::{Server, annals, eventually};

struct Shell {
    server: Server,
    directory: tempfile::TempDir,
}

impl Shell {
    /// A server with one empty store, `bank`.
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let shell = Self { server: Server::start(&directory.path().join("data")), directory };
        assert_eq!(shell.run(&["store", "create", "bank"]), "created store bank\n");
        shell
    }

    fn call(&self, args: &[&str]) -> Output {
        annals(&[args, &["--server", &self.server.url()]].concat())
    }

    /// What a command prints that succeeds.
    fn run(&self, args: &[&str]) -> String {
        let output = self.call(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command says that fails.
    fn fail(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[args, &["-o", "json"]].concat())).unwrap()
    }

    /// What a command prints as one JSON object a line.
    fn lines(&self, args: &[&str]) -> Vec<Value> {
        let text = self.run(&[args, &["-o", "json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn append(&self, stream: &str, name: &str, data: &str) {
        self.run(&["stream", "append", stream, "--store", "bank", "--type", name, "--data", data]);
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }
}

fn amounts(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["data"]["amount"].as_i64().unwrap()).collect()
}

#[test]
fn a_stream_is_read_as_it_was() {
    let shell = Shell::start();
    for amount in [100, 50, -30] {
        shell.append("account-1", "MoneyMoved", &format!("{{\"amount\": {amount}}}"));
        std::thread::sleep(Duration::from_millis(5));
    }
    let read = ["stream", "read", "account-1", "--store", "bank"];
    let with = |more: &[&str]| amounts(&shell.lines(&[&read, more].concat()));
    assert_eq!(with(&[]), [100, 50, -30]);
    assert_eq!(with(&["--revision", "1"]), [100, 50]);
    let recorded = shell.lines(&read)[1]["recorded"].as_str().unwrap().to_owned();
    assert_eq!(with(&["--at", &recorded]), [100, 50]);
    assert_eq!(with(&["--since", &recorded]), [50, -30]);
    assert_eq!(with(&["--at", "10m ago"]), [0; 0]);
    assert_eq!(with(&["--from", "1"]), [50, -30]);
    assert_eq!(with(&["--backward", "-n", "2"]), [-30, 50]);
    assert_eq!(with(&["--backward", "--revision", "1"]), [50, 100]);
    let table = shell.run(&read);
    assert!(table.starts_with("REVISION  RECORDED") && table.contains("{\"amount\": 50}"), "{table}");
    let category = shell.lines(&["stream", "read", "--category", "account", "--store", "bank"]);
    assert_eq!(amounts(&category), [100, 50, -30]);
    let mistyped = shell.fail(&["stream", "read", "acount-1", "--store", "bank"]);
    assert!(mistyped.contains("did you mean \"account-1\"?"), "{mistyped}");
    let mistyped = shell.fail(&["stream", "list", "--store", "bnak"]);
    assert!(mistyped.contains("did you mean \"bank\"?"), "{mistyped}");
}

#[test]
fn an_append_says_what_it_expects() {
    let shell = Shell::start();
    let append = ["stream", "append", "account-1", "--store", "bank"];
    let opened = ["--type", "Opened", "--data", "{}", "--expected", "no_stream"];
    let first = [&append[..], &opened, &["--id", "first"]].concat();
    let done = "appended 1 event to account-1, up to revision 0, position 0\n";
    assert_eq!(shell.run(&first), done);
    assert_eq!(shell.run(&first), format!("had {done}"));
    let refused = shell.fail(&[&append[..], &opened].concat());
    assert!(refused.contains("account-1") && refused.contains("no stream"), "{refused}");
    let file = shell.file("events.jsonl");
    let events = "{\"type\":\"A\",\"tags\":[\"customer:C1\"],\"data\":{\"a\":1}}\n\n{\"type\":\"B\"}\n";
    std::fs::write(&file, events).unwrap();
    let done = shell.json(&[&append[..], &["--file", &file, "--expected", "0"]].concat());
    assert_eq!((&done["last_position"], &done["streams"][0]["last_revision"]), (&json!(2), &json!(2)));
    let tagged = shell.lines(&["stream", "read", "--tag", "customer:C1", "--store", "bank"]);
    assert_eq!((tagged.len(), &tagged[0]["data"]), (1, &json!({"a": 1})));
    std::fs::write(&file, "{\"type\":\"A\"}\n{\"typ\":\"B\"}\n").unwrap();
    let wrong = shell.fail(&[&append[..], &["--file", &file]].concat());
    assert!(wrong.contains("line 2: this is no event"), "{wrong}");
    let no_json = shell.call(&[&append[..], &["--type", "A", "--data", "{"]].concat());
    assert_eq!(no_json.status.code(), Some(2));
}

#[test]
fn streams_are_listed_limited_and_deleted() {
    let shell = Shell::start();
    for (stream, count) in [("account-1", 3), ("account-2", 1), ("order-1", 1)] {
        for number in 0..count {
            shell.append(stream, "Happened", &format!("{{\"amount\": {number}}}"));
        }
    }
    let list = |more: &[&str]| shell.json(&[&["stream", "list", "--store", "bank"], more].concat());
    assert_eq!(list(&[]), json!(["account-1", "account-2", "order-1"]));
    assert_eq!(list(&["--prefix", "account-", "-n", "1"]), json!(["account-1"]));
    assert_eq!(list(&["--categories"]), json!(["account", "order"]));
    assert_eq!(list(&["--types"]), json!(["Happened"]));
    let metadata = ["stream", "metadata", "account-1", "--store", "bank"];
    let shown = shell.run(&[&metadata[..], &["--max-count", "2", "--set", "{\"owner\":\"ops\"}"]].concat());
    assert_eq!(shown, "stream account-1: metadata at revision 0\n  max-count=2\n  owner=\"ops\"\n");
    let long = list(&["--prefix", "account-1", "--long"]);
    assert_eq!(long, json!([{"stream": "account-1", "first_revision": 1, "last_revision": 2, "events": 2}]));
    let unset = shell.run(&[&metadata[..], &["--unset", "max-count"]].concat());
    assert_eq!(unset, "stream account-1: metadata at revision 1\n  owner=\"ops\"\n");
    let delete = ["stream", "delete", "account-2", "order-1", "--store", "bank"];
    let dry = shell.run(&[&delete[..], &["--dry-run"]].concat());
    assert_eq!(dry, "would delete account-2 (1 event), order-1 (1 event)\n");
    let deleted = shell.run(&[&delete[..], &["--for-good", "--yes"]].concat());
    assert_eq!(deleted, "deleted stream account-2\ndeleted stream order-1\n");
    assert_eq!(list(&[]), json!(["account-1"]));
    let ended =
        shell.fail(&["stream", "append", "order-1", "--store", "bank", "--type", "A", "--data", "{}"]);
    assert!(ended.contains("order-1"), "{ended}");
    let scavenged = shell.json(&["store", "scavenge", "bank"]);
    assert!(scavenged["bytes_before"].as_u64() >= scavenged["bytes_after"].as_u64(), "{scavenged}");
}

/// What stays the same from store to store.
fn essence(mut event: Value) -> Value {
    let members = event.as_object_mut().unwrap();
    members.remove("position");
    members.remove("recorded");
    event
}

fn events(shell: &Shell, store: &str) -> Vec<Value> {
    let read = ["stream", "read", "--all", "--store", store];
    shell.lines(&read).into_iter().map(essence).collect()
}

#[test]
fn an_export_is_imported_once_however_often() {
    let shell = Shell::start();
    let source = shell.file("source.jsonl");
    // Two streams that take turns, and one with many events in a row.
    for round in 0..3 {
        for stream in ["account-1", "account-2"] {
            shell.append(stream, "Happened", &format!("{{\"amount\":{round}, \"text\":\"für {stream}\"}}"));
        }
    }
    let many: String = (0..1200).map(|n| format!("{{\"type\":\"Counted\",\"data\":{n}}}\n")).collect();
    std::fs::write(&source, many).unwrap();
    shell.run(&["stream", "append", "count-1", "--store", "bank", "--file", &source]);
    shell.run(&["stream", "metadata", "account-2", "--store", "bank", "--max-count", "2"]);
    let file = shell.file("bank.jsonl");
    let exported = shell.call(&["store", "export", "bank", "--file", &file]);
    let said = String::from_utf8_lossy(&exported.stderr).into_owned();
    // One event of account-2 is not shown any more.
    assert!(exported.status.success() && said.starts_with("exported 1,205 events ("), "{said}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 1206, "the last line is the metadata");
    let import = |store: &str, file: &str| {
        let output = shell.call(&["store", "import", store, file]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = import("copy", &file);
    assert!(said.starts_with("imported 1,205 events and the metadata of 1 stream in "), "{said}");
    let said = import("copy", &file);
    assert!(said.starts_with("imported 1,205 events (1,205 there before)"), "{said}");
    check_copy(&shell, "copy");
    // An import that ended in the middle of a batch is begun again.
    let half = shell.file("half.jsonl");
    let lines: Vec<&str> = text.lines().take(650).collect();
    std::fs::write(&half, lines.join("\n")).unwrap();
    import("late", &half);
    let said = import("late", &file);
    assert!(said.starts_with("imported 1,205 events (650 there before)"), "{said}");
    check_copy(&shell, "late");
    // Into a stream that holds something else it does not go.
    shell.run(&["store", "create", "other"]);
    shell.run(&["stream", "append", "account-1", "--store", "other", "--type", "Other", "--data", "{}"]);
    let refused = shell.fail(&["store", "import", "other", &file]);
    assert!(refused.contains("line 1") && refused.contains("--append"), "{refused}");
    assert_eq!(events(&shell, "other").len(), 1);
}

fn check_copy(shell: &Shell, store: &str) {
    let (source, copy) = (events(shell, "bank"), events(shell, store));
    let without_revision = |events: &[Value]| -> Vec<Value> {
        let mut events = events.to_vec();
        for event in &mut events {
            event.as_object_mut().unwrap().remove("revision");
        }
        events
    };
    assert_eq!(copy.len(), 1205);
    // The stream that has lost an event begins anew.
    assert_eq!(without_revision(&copy), without_revision(&source));
    let metadata = shell.json(&["stream", "metadata", "account-2", "--store", store]);
    assert_eq!(metadata["max_count"], json!(2));
}

#[test]
fn stores_are_described_and_deleted() {
    let shell = Shell::start();
    shell.append("account-1", "Opened", "{}");
    let stores = shell.json(&["store", "list"]);
    assert_eq!((stores[0]["name"].as_str(), stores[0]["end"].as_u64()), (Some("bank"), Some(1)));
    let table = shell.run(&["store", "describe", "bank"]);
    assert!(table.starts_with("STORE  EVENTS  STREAMS  FIRST  END  INDEXED\nbank"), "{table}");
    let taken = shell.fail(&["store", "create", "bank"]);
    assert!(taken.contains("cannot create store \"bank\""), "{taken}");
    assert_eq!(shell.run(&["store", "create", "bank", "--if-not-exists"]), "store bank is there already\n");
    assert_eq!(shell.run(&["store", "delete", "bank", "--dry-run"]), "would delete bank (1 event)\n");
    assert_eq!(shell.run(&["store", "delete", "bank", "--yes"]), "deleted store bank\n");
    assert_eq!(shell.json(&["store", "list"]), json!([]));
}

#[test]
fn events_of_a_subscription_are_looked_at_acknowledged_parked_and_replayed() {
    let shell = Shell::start();
    for amount in 0..4 {
        shell.append("account-1", "MoneyMoved", &format!("{{\"amount\": {amount}}}"));
        shell.append("other-1", "Other", "{}");
    }
    let in_bank = |args: &[&str]| -> Vec<String> {
        let args = [&["subscription"], args, &["--store", "bank"]].concat();
        args.into_iter().map(str::to_owned).collect()
    };
    let run = |args: &[&str]| {
        let args = in_bank(args);
        shell.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let taken = |args: &[&str]| -> Vec<i64> {
        let args = in_bank(args);
        let delivered = shell.lines(&args.iter().map(String::as_str).collect::<Vec<_>>());
        amounts(&delivered.into_iter().map(|delivered| delivered["event"].clone()).collect::<Vec<_>>())
    };
    let created = run(&["create", "mailer", "--type", "MoneyMoved", "--ack-timeout", "1m"]);
    assert_eq!(created, "created subscription mailer\n");
    // What was only looked at is given again.
    assert_eq!(taken(&["read", "mailer", "-n", "2"]), [0, 1]);
    assert_eq!(taken(&["read", "mailer", "-n", "1", "--ack"]), [0]);
    assert_eq!(taken(&["read", "mailer", "-n", "1", "--park", "no address"]), [1]);
    assert_eq!(taken(&["read", "mailer", "--ack"]), [2, 3]);
    let parked: Value = serde_json::from_str(&run(&["parked", "mailer", "-o", "json"])).unwrap();
    assert_eq!((parked[0]["position"].as_u64(), parked[0]["reason"].as_str()), (Some(2), Some("no address")));
    assert_eq!(run(&["replay-parked", "mailer"]), "1 parked event of mailer will be given again\n");
    assert_eq!(taken(&["read", "mailer", "--ack"]), [1]);
    let described = run(&["describe", "mailer"]);
    assert!(
        described.starts_with("subscription mailer: type=MoneyMoved\n  ack-timeout=1m00s\n"),
        "{described}"
    );
    assert_eq!(run(&["alter", "mailer", "--deliveries-max", "3"]), "altered subscription mailer\n");
    let list: Value = serde_json::from_str(&run(&["list", "-o", "json"])).unwrap();
    assert_eq!(list[0]["options"]["deliveries_max"], json!(3));
    assert_eq!(list[0]["options"]["ack_timeout_ms"], json!(60_000));
    let unknown = shell.fail(&["subscription", "describe", "mailr", "--store", "bank"]);
    assert!(unknown.contains("did you mean \"mailer\"?"), "{unknown}");
    assert_eq!(run(&["delete", "mailer", "--yes"]), "deleted subscription mailer\n");
}

#[derive(Default)]
struct Total(u64);

impl LiveView for Total {
    type Event = AccountEvent;

    fn apply(&mut self, event: &Envelope<AccountEvent>) {
        let AccountEvent::Deposited { amount } = event.event;
        self.0 += amount;
    }
}

#[test]
fn a_projection_of_another_process_is_seen_paused_and_rebuilt() {
    let shell = Shell::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let reports = Reports::Every(Duration::from_millis(20));
    let (store, view) = runtime.block_on(async {
        let store = Annals::connect(&shell.server.url()).await.unwrap().store("bank").await.unwrap();
        let view = store.live_with::<Total>(ProjectionOptions { reports, ..Default::default() });
        view.ready().await.unwrap();
        (store, view)
    });
    let deposit = |amount| {
        let done = runtime.block_on(async { store.execute::<Account>("1", amount).await });
        done.unwrap().position.unwrap()
    };
    runtime.block_on(view.wait_for(deposit(5))).unwrap();
    let name = std::any::type_name::<Total>();
    let listed = || shell.json(&["projection", "list", "--store", "bank"])[0].clone();
    let within = Duration::from_secs(30);
    eventually("the view is listed as live", within, || {
        let row = listed();
        row["name"] == json!(name) && row["phase"] == json!("live") && row["lag"] == json!(0)
    });
    shell.run(&["projection", "pause", name, "--store", "bank"]);
    eventually("it pauses", within, || listed()["phase"] == json!("paused"));
    deposit(6);
    assert_eq!(view.read(|total| total.0), 5);
    // How far it lags is counted in positions, in which Annals' own events have a share.
    assert!(listed()["lag"].as_u64() >= Some(1));
    shell.run(&["projection", "resume", name, "--store", "bank"]);
    eventually("it goes on", within, || view.read(|total| total.0) == 11);
    let rebuilt = shell.run(&["projection", "rebuild", name, "--store", "bank", "--wait"]);
    assert!(rebuilt.contains("was built anew"), "{rebuilt}");
    runtime.block_on(view.wait_for(deposit(7))).unwrap();
    assert_eq!((view.read(|total| total.0), view.status().generation), (18, 1));
    let unknown = shell.fail(&["projection", "pause", "nobody", "--store", "bank"]);
    assert!(unknown.contains("no projection or reaction nobody has run on store bank"), "{unknown}");
    assert!(Path::new(&shell.file("data")).exists());
}
