//! Appending.

use std::sync::Arc;

use super::{all, append, event, last, names, stream, tagged};
use crate::Tag;
use crate::store::{
    Append, AppendError, Condition, EVENT_BYTES_MAX, Expected, InvalidAppend, Position, Query, QueryItem,
    Read, Revision, Store, StreamWrite, TAGS_MAX,
};

pub(super) async fn revisions_and_positions_grow(store: &dyn Store) {
    let first = append(store, "a-1", Expected::NoStream, vec![event("One"), event("Two")]).await;
    let second = append(store, "a-2", Expected::Any, vec![event("Three")]).await;
    assert_eq!(first.revisions, [(stream("a-1"), Revision(1))]);
    assert_eq!(second.revisions, [(stream("a-2"), Revision(0))]);
    assert!(second.position > first.position && !first.duplicate);
    assert_eq!(store.head().await.unwrap(), Some(second.position));
    let events = all(store, Read::all()).await;
    assert_eq!(names(&events), ["One", "Two", "Three"]);
    assert!(events.is_sorted_by(|a, b| a.position < b.position && a.recorded_ms <= b.recorded_ms));
    assert_eq!(events[1].position, first.position);
}

pub(super) async fn expectations_are_held(store: &dyn Store) {
    let refused = async |expected| {
        let error = store.append(Append::to(stream("a-1"), expected, vec![event("No")])).await.unwrap_err();
        match error {
            AppendError::Conflict { stream, actual, expected: told } => {
                assert_eq!((stream.as_str(), told), ("a-1", expected));
                actual
            }
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(Expected::Exists).await, None);
    assert_eq!(refused(Expected::Exact(Revision(0))).await, None);
    append(store, "a-1", Expected::NoStream, vec![event("One")]).await;
    assert_eq!(refused(Expected::NoStream).await, Some(Revision(0)));
    assert_eq!(refused(Expected::Exact(Revision(1))).await, Some(Revision(0)));
    append(store, "a-1", Expected::Exact(Revision(0)), vec![event("Two")]).await;
    append(store, "a-1", Expected::Exists, vec![event("Three")]).await;
    append(store, "a-1", Expected::Any, vec![event("Four")]).await;
    assert_eq!(names(&all(store, Read::all()).await), ["One", "Two", "Three", "Four"]);
}

pub(super) async fn several_streams_are_one(store: &dyn Store) {
    append(store, "b-1", Expected::NoStream, vec![event("Opened")]).await;
    let write = |name: &str, expected, events| StreamWrite { stream: stream(name), expected, events };
    let transfer = |guard| Append {
        writes: vec![
            write("b-1", Expected::Exact(Revision(0)), vec![event("Withdrawn")]),
            write("b-2", Expected::NoStream, vec![event("Deposited"), event("Noted")]),
            write("b-3", guard, vec![]),
        ],
        conditions: vec![],
    };
    let error = store.append(transfer(Expected::Exists)).await.unwrap_err();
    assert!(matches!(error, AppendError::Conflict { stream, actual: None, .. } if stream == "b-3"));
    assert_eq!((last(store, "b-1").await, last(store, "b-2").await), (Some(Revision(0)), None));
    let done = store.append(transfer(Expected::NoStream)).await.unwrap();
    assert_eq!(done.revisions, [(stream("b-1"), Revision(1)), (stream("b-2"), Revision(1))]);
    assert_eq!(names(&all(store, Read::all()).await), ["Opened", "Withdrawn", "Deposited", "Noted"]);
    assert_eq!(last(store, "b-3").await, None);
}

pub(super) async fn conditions_are_held(store: &dyn Store) {
    let seat =
        || Query { items: vec![QueryItem { types: vec!["Taken".into()], tags: vec![Tag::new("seat:7")] }] };
    let take = |tag: &str, after| {
        Append::to(stream("show-1"), Expected::Any, vec![tagged("Taken", &[tag])])
            .unless(Condition { query: seat(), after })
    };
    store.append(take("seat:8", None)).await.unwrap();
    let taken = store.append(take("seat:7", None)).await.unwrap().position;
    assert_eq!(store.append(take("seat:7", None)).await, Err(AppendError::Condition { position: taken }));
    let before = taken.0.checked_sub(1).map(Position);
    assert_eq!(store.append(take("seat:7", before)).await, Err(AppendError::Condition { position: taken }));
    store.append(take("seat:9", Some(taken))).await.unwrap();
    assert_eq!(all(store, Read::all()).await.len(), 3);
}

pub(super) async fn the_same_events_are_stored_once(store: &dyn Store) {
    let (one, two) = (event("One"), event("Two"));
    let to = |name: &str, events: &[_]| Append::to(stream(name), Expected::NoStream, events.to_vec());
    let first = store.append(to("a-1", &[one.clone(), two.clone()])).await.unwrap();
    append(store, "a-1", Expected::Any, vec![event("Three")]).await;
    let again = store.append(to("a-1", &[one.clone(), two.clone()])).await.unwrap();
    assert!(again.duplicate);
    assert_eq!((again.position, &again.revisions), (first.position, &first.revisions));
    let partly = Append::to(stream("a-1"), Expected::Any, vec![event("Four"), two]);
    let reused = store.append(partly).await.unwrap_err();
    assert!(matches!(reused, AppendError::IdReused { .. }), "{reused}");
    // Ids are told apart by their streams.
    store.append(to("a-2", &[one])).await.unwrap();
    assert_eq!(all(store, Read::all()).await.len(), 4);
}

pub(super) async fn one_of_many_writers_wins(store: Arc<dyn Store>) {
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            store.append(Append::to(stream("a-1"), Expected::NoStream, vec![event("Won")])).await.is_ok()
        });
    }
    let won = writers.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!((won, all(&*store, Read::all()).await.len()), (1, 1));
}

pub(super) async fn what_is_invalid_is_refused(store: &dyn Store) {
    let mut large = event("Large");
    large.data = vec![b' '; EVENT_BYTES_MAX + 1].into();
    let mut old = event("Old");
    old.version = 0;
    let mut many = event("Many");
    many.tags = (0..=TAGS_MAX).map(|number| Tag::of("n", &number)).collect();
    let twice = event("Twice");
    let refused = async |events| {
        let append = Append::to(stream("a-1"), Expected::Any, events);
        match store.append(append).await {
            Err(AppendError::Invalid(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(vec![]).await, InvalidAppend::Empty);
    assert!(matches!(refused(vec![large]).await, InvalidAppend::TooLarge { .. }));
    assert!(matches!(refused(vec![old]).await, InvalidAppend::Version { .. }));
    assert!(matches!(refused(vec![many]).await, InvalidAppend::TooManyTags { .. }));
    assert!(matches!(refused(vec![twice.clone(), twice]).await, InvalidAppend::IdTwice { .. }));
    for name in ["", "a\nb"] {
        assert!(matches!(refused(vec![event(name)]).await, InvalidAppend::Name { .. }));
    }
    assert!(matches!(refused(vec![tagged("Tagged", &[""])]).await, InvalidAppend::Tag { .. }));
    assert_eq!(store.head().await.unwrap(), None);
}
