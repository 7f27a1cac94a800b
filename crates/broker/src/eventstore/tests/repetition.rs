//! Appends that are made again when the ids of the first time are forgotten.

use annals_eventstore::store::Refused;

use super::*;

impl World {
    /// Lets a store forget the ids of all events that are in its index, as many more events would do.
    async fn forget_ids(&self) {
        let store = self.broker.inner.state.stores.by_name(STORE).unwrap();
        store.lock().forget_ids();
    }

    async fn make(&self, request: &AppendEvents) -> Result<Appended, AppendEventsError> {
        self.broker.append_events(&self.caller, request.clone()).await
    }

    /// Makes an append, and again when its ids are forgotten and others came behind it.
    async fn sent_twice(&self, request: &AppendEvents) -> (Appended, Result<Appended, AppendEventsError>) {
        let first = self.make(request).await.unwrap();
        for _ in 0..2 {
            self.append("other-1", Expected::Any, &["Opened"]).await.unwrap();
        }
        self.forget_ids().await;
        let second = self.make(request).await;
        (first, second)
    }

    fn write(&self, stream: &str, expected: Expected, kinds: &[&str]) -> WriteStream {
        let events = kinds.iter().map(|kind| self.event(kind, &["course:1"])).collect();
        WriteStream { stream: name(stream), expected, events }
    }
}

fn append(writes: Vec<WriteStream>) -> AppendEvents {
    AppendEvents { store: STORE.into(), writes, guards: Vec::new(), conditions: Vec::new() }
}

#[tokio::test]
async fn one_exact_stream_makes_the_whole_append_known_for_good() {
    let world = World::with_store().await;
    world.append("account-1", Expected::NoStream, &["Opened"]).await.unwrap();
    for (exact_stream, number) in [("account-1", 0), ("account-1", 1), ("account-1", 2)] {
        let last = world.broker.inner.state.stores.by_name(STORE).unwrap().lock().stream(exact_stream).last();
        let mut writes = vec![
            world.write("snapshot-1", Expected::Any, &["Snapshot", "Snapshot"]),
            world.write("ledger-1", Expected::Any, &["Booked"]),
        ];
        writes.insert(
            number,
            world.write(exact_stream, Expected::Exact(last.unwrap()), &["Deposited", "Withdrawn"]),
        );
        let (first, second) = world.sent_twice(&append(writes)).await;
        assert_eq!(second, Ok(Appended { repeated: true, ..first }), "the exact one is number {number}");
    }
}

#[tokio::test]
async fn a_stream_that_came_back_is_one_that_was_not_there() {
    let world = World::with_store().await;
    let (caller, store) = (&world.caller, STORE.into());
    for _ in 0..2 {
        let writes = vec![world.write("account-1", Expected::NoStream, &["Opened", "Deposited"])];
        let (first, second) = world.sent_twice(&append(writes)).await;
        assert_eq!(second, Ok(Appended { repeated: true, ..first }));
        world.broker.delete_stream(caller, &store, &name("account-1"), Expected::Any).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_the_same_in_every_event_is_a_conflict() {
    let world = World::with_store().await;
    let exact = world.write("account-1", Expected::NoStream, &["Opened"]);
    let other = world.write("ledger-1", Expected::Any, &["Booked"]);
    world.make(&append(vec![exact.clone(), other.clone()])).await.unwrap();
    world.forget_ids().await;
    let elsewhere = WriteStream { stream: name("ledger-2"), ..other.clone() };
    let another = world.write("ledger-1", Expected::Any, &["Booked"]);
    let more = world.write("ledger-1", Expected::Any, &["Booked", "Booked"]);
    for wrong in [
        vec![exact.clone(), elsewhere],
        vec![exact.clone(), another],
        vec![exact.clone(), more],
        vec![other, exact],
    ] {
        let refused = world.make(&append(wrong)).await;
        assert!(matches!(refused, Err(AppendEventsError::Conflict { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_condition_finds_the_append_itself() {
    let world = World::with_store().await;
    for flush in [false, true] {
        let end = world.broker.stores(&world.caller).await[0].end.0;
        let mut request = append(vec![
            world.write("ledger-1", Expected::Any, &["Booked"]),
            world.write("course-1", Expected::Any, &["Subscribed"]),
        ]);
        let query = Query {
            items: vec![annals_eventstore::query::QueryItem {
                types: vec!["Subscribed".into()],
                tags: vec!["course:1".into()],
            }],
        };
        request.conditions.push(Condition { query, after: end.checked_sub(1).map(Position) });
        let first = world.make(&request).await.unwrap();
        if flush {
            world.broker.inner.state.stores.by_name(STORE).unwrap().flush().unwrap();
        }
        world.forget_ids().await;
        let second = world.make(&request).await;
        assert_eq!(second, Ok(Appended { repeated: true, ..first }), "flush: {flush}");
    }
}

#[tokio::test]
async fn an_append_that_is_half_forgotten_is_known() {
    let world = World::with_store().await;
    let request = append(vec![world.write("account-1", Expected::Any, &["Opened", "Deposited", "Closed"])]);
    let first = world.make(&request).await.unwrap();
    let store = world.broker.inner.state.stores.by_name(STORE).unwrap();
    let half = super::super::append::engine_append(request, Vec::new()).prepare(&store.terms).unwrap();
    let refused = Refused::IdTaken { stream: name("account-1"), index: 2, revision: Revision(2) };
    let found = world.broker.inner.find_sent(&store, &half, &refused).unwrap().unwrap();
    assert_eq!((found.first, found.end.0), (first.first_position, 3));
}

#[tokio::test]
async fn the_largest_revisions_are_refused_and_not_added_to() {
    let world = World::with_store().await;
    for revision in [u64::MAX, u64::MAX - 1] {
        for writes in [
            vec![world.write("account-1", exact(revision), &["Opened"])],
            vec![
                world.write("ledger-1", Expected::Any, &["Booked"]),
                world.write("account-1", exact(revision), &["Opened"]),
            ],
        ] {
            let refused = world.make(&append(writes)).await;
            assert!(matches!(refused, Err(AppendEventsError::Conflict { .. })), "{refused:?}");
        }
    }
}
