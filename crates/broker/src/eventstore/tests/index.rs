//! Indexes in files: found again, lost, damaged, built while the store goes on.

use std::path::Path;

use annals_clock::Clock;
use annals_journal::Files;

use super::*;
use crate::{Broker, Options};

fn open(files: &FaultFiles, directory: &Path) -> Broker {
    let options = Options { index_directory: Some(directory.to_owned()), ..Options::default() };
    let journal = annals_journal::Options { segment_bytes: 1 << 20, ..annals_journal::Options::default() };
    let files = Arc::new(files.clone()) as Arc<dyn Files>;
    Broker::open(options, journal, files, Clock::system()).unwrap()
}

/// Everything that can be asked, in one text.
async fn answers(broker: &Broker) -> String {
    let caller = crate::api::Caller::internal();
    let mut text = String::new();
    for selection in [
        Selection::All,
        Selection::Stream(name("account-1")),
        Selection::Category("account".into()),
        Selection::Type("Opened".into()),
        Selection::Tag("even".into()),
    ] {
        for direction in [Direction::Forward, Direction::Backward] {
            let request =
                ReadEvents { direction, limit: 10_000, ..ReadEvents::new(STORE, selection.clone()) };
            let read = broker.read_events(&caller, request).await.unwrap();
            read.events.iter().for_each(|event| text += &format!("{} {}\n", event.position(), label(event)));
        }
    }
    text
}

async fn fill(broker: &Broker, count: usize) {
    let caller = crate::api::Caller::internal();
    let clock = Clock::system();
    for n in 0..count {
        let event = Event::builder("/bank", ["Opened", "Deposited"][n % 2]).build(&clock).unwrap();
        let tags = if n % 2 == 0 { vec!["even".into()] } else { Vec::new() };
        let new = NewEvent { tags, ..event.into() };
        let stream = name(["account-1", "account-2", "order-1"][n % 3]);
        let request = AppendEvents::to_stream(STORE, stream, Expected::Any, vec![new]);
        broker.append_events(&caller, request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_or_damaged_index_is_built_again_with_the_same_answers() {
    let (files, directory) = (FaultFiles::new(), tempfile::tempdir().unwrap());
    let broker = open(&files, directory.path());
    let caller = crate::api::Caller::internal();
    broker.create_store(&caller, STORE).await.unwrap();
    fill(&broker, 600).await;
    broker.inner.state.stores.by_name(STORE).unwrap().flush().unwrap();
    fill(&broker, 60).await;
    let expected = answers(&broker).await;
    broker.close();
    drop(broker);
    for damage in 0..4 {
        let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let mut bytes = std::fs::read(&file).unwrap();
        match damage {
            0 => {}
            1 => std::fs::remove_file(&file).unwrap(),
            2 => std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap(),
            _ => {
                // Every page has some of its bits flipped.
                bytes.iter_mut().skip(4096).step_by(97).for_each(|byte| *byte ^= 0x10);
                std::fs::write(&file, &bytes).unwrap();
            }
        }
        let broker = open(&files, directory.path());
        let store = broker.inner.state.stores.by_name(STORE).unwrap();
        // Before the index is built, by the log, and then by the index.
        assert_eq!(store.index().is_some(), damage == 0, "damage {damage}");
        assert_eq!(answers(&broker).await, expected, "damage {damage}");
        broker.inner.rebuild(&store).unwrap();
        assert_eq!(answers(&broker).await, expected, "damage {damage}");
        store.flush().unwrap();
        broker.close();
        drop(store);
        drop(broker);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "damage {damage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_built_while_the_store_goes_on() {
    let (files, directory) = (FaultFiles::new(), tempfile::tempdir().unwrap());
    let broker = open(&files, directory.path());
    let caller = crate::api::Caller::internal();
    broker.create_store(&caller, STORE).await.unwrap();
    fill(&broker, 300).await;
    let (building, filling) = (broker.clone(), broker.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let store = STORE.into();
        for _ in 0..5 {
            building.rebuild_store_index(&crate::api::Caller::internal(), &store).await.unwrap();
        }
    });
    tasks.spawn(async move { fill(&filling, 600).await });
    tasks.join_all().await;
    let all =
        broker.read_events(&caller, ReadEvents { limit: 10_000, ..ReadEvents::new(STORE, Selection::All) });
    let all = all.await.unwrap().events;
    assert_eq!(all.len(), 900);
    let read = ReadEvents { limit: 10_000, ..ReadEvents::new(STORE, Selection::Type("Opened".into())) };
    assert_eq!(broker.read_events(&caller, read).await.unwrap().events.len(), 450);
    broker.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_serves_before_its_index_is_built() {
    let (files, directory) = (FaultFiles::new(), tempfile::tempdir().unwrap());
    let caller = crate::api::Caller::internal();
    let broker = open(&files, directory.path());
    broker.create_store(&caller, STORE).await.unwrap();
    fill(&broker, 300).await;
    let expected = answers(&broker).await;
    broker.close();
    drop(broker);
    std::fs::remove_dir_all(directory.path()).unwrap();

    let broker = open(&files, directory.path());
    let indexed = async || broker.stores(&caller).await[0].indexed;
    assert_eq!(indexed().await, Position(0), "it says how far it is");
    assert_eq!(answers(&broker).await, expected);
    let names = |names| ListNames { names, ..list_all() };
    let streams = broker.list_names(&caller, names(Names::Streams)).await.unwrap();
    assert_eq!(streams, ["account-1", "account-2", "order-1"]);
    assert_eq!(broker.list_names(&caller, names(Names::Categories)).await.unwrap(), ["account", "order"]);
    // 300 events went to three streams in turn.
    let append = |expected, id: &str| {
        let event = Event::builder("/bank", "Closed").id(id).build(&Clock::system()).unwrap();
        AppendEvents::to_stream(STORE, name("account-1"), expected, vec![event.into()])
    };
    let refused = broker.append_events(&caller, append(exact(98), "a")).await;
    assert!(matches!(refused, Err(AppendEventsError::Conflict { .. })), "{refused:?}");
    let none_opened = Condition { query: Query::of_type("Opened"), after: None };
    let guarded = AppendEvents { conditions: vec![none_opened], ..append(exact(99), "b") };
    let refused = broker.append_events(&caller, guarded).await;
    assert!(
        matches!(refused, Err(AppendEventsError::ConditionFailed { position: Position(0), .. })),
        "{refused:?}"
    );
    let appended = broker.append_events(&caller, append(exact(99), "c")).await.unwrap();
    assert_eq!((appended.last_revisions[0], appended.repeated), (Revision(100), false));
    let again = broker.append_events(&caller, append(exact(99), "c")).await.unwrap();
    assert_eq!((again.last_revisions[0], again.repeated), (Revision(100), true));
    let expected = answers(&broker).await;

    let (running, mut background) = (broker.clone(), JoinSet::new());
    background.spawn(async move { running.run(std::future::pending()).await });
    // It is read up to its end a moment before it is put in place.
    let in_place = || broker.inner.state.stores.by_name(STORE).unwrap().index().is_some();
    while !in_place() || indexed().await < Position(301) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(answers(&broker).await, expected);
    assert_eq!(broker.list_names(&caller, names(Names::Streams)).await.unwrap(), streams);
    background.shutdown().await;
    broker.close();
}

fn list_all() -> ListNames {
    ListNames {
        store: STORE.into(),
        names: Names::Streams,
        prefix: String::new(),
        after: None,
        limit: 100,
        with_system: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_left_the_memory_without_an_index_is_still_found() {
    let (files, directory) = (FaultFiles::new(), tempfile::tempdir().unwrap());
    let caller = crate::api::Caller::internal();
    let broker = open(&files, directory.path());
    broker.create_store(&caller, STORE).await.unwrap();
    fill(&broker, 150).await;
    let store = broker.inner.state.stores.by_name(STORE).unwrap();
    let expected = answers(&broker).await;
    let error = annals_eventstore::index::TableError::Storage("the disk is gone".to_owned());
    store.set_broken(&error);
    for cut in [0, 1, 100, 150] {
        store.lock().indexed_to(Position(cut));
        assert_eq!(answers(&broker).await, expected, "{cut} events left the memory");
    }
    fill(&broker, 3).await;
    let expected = answers(&broker).await;
    broker.inner.rebuild(&store).unwrap();
    assert_eq!(store.lock().tail_len(), 0);
    assert_eq!(answers(&broker).await, expected);
    broker.close();
}

#[tokio::test]
async fn an_index_that_was_not_finished_does_not_stand_in_for_one_that_was() {
    let (files, directory) = (FaultFiles::new(), tempfile::tempdir().unwrap());
    let caller = crate::api::Caller::internal();
    let broker = open(&files, directory.path());
    broker.create_store(&caller, STORE).await.unwrap();
    fill(&broker, 30).await;
    let expected = answers(&broker).await;
    let store = broker.inner.state.stores.by_name(STORE).unwrap();
    store.flush().unwrap();
    // As if the process had ended while another was being built.
    drop(broker.inner.state.stores.tables.create(store.id).unwrap());
    broker.close();
    drop((store, broker));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    let broker = open(&files, directory.path());
    assert!(broker.inner.state.stores.by_name(STORE).unwrap().index().is_some());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    assert_eq!(answers(&broker).await, expected);
    broker.close();
}
