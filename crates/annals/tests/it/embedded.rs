//! The store in a data directory.

use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use annals::projection::SqliteModel;
use annals::store::{Read, StreamName, conformance};
use annals::{Annals, Clock, OpenError, SnapshotPolicy, StoreError, Time};

use crate::account::{Account, AccountEvent, Command, open};
use crate::inline::{First, wealth};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let annals = Annals::open(directory.path()).await.unwrap();
    let number = std::cell::Cell::new(0);
    conformance::run(async || {
        number.set(number.get() + 1);
        let store = annals.store(format!("s{}", number.get())).await.unwrap();
        std::sync::Arc::clone(store.raw())
    })
    .await;
    annals.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut times = Vec::new();
    for round in 0..3_i64 {
        let annals = Annals::open(directory.path()).await.unwrap();
        let store = annals
            .store("bank")
            .events::<AccountEvent>()
            .snapshots::<Account>(SnapshotPolicy::every_events(10))
            .inline::<First>()
            .await
            .unwrap();
        if round == 0 {
            open(&store, "1", "C1", &[]).await;
        }
        for number in 0..15 {
            let command = store.execute::<Account>("1", Command::Deposit(1));
            command.idempotency_key(format!("{round}/{number}")).await.unwrap();
        }
        let again = store.execute::<Account>("1", Command::Deposit(1)).idempotency_key("0/7").await.unwrap();
        assert!(again.duplicate);
        let loaded = store.load::<Account>("1").await.unwrap();
        assert_eq!((loaded.state.balance, loaded.version()), ((round + 1) * 15, (round as u64 + 1) * 15 + 1));
        assert!(loaded.events_read < 10);
        assert_eq!(wealth::<First>(&store, "C1").await, (1, loaded.state.balance));
        let states = StreamName::new("~view.wealth.v1-C1").unwrap();
        assert_eq!(
            store.raw().read(Read::stream(states)).await.unwrap().events.len(),
            1,
            "older states may go"
        );
        times.push((loaded.state.balance, Time::from_unix_ms(store.clock().now_ms())));
        tokio::time::sleep(Duration::from_millis(5)).await;
        for (balance, time) in &times {
            let then = store.load::<Account>("1").at_time(time).await.unwrap();
            assert_eq!(then.state.balance, *balance);
        }
        annals.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let first = Annals::open(directory.path()).await.unwrap();
    let store = first.store("bank").await.unwrap();
    assert!(matches!(Annals::open(directory.path()).await, Err(OpenError::Lock(_))));
    // A store keeps the data open; with the last handle it is closed.
    drop(first);
    open(&store, "1", "C1", &[5]).await;
    drop(store);
    let second = Annals::open(directory.path()).await.unwrap();
    let store = second.store("bank").await.unwrap();
    assert_eq!(store.load::<Account>("1").await.unwrap().state.balance, 5);
    second.close().await;
    assert!(store.execute::<Account>("1", Command::Deposit(1)).await.is_err());
    assert!(matches!(second.store("other").await, Err(StoreError::Unavailable { .. })));
}

const PATH: &str = "ANNALS_TEST_EMBEDDED_PATH";

/// Not a test of its own: what the test below starts. Says the balance that it finds, and each that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let Ok(path) = std::env::var(PATH) else { return };
    let path = Path::new(&path);
    let annals = Annals::open(path.join("data")).await.unwrap();
    let store = annals.store("bank").inline::<First>().await.unwrap();
    let projection = store.project(SqliteModel::new(path.join("models.db"), crate::sqlite::Balances::<1>));
    if !store.load::<Account>("1").await.unwrap().exists() {
        open(&store, "1", "C1", &[]).await;
    }
    let mut balance = store.load::<Account>("1").await.unwrap().state.balance;
    loop {
        std::fs::write(path.join("acknowledging"), balance.to_string()).unwrap();
        std::fs::rename(path.join("acknowledging"), path.join("acknowledged")).unwrap();
        balance = store.execute::<Account>("1", Command::Deposit(1)).await.unwrap().state.balance;
        assert!(projection.status().error.is_none());
    }
}

/// What the process said last.
fn acknowledged(path: &Path) -> i64 {
    std::fs::read_to_string(path.join("acknowledged")).map_or(0, |text| text.parse().unwrap())
}

/// Waits until the process has deposited something.
async fn deposited_since(path: &Path, before: i64) {
    for _ in 0..6_000 {
        // One more may be what the process before has left.
        if acknowledged(path) > before + 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the process deposits nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (clock, _) = Clock::manual(0, 13);
    for _ in 0..6 {
        let before = acknowledged(path);
        let mut process = Process::new(std::env::current_exe().unwrap());
        process.args(["--exact", "embedded::the_process_that_is_killed"]).env(PATH, path);
        let mut process = process.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        deposited_since(path, before).await;
        tokio::time::sleep(Duration::from_millis(clock.random() % 400)).await;
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let annals = Annals::open(path.join("data")).await.unwrap();
    let store = annals.store("bank").inline::<First>().await.unwrap();
    let balance = store.load::<Account>("1").await.unwrap().state.balance;
    let acknowledged = acknowledged(path);
    assert!(balance >= acknowledged && balance <= acknowledged + 1, "{balance} {acknowledged}");
    assert_eq!(wealth::<First>(&store, "C1").await, (1, balance));
    let events = store.read::<AccountEvent>(Read::category("account")).await.unwrap();
    assert_eq!(events.len() as i64, balance + 1);
    let projection = store.project(SqliteModel::new(path.join("models.db"), crate::sqlite::Balances::<1>));
    projection.wait_for(store.head().await.unwrap().unwrap()).await.unwrap();
    assert_eq!(crate::sqlite::total(&path.join("models.db"), "C1"), balance);
    annals.close().await;
}
