//! Following.

use std::sync::Arc;
use std::time::Duration;

use super::{append, event, stream};
use crate::store::{Expected, Position, Query, Read, Signal, Store, Subscription};

async fn next(subscription: &mut Subscription) -> Signal {
    let next = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await;
    next.expect("a signal in time").unwrap()
}

async fn next_name(subscription: &mut Subscription) -> String {
    match next(subscription).await {
        Signal::Event(event) => event.name,
        Signal::CaughtUp(position) => panic!("caught up at {position:?}"),
    }
}

async fn caught_up(subscription: &mut Subscription) -> Option<Position> {
    match next(subscription).await {
        Signal::CaughtUp(position) => position,
        Signal::Event(event) => panic!("event {}", event.name),
    }
}

pub(super) async fn catch_up_then_live(store: Arc<dyn Store>) {
    let mut early = Subscription::new(Arc::clone(&store), Read::all());
    assert_eq!(caught_up(&mut early).await, None);
    append(&*store, "a-1", Expected::Any, vec![event("One"), event("Two")]).await;
    let waiting = tokio::time::timeout(Duration::from_secs(20), store.beyond(None)).await;
    waiting.expect("there is something").unwrap();
    assert_eq!(next_name(&mut early).await, "One");
    let mut filtered =
        Subscription::new(Arc::clone(&store), Read::all().matching(Query::types(["Three"])).limit(1));
    let head = store.head().await.unwrap();
    assert_eq!(caught_up(&mut filtered).await, head);
    append(&*store, "a-2", Expected::Any, vec![event("Three")]).await;
    assert_eq!(next_name(&mut filtered).await, "Three");
    let from = Read::all().from_position(head.unwrap().next());
    assert_eq!(next_name(&mut Subscription::new(Arc::clone(&store), from)).await, "Three");
    assert_eq!(next_name(&mut early).await, "Two");
}

pub(super) async fn a_stream_is_followed(store: Arc<dyn Store>) {
    append(&*store, "a-1", Expected::Any, vec![event("One")]).await;
    let mut subscription = Subscription::new(Arc::clone(&store), Read::stream(stream("a-1")).limit(1));
    assert_eq!(next_name(&mut subscription).await, "One");
    append(&*store, "b-1", Expected::Any, vec![event("Other")]).await;
    caught_up(&mut subscription).await;
    append(&*store, "a-1", Expected::Any, vec![event("Two")]).await;
    loop {
        match next(&mut subscription).await {
            Signal::Event(event) => return assert_eq!(event.name, "Two"),
            Signal::CaughtUp(_) => {}
        }
    }
}

pub(super) async fn nothing_is_skipped_under_writers(store: Arc<dyn Store>) {
    const WRITERS: usize = 4;
    const EACH: usize = 50;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for number in 0..EACH {
                append(&*store, &format!("w-{writer}"), Expected::Any, vec![event(&format!("E{number}"))])
                    .await;
                tokio::task::yield_now().await;
            }
        });
    }
    let mut subscription = Subscription::new(Arc::clone(&store), Read::all().limit(7));
    let (mut seen, mut last) = (vec![0; WRITERS], None);
    while seen.iter().sum::<usize>() < WRITERS * EACH {
        let Signal::Event(event) = next(&mut subscription).await else { continue };
        assert!(Some(event.position) > last, "positions grow");
        last = Some(event.position);
        let writer: usize = event.stream.id().unwrap().parse().unwrap();
        assert_eq!(event.name, format!("E{}", seen[writer]), "writer {writer}");
        seen[writer] += 1;
    }
    writers.join_all().await;
}
