//! Reading.

use std::time::Duration;

use super::{all, append, clock, event, names, stream, tagged};
use crate::Tag;
use crate::store::{Expected, Metadata, NewEvent, Query, Read, ReadError, Revision, Source, Store};

pub(super) async fn nothing_is_an_empty_page(store: &dyn Store) {
    assert_eq!(store.head().await.unwrap(), None);
    for read in [Read::all(), Read::stream(stream("a-1")), Read::category("a"), Read::all().from_position(7)]
    {
        let page = store.read(read.clone()).await.unwrap();
        assert_eq!((page.events.len(), page.next), (0, None), "{read:?}");
        let page = store.read(read.backward()).await.unwrap();
        assert_eq!((page.events.len(), page.next), (0, None));
    }
    let nothing = store.read(Read::all().limit(0)).await;
    assert!(matches!(nothing, Err(ReadError::Invalid { .. })));
}

pub(super) async fn everything_comes_back_as_it_was(store: &dyn Store) {
    let new = NewEvent {
        id: clock().uuid_v7().to_string(),
        name: "Ärger.Passiert".to_owned(),
        version: 7,
        data: "{\"text\":\"für 5 €\"}".into(),
        tags: vec![Tag::new("a:1"), Tag::new("b")],
        metadata: Metadata {
            correlation_id: Some("all".into()),
            causation_id: Some("this".into()),
            other: [("who".to_owned(), "me".to_owned())].into(),
        },
        encrypt_for: None,
    };
    let done = append(store, "a-1", Expected::Any, vec![new.clone()]).await;
    let events = all(store, Read::stream(stream("a-1"))).await;
    let stored = &events[0];
    assert_eq!((&stored.id, &stored.name, stored.version), (&new.id, &new.name, new.version));
    assert_eq!((&stored.data, &stored.tags, &stored.metadata), (&new.data, &new.tags, &new.metadata));
    assert_eq!(
        (&stored.stream, stored.revision, stored.position),
        (&stream("a-1"), Revision(0), done.position)
    );
}

pub(super) async fn both_directions_and_pages(store: &dyn Store) {
    for number in 0..10 {
        append(store, "a-1", Expected::Any, vec![event(&format!("N{number}"))]).await;
        append(store, "b-1", Expected::Any, vec![event("Other")]).await;
    }
    let read = || Read::stream(stream("a-1"));
    let forward = all(store, read().limit(3)).await;
    assert_eq!(names(&forward), ["N0", "N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9"]);
    let mut backward = all(store, read().backward().limit(4)).await;
    backward.reverse();
    assert_eq!(backward, forward);
    assert_eq!(names(&all(store, read().from_revision(8)).await), ["N8", "N9"]);
    assert_eq!(names(&all(store, read().from_revision(1).backward()).await), ["N1", "N0"]);
    assert_eq!(names(&all(store, read().from_revision(10)).await), [""; 0]);
    assert_eq!(all(store, Read::all().limit(7)).await.len(), 20);
    for read in [read().limit(1), read().backward(), read().from_revision(10)] {
        assert_eq!(store.read(read).await.unwrap().last_revision, Some(Revision(9)));
    }
    let others = [Read::all(), Read::stream(stream("c-1"))];
    for read in others {
        assert_eq!(store.read(read).await.unwrap().last_revision, None);
    }
    let from = Read::all().from_position(forward[9].position);
    assert_eq!(names(&all(store, from.clone()).await), ["N9", "Other"]);
    assert_eq!(names(&store.read(from.backward().limit(2)).await.unwrap().events), ["N9", "Other"]);
}

pub(super) async fn sources_and_queries(store: &dyn Store) {
    append(store, "order-1", Expected::Any, vec![tagged("Placed", &["customer:a", "vip"]), event("Paid")])
        .await;
    append(store, "order-2", Expected::Any, vec![tagged("Placed", &["customer:b"])]).await;
    append(store, "ordering-1", Expected::Any, vec![tagged("Begun", &["customer:a"])]).await;
    let count = async |read: Read| all(store, read).await.len();
    let tags = |tags: &[&str]| Query::tags(tags.iter().map(|tag| Tag::new(*tag)));
    assert_eq!(count(Read::category("order")).await, 3);
    assert_eq!(count(Read::from_source(Source::Prefix("order".into()))).await, 4);
    assert_eq!(count(Read::all().matching(Query::types(["Placed", "Begun"]))).await, 3);
    assert_eq!(count(Read::all().matching(tags(&["customer:a"]))).await, 2);
    assert_eq!(count(Read::all().matching(tags(&["customer:a", "vip"]))).await, 1);
    let either = tags(&["customer:b"]).or(Query::types(["Paid"]));
    assert_eq!(names(&all(store, Read::all().matching(either.clone()).limit(1)).await), ["Paid", "Placed"]);
    assert_eq!(count(Read::stream(stream("order-1")).matching(either.clone())).await, 1);
    assert_eq!(count(Read::category("ordering").matching(either.clone())).await, 0);
    assert_eq!(names(&all(store, Read::all().matching(either).backward()).await), ["Placed", "Paid"]);
}

pub(super) async fn times(store: &dyn Store) {
    for name in ["One", "Two", "Three"] {
        append(store, "a-1", Expected::Any, vec![event(name)]).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let events = all(store, Read::all()).await;
    let at = |index: usize| crate::Time::from_unix_ms(events[index].recorded_ms);
    for read in [Read::all(), Read::stream(stream("a-1")), Read::category("a")] {
        let upto = all(store, read.clone().until(&at(1))).await;
        assert!(upto.len() >= 2 && upto.iter().all(|event| event.recorded_ms <= events[1].recorded_ms));
        let since = all(store, read.clone().since(&at(1))).await;
        assert!(since.len() >= 2 && since.iter().all(|event| event.recorded_ms >= events[1].recorded_ms));
        let backward = all(store, read.backward().until(&at(0))).await;
        assert_eq!(backward.last().unwrap().name, "One");
    }
}

pub(super) async fn streams_of_the_system_are_apart(store: &dyn Store) {
    append(store, "~kept-1", Expected::NoStream, vec![event("~Kept")]).await;
    append(store, "a-1", Expected::NoStream, vec![event("Seen")]).await;
    assert_eq!(names(&all(store, Read::all()).await), ["Seen"]);
    assert_eq!(names(&all(store, Read::stream(stream("~kept-1"))).await), ["~Kept"]);
    let prefix = |prefix: &str| Read::from_source(Source::Prefix(prefix.to_owned()));
    assert_eq!(names(&all(store, prefix("")).await), ["Seen"]);
    assert_eq!(names(&all(store, prefix("~kept-")).await), ["~Kept"]);
    assert_eq!(names(&all(store, Read::category("~kept")).await), ["~Kept"]);
}

pub(super) async fn streams_are_listed(store: &dyn Store) {
    for name in ["b-2", "a-1", "~kept-1", "b-1", "ü"] {
        append(store, name, Expected::NoStream, vec![event("Begun")]).await;
    }
    let list = async |prefix: &str, after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(stream);
        let names = store.streams(prefix, after.as_ref(), limit).await.unwrap();
        names.iter().map(ToString::to_string).collect()
    };
    assert_eq!(list("", None, 10).await, ["a-1", "b-1", "b-2", "ü"]);
    assert_eq!(list("", None, 2).await, ["a-1", "b-1"]);
    assert_eq!(list("", Some("b-1"), 10).await, ["b-2", "ü"]);
    assert_eq!(list("b-", Some("b-1"), 10).await, ["b-2"]);
    assert_eq!(list("~", None, 10).await, ["~kept-1"]);
    assert_eq!(list("c", None, 10).await, [""; 0]);
}
