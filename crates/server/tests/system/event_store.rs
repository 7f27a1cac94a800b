//! The library over a server: what every store must do, and what kills of the server do to it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use annals::store::{
    Append, AppendError, Expected, Metadata, NewEvent, Read, Revision, Signal, StreamName, conformance,
};
use annals::{Annals, Clock, Decider, Event, EventStore, SnapshotPolicy};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::clients::{Dice, PATIENCE};
use crate::server::{Server, Watch};

#[derive(Debug, Event, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    #[event(name = "MoneyDeposited")]
    Deposited { amount: u64 },
}

pub(crate) struct Account;

impl Decider for Account {
    type Command = u64;
    type Event = AccountEvent;
    type State = u64;
    type Error = std::convert::Infallible;
    const CATEGORY: &'static str = "account";

    fn decide(amount: &u64, _: &u64) -> Result<Vec<AccountEvent>, Self::Error> {
        Ok(vec![AccountEvent::Deposited { amount: *amount }])
    }

    fn evolve(balance: u64, event: &AccountEvent) -> u64 {
        let AccountEvent::Deposited { amount } = event;
        balance + amount
    }
}

async fn connect(server: &Server, name: &str) -> EventStore {
    Annals::connect(&server.url()).await.unwrap().store(name).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_a_server_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let annals = Annals::connect(&server.url()).await.unwrap();
    let number = Cell::new(0);
    conformance::run(async || {
        number.set(number.get() + 1);
        let store = annals.store(format!("s{}", number.get())).await.unwrap();
        Arc::clone(store.raw())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_snapshots_and_the_past_are_there_for_all_connections() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let annals = Annals::connect(&server.url()).await.unwrap();
    let store = annals.store("bank").snapshots::<Account>(SnapshotPolicy::every_events(10)).await.unwrap();
    for number in 1..=25 {
        let done = store.execute::<Account>("1", number).idempotency_key(number.to_string()).await.unwrap();
        assert_eq!(done.state, number * (number + 1) / 2);
    }
    let loaded = store.load::<Account>("1").await.unwrap();
    assert!(loaded.state == 325 && loaded.events_read < 10, "{} read", loaded.events_read);
    let other = connect(&server, "bank").await;
    let again = other.execute::<Account>("1", 7).idempotency_key("7").await.unwrap();
    assert!(again.duplicate);
    assert_eq!((again.state, again.revision), (325, Some(Revision(6))));
    assert_eq!(other.load::<Account>("1").at_revision(3).await.unwrap().state, 10);
    let events = other.read::<AccountEvent>(Read::all()).await.unwrap();
    assert_eq!(events.len(), 25, "snapshots are nobody's business");
}

const WRITERS: u64 = 4;
const EACH: u64 = 150;
const KILLS: u64 = 4;

fn numbered(clock: &Clock, number: u64) -> NewEvent {
    NewEvent {
        id: clock.uuid_v7().to_string(),
        name: format!("E{number}"),
        version: 1,
        data: "{}".into(),
        tags: Vec::new(),
        metadata: Metadata::default(),
        encrypt_for: None,
    }
}

/// Appends one event after the other. Every second stream is written to without saying what is expected.
async fn write(store: EventStore, writer: u64) {
    let clock = Clock::system();
    let stream = StreamName::of("w", &writer.to_string()).unwrap();
    for number in 0..EACH {
        let expected = match number.checked_sub(1) {
            _ if writer.is_multiple_of(2) => Expected::Any,
            None => Expected::NoStream,
            Some(before) => Expected::Exact(Revision(before)),
        };
        let append = Append::to(stream.clone(), expected, vec![numbered(&clock, number)]);
        let done = store.raw().append(append).await.unwrap();
        assert_eq!(done.revisions, [(stream.clone(), Revision(number))]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Follows everything until all writers are done.
async fn follow(store: EventStore) -> BTreeMap<String, Vec<String>> {
    let mut subscription = store.subscribe(Read::category("w").limit(10));
    let mut seen = BTreeMap::<String, Vec<String>>::new();
    while seen.values().map(Vec::len).sum::<usize>() < (WRITERS * EACH) as usize {
        match subscription.next().await {
            Ok(Signal::Event(event)) => seen.entry(event.stream.to_string()).or_default().push(event.name),
            Ok(Signal::CaughtUp(_)) => {}
            // It goes on where it was.
            Err(error) => eprintln!("the subscription waits: {error}"),
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_appends_nothing_is_lost_or_stored_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start_on_lasting_http_port(directory.path());
    let store = connect(&server, "bank").await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(store.clone(), writer));
    }
    let mut followers = JoinSet::new();
    followers.spawn(follow(store.clone()));
    let mut dice = Dice(7);
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(150 + dice.below(150))).await;
        server = tokio::task::spawn_blocking(move || {
            server.kill();
            server.restart();
            server
        })
        .await
        .unwrap();
    }
    writers.join_all().await;
    let wanted: Vec<String> = (0..EACH).map(|number| format!("E{number}")).collect();
    let seen = followers.join_all().await.remove(0);
    assert_eq!(seen.len() as u64, WRITERS);
    for (stream, names) in seen {
        assert_eq!(names, wanted, "as {stream} was followed");
        let read = Read::stream(StreamName::new(stream.as_str()).unwrap());
        let events = store.raw().read(read).await.unwrap().events;
        assert!(events.iter().map(|event| &event.name).eq(&wanted), "as {stream} is read");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told_with_its_address() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start_on_lasting_http_port(directory.path());
    let options =
        annals::client::ClientOptions { retry_for: Duration::from_millis(50), ..Default::default() };
    let annals = Annals::connect_with(&server.url(), options).await.unwrap();
    let store = annals.store("bank").await.unwrap();
    server.kill();
    let stream = StreamName::of("w", "1").unwrap();
    let append = Append::to(stream, Expected::Any, vec![numbered(&Clock::system(), 0)]);
    let error = store.raw().append(append).await.unwrap_err();
    // Unknown, if the request went into a connection whose end the client had not seen yet.
    let (AppendError::Unavailable { reason } | AppendError::Unknown { reason }) = &error else {
        panic!("{error:?}")
    };
    assert!(reason.contains(&server.url()), "{reason}");
    // There may be more connections of that kind.
    let watch = Watch::start();
    while !store.head().await.unwrap_err().to_string().contains("cannot be reached") {
        assert!(watch.passed() < PATIENCE, "it is away, and not told so");
    }
    assert!(Annals::connect_with(&server.url(), options).await.is_err());
}
