//! What is removed for good: scavenged events, and the keys of subjects.

use annals_eventstore::append::Prepared;
use annals_eventstore::metadata::METADATA_TYPE;
use annals_journal::Files;

use super::*;

fn is_on_disk(files: &FaultFiles, needle: &[u8]) -> bool {
    let names = files.list().unwrap();
    let found = |bytes: Vec<u8>| bytes.windows(needle.len()).any(|window| window == needle);
    let holds = |name: &String| files.bytes(name).is_some_and(found);
    names.iter().filter(|name| name.ends_with(".segment")).any(holds)
}

#[tokio::test]
async fn scavenging_removes_what_is_not_shown_and_changes_no_answer() {
    let mut world = World::with_store().await;
    let store: Arc<str> = STORE.into();
    for n in 0..20 {
        let kind = format!("Kind{n}");
        world.append(if n % 2 == 0 { "kept-1" } else { "short-1" }, Expected::Any, &[&kind]).await.unwrap();
    }
    world.append("gone-1", Expected::Any, &["SecretOne", "SecretTwo"]).await.unwrap();
    let (broker, caller) = (&world.broker, &world.caller);
    let keep_two = StreamMetadata { max_count: Some(2), ..StreamMetadata::default() };
    broker.set_stream_metadata(caller, &store, &name("short-1"), keep_two, Expected::Any).await.unwrap();
    broker.delete_stream(caller, &store, &name("gone-1"), Expected::Any).await.unwrap();
    let before = world.read(Selection::All).await;
    assert_eq!(before.len(), 12);
    let scavenged = broker.scavenge_store(caller, &store).await.unwrap();
    assert!(scavenged.bytes_after < scavenged.bytes_before, "{scavenged:?}");
    assert!(!is_on_disk(&world.files, b"SecretOne"), "an event of a deleted stream");
    assert!(!is_on_disk(&world.files, b"Kind1\""), "more than the stream keeps");
    assert_eq!(world.read(Selection::All).await, before);
    assert_eq!(
        world.read(Selection::Category("short".into())).await,
        ["short-1@8 Kind17", "short-1@9 Kind19"]
    );
    world.stop().await;
    // The index is built again from what is left, and knows where every stream goes on.
    let world = World::open(&world.files);
    assert_eq!(world.read(Selection::All).await, before);
    world.append("short-1", exact(9), &["More"]).await.unwrap();
    let revived = world.append("gone-1", Expected::NoStream, &["Back"]).await.unwrap();
    assert_eq!(revived.last_revisions, [Revision(2)]);
    assert_eq!(world.stream("gone-1").await.unwrap(), ["gone-1@2 Back"]);
}

/// What is to be read and told of `s-1`.
async fn told(world: &World) -> String {
    let stream = name("s-1");
    let described = world.broker.stream(&world.caller, &STORE.into(), &stream).await.unwrap();
    format!("{described:?} {:?} {:?}", world.stream("s-1").await, world.read(Selection::All).await)
}

/// Scavenges, then opens what is left of the log, without its index.
async fn scavenged_and_opened(mut world: World) -> World {
    world.broker.scavenge_store(&world.caller, &STORE.into()).await.unwrap();
    world.stop().await;
    World::open(&world.files)
}

#[tokio::test]
async fn truncating_beyond_the_end_does_not_hide_what_is_yet_to_come() {
    let beyond = StreamMetadata { truncate_before: Some(Revision(1_000_000)), ..StreamMetadata::default() };
    // As it is written now, and as it was written before ends were looked at.
    for is_old in [false, true] {
        let world = World::with_store().await;
        world.append("s-1", Expected::Any, &["A"; 10]).await.unwrap();
        if is_old {
            let store = world.broker.inner.state.stores.by_name(STORE).unwrap();
            let event = Event::builder("/old", METADATA_TYPE)
                .data("application/json", beyond.to_json())
                .build(&world.broker.inner.clock);
            let about = (&name("s-1"), Expected::Any);
            let prepared =
                Prepared::metadata(about, Expected::Any, beyond.clone(), &event.unwrap(), &store.terms);
            world.broker.inner.append_prepared(&store, prepared).await.unwrap();
        } else {
            let (broker, caller, store) = (&world.broker, &world.caller, &STORE.into());
            broker
                .set_stream_metadata(caller, store, &name("s-1"), beyond.clone(), Expected::Any)
                .await
                .unwrap();
        }
        let described = world.broker.stream(&world.caller, &STORE.into(), &name("s-1")).await.unwrap();
        assert_eq!(described.first, Revision(10));
        assert_eq!(described.metadata.truncate_before, Some(Revision(10)));
        let first = told(&world).await;
        let world = scavenged_and_opened(world).await;
        assert_eq!(told(&world).await, first);
        world.append("s-1", exact(9), &["B", "C"]).await.unwrap();
        assert_eq!(world.stream("s-1").await.unwrap(), ["s-1@10 B", "s-1@11 C"]);
        let second = told(&world).await;
        let world = scavenged_and_opened(world).await;
        assert_eq!(told(&world).await, second, "old: {is_old}");
    }
}

#[tokio::test]
async fn a_deleted_stream_that_gets_metadata_stays_deleted() {
    let world = World::with_store().await;
    world.append("s-1", Expected::Any, &["A", "B"]).await.unwrap();
    let (broker, caller, store) = (&world.broker, &world.caller, &STORE.into());
    broker.delete_stream(caller, store, &name("s-1"), Expected::Any).await.unwrap();
    for count in [2, 3] {
        let keep = StreamMetadata { max_count: Some(count), ..StreamMetadata::default() };
        broker.set_stream_metadata(caller, store, &name("s-1"), keep, Expected::Any).await.unwrap();
    }
    let first = told(&world).await;
    let world = scavenged_and_opened(world).await;
    assert_eq!(told(&world).await, first);
    assert!(matches!(world.stream("s-1").await, Err(ReadEventsError::NoStream { .. })));
    let revived = world.append("s-1", Expected::NoStream, &["C", "D", "E", "F"]).await.unwrap();
    assert_eq!(revived.last_revisions, [Revision(5)]);
    let second = told(&world).await;
    let world = scavenged_and_opened(world).await;
    assert_eq!(told(&world).await, second);
    assert_eq!(world.stream("s-1").await.unwrap(), ["s-1@3 D", "s-1@4 E", "s-1@5 F"]);
}

#[tokio::test]
async fn metadata_does_not_delete_a_stream_that_comes_back_meanwhile() {
    let world = World::with_store().await;
    world.append("s-1", Expected::Any, &["A"]).await.unwrap();
    let (broker, caller, store) = (&world.broker, &world.caller, &STORE.into());
    broker.delete_stream(caller, store, &name("s-1"), Expected::Any).await.unwrap();
    let keep = StreamMetadata { max_count: Some(9), ..StreamMetadata::default() };
    let stream = name("s-1");
    // The append is decided, and not yet durable, when the metadata is made.
    let (appended, set) = tokio::join!(
        biased;
        world.append("s-1", Expected::NoStream, &["B"]),
        broker.set_stream_metadata(caller, store, &stream, keep, Expected::Any)
    );
    appended.unwrap();
    set.unwrap();
    assert_eq!(world.stream("s-1").await.unwrap(), ["s-1@1 B"]);
}

#[tokio::test]
async fn a_shredded_subject_cannot_be_read_by_anybody() {
    let mut world = World::with_store().await;
    let store: Arc<str> = STORE.into();
    for subject in ["ada", "bob"] {
        let mut new = world.event("AddressChanged", &[]);
        new.encrypt_for = Some(subject.into());
        let stream = name(&format!("person-{subject}"));
        let request = AppendEvents::to_stream(STORE, stream, Expected::Any, vec![new]);
        world.broker.append_events(&world.caller, request).await.unwrap();
    }
    assert_eq!(data(&world).await, [true, true]);
    assert!(!is_on_disk(&world.files, b"\"kind\":\"AddressChanged\""), "it is encrypted");
    let read = world.read_request(ReadEvents::new(STORE, Selection::All)).await.unwrap();
    assert_eq!(read.events[0].data().unwrap(), r#"{"kind":"AddressChanged"}"#);
    let key = key_bytes(&world, read.events[0].encryption_key().unwrap());
    assert!(is_on_disk(&world.files, &key));
    assert!(world.broker.shred_subject(&world.caller, &store, "ada").await.unwrap());
    assert!(!is_on_disk(&world.files, &key), "the key is off the disk");
    assert!(!world.broker.shred_subject(&world.caller, &store, "ada").await.unwrap());
    assert_eq!(data(&world).await, [false, true]);
    let read = world.read_request(ReadEvents::new(STORE, Selection::All)).await.unwrap();
    assert!(read.events[0].is_shredded());
    assert_eq!(read.events[0].event().unwrap().type_name(), "AddressChanged");
    world.stop().await;
    let world = World::open(&world.files);
    assert_eq!(data(&world).await, [false, true]);
}

/// The segment of the key holds something that is damaged, so it cannot be rewritten: the key's bytes stay on the disk.
#[tokio::test]
async fn a_key_that_is_still_on_the_disk_is_not_said_to_be_gone() {
    let world = World::with_store().await;
    let store: Arc<str> = STORE.into();
    let mut new = world.event("AddressChanged", &[]);
    new.encrypt_for = Some("ada".into());
    let request = AppendEvents::to_stream(STORE, name("person-ada"), Expected::Any, vec![new]);
    world.broker.append_events(&world.caller, request).await.unwrap();
    let noise = "x".repeat(200);
    world.append("noise-1", Expected::Any, &[&noise]).await.unwrap();
    let read =
        world.read_request(ReadEvents::new(STORE, Selection::Category("person".into()))).await.unwrap();
    let key = key_bytes(&world, read.events[0].encryption_key().unwrap());
    let names = world.files.list().unwrap();
    let (segment, bit) = names
        .iter()
        .find_map(|name| {
            let bytes = world.files.bytes(name).filter(|_| name.ends_with(".segment"))?;
            let at = bytes.windows(100).position(|window| window == &noise.as_bytes()[..100])?;
            Some((name, at as u64 * 8))
        })
        .unwrap();
    world.files.flip_bit(segment, bit);
    // What was written lately is read from memory otherwise.
    let world = world.reopen().await;
    for _ in 0..2 {
        let shredded = world.broker.shred_subject(&world.caller, &store, "ada").await;
        let Err(ShredError::StillOnDisk(why)) = shredded else { panic!("{shredded:?}") };
        assert!(why.contains("segment"), "{why}");
    }
    assert!(is_on_disk(&world.files, &key));
    assert_eq!(data(&world).await, [false], "nobody can read it all the same");
}

/// Of each person's event, whether its data can be read.
async fn data(world: &World) -> Vec<bool> {
    let request = ReadEvents::new(STORE, Selection::Category("person".into()));
    let read = world.read_request(request).await.unwrap();
    read.events.iter().map(|event| event.data().is_some()).collect()
}

/// The bytes of a key, as they stand in the log of keys.
fn key_bytes(world: &World, id: &str) -> Vec<u8> {
    let id: annals_clock::Uuid = id.parse().unwrap();
    let journal = &world.broker.inner.journal;
    let entries = journal.entries(crate::eventstore::KEYS_LOG, 0, 1 << 20).unwrap();
    let all: Vec<u8> = entries.iter().flat_map(|entry| entry.payload.to_vec()).collect();
    let at = all.windows(16).position(|window| window == id.as_bytes()).unwrap();
    all[at + 16..at + 48].to_vec()
}
