use annals::store::{Append, Expected, Metadata, NewEvent, Read, StreamName};
use annals::{Annals, Clock, EventStore, SnapshotPolicy, Time};

use super::account::{Account, Command, open, with_clock};

async fn store(annals: &Annals, policy: SnapshotPolicy) -> EventStore {
    annals.store("bank").snapshots::<Account>(policy).await.unwrap()
}

async fn events_read(store: &EventStore) -> usize {
    store.load::<Account>("1").await.unwrap().events_read
}

async fn snapshots(store: &EventStore) -> usize {
    let read = Read::stream(StreamName::new("~snapshot-account-1").unwrap());
    store.raw().read(read).await.unwrap().events.len()
}

#[tokio::test]
async fn a_snapshot_shortens_the_way() {
    let store = store(&Annals::in_memory(), SnapshotPolicy::every_events(10)).await;
    open(&store, "1", "C1", &[]).await;
    for _ in 0..24 {
        store.execute::<Account>("1", Command::Deposit(1)).await.unwrap();
    }
    let loaded = store.load::<Account>("1").await.unwrap();
    assert_eq!((loaded.version(), loaded.events_read, loaded.state.balance), (25, 5, 24));
    assert_eq!(snapshots(&store).await, 2);
}

#[tokio::test]
async fn size_counts_as_well() {
    let store = store(&Annals::in_memory(), SnapshotPolicy::every_bytes(200)).await;
    open(&store, "1", "C1", &[]).await;
    for _ in 0..40 {
        store.execute::<Account>("1", Command::Deposit(1)).await.unwrap();
    }
    // An event has 30 bytes: {"amount":1,"customer":"C1"} and the first one 17.
    assert!((4..=6).contains(&snapshots(&store).await), "{}", snapshots(&store).await);
}

#[tokio::test]
async fn many_events_at_once_are_in_one_snapshot() {
    let store = store(&Annals::in_memory(), SnapshotPolicy::every_events(10)).await;
    open(&store, "1", "C1", &[1; 35]).await;
    assert_eq!((events_read(&store).await, snapshots(&store).await), (0, 1));
}

#[tokio::test]
async fn the_past_is_not_seen_through_later_snapshots() {
    let (annals, hand) = with_clock();
    let store = store(&annals, SnapshotPolicy::every_events(5)).await;
    open(&store, "1", "C1", &[]).await;
    for _ in 0..20 {
        hand.advance(std::time::Duration::from_secs(1));
        store.execute::<Account>("1", Command::Deposit(1)).await.unwrap();
    }
    for revision in 0..=20_u64 {
        let loaded = store.load::<Account>("1").at_revision(revision).await.unwrap();
        assert_eq!((loaded.state.balance, loaded.version()), (revision as i64, revision + 1));
        assert!(loaded.events_read < 5, "at revision {revision}: {}", loaded.events_read);
        let time = Time::from_unix_ms(1_700_000_000_000 + revision as i64 * 1000);
        assert_eq!(store.load::<Account>("1").at_time(&time).await.unwrap().state.balance, revision as i64);
    }
}

#[tokio::test]
async fn a_snapshot_of_another_shape_is_passed_over() {
    let annals = Annals::in_memory();
    let first = store(&annals, SnapshotPolicy::every_events(5)).await;
    open(&first, "1", "C1", &[1; 9]).await;
    assert_eq!(events_read(&first).await, 0);
    let second = store(&annals, SnapshotPolicy::every_events(5).shape(2)).await;
    assert_eq!(events_read(&second).await, 10);
    second.execute::<Account>("1", Command::Deposit(1)).await.unwrap();
    assert_eq!(events_read(&second).await, 0);
}

#[tokio::test]
async fn a_snapshot_that_lies_is_not_believed() {
    let store = store(&Annals::in_memory(), SnapshotPolicy::every_events(100)).await;
    open(&store, "1", "C1", &[1; 9]).await;
    let id = Clock::system().uuid_v7();
    let lies = [
        // Of an event that is not at that revision, beyond the end, and no JSON at all.
        format!(
            r#"{{"shape":1,"revision":4,"event_id":"{id}","state":{{"customer":"C1","balance":1000000}}}}"#
        ),
        format!(
            r#"{{"shape":1,"revision":999,"event_id":"{id}","state":{{"customer":"C1","balance":1000000}}}}"#
        ),
        "nonsense".to_owned(),
    ];
    for data in lies {
        take(&store, 2, data).await;
        let loaded = store.load::<Account>("1").await.unwrap();
        assert_eq!((loaded.state.balance, loaded.events_read), (9, 10));
    }
}

/// Those of version 1 were taken of everything.
#[tokio::test]
async fn a_snapshot_that_may_hold_what_is_encrypted_is_passed_over() {
    let store = store(&Annals::in_memory(), SnapshotPolicy::every_events(100)).await;
    open(&store, "1", "C1", &[1; 9]).await;
    let fifth = Read::stream(StreamName::new("account-1").unwrap()).from_revision(4).limit(1);
    let id = &store.raw().read(fifth).await.unwrap().events[0].id;
    let data =
        format!(r#"{{"shape":1,"revision":4,"event_id":"{id}","state":{{"customer":"C1","balance":4}}}}"#);
    for (version, read) in [(1, 10), (2, 5)] {
        take(&store, version, data.clone()).await;
        assert_eq!(events_read(&store).await, read);
    }
}

async fn take(store: &EventStore, version: u32, data: String) {
    let event = NewEvent {
        id: store.clock().uuid_v7().to_string(),
        name: "~SnapshotTaken".to_owned(),
        version,
        data: data.into(),
        tags: vec![],
        metadata: Metadata::default(),
        encrypt_for: None,
    };
    let stream = StreamName::new("~snapshot-account-1").unwrap();
    store.raw().append(Append::to(stream, Expected::Any, vec![event])).await.unwrap();
}
