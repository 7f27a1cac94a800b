//! Events of Annals' own, which nobody sees without asking.

use super::*;

#[tokio::test]
async fn what_is_the_librarys_own_is_given_to_who_asks_for_it() {
    let world = World::with_store().await;
    for (stream, kind) in [("a-1", "A"), ("~kept-a-1", "~Kept"), ("~kept-a-2", "~Kept"), ("z-1", "Z")] {
        world.append(stream, Expected::NoStream, &[kind]).await.unwrap();
    }
    let keep = StreamMetadata { max_count: Some(1), ..StreamMetadata::default() };
    let (caller, store) = (&world.caller, Arc::<str>::from(STORE));
    world.broker.set_stream_metadata(caller, &store, &name("a-1"), keep, Expected::Any).await.unwrap();
    let users = ["a-1@0 A", "z-1@0 Z"];
    assert_eq!(world.read(Selection::All).await, users);
    assert_eq!(world.read(Selection::StreamPrefix("".into())).await, users);
    assert_eq!(world.read(Selection::TypePrefix("".into())).await, users);
    let own = ["~kept-a-1@0 ~Kept", "~kept-a-2@0 ~Kept"];
    assert_eq!(world.stream("~kept-a-1").await.unwrap(), own[..1]);
    assert_eq!(world.read(Selection::Category("~kept".into())).await, own);
    assert_eq!(world.read(Selection::StreamPrefix("~kept-".into())).await, own);
    assert_eq!(world.read(Selection::Type("~Kept".into())).await, own);
    let everything = ReadEvents { with_system: true, ..ReadEvents::new(STORE, Selection::All) };
    assert_eq!(world.read_request(everything).await.unwrap().events.len(), 5);
    let list = async |names, prefix: &str, limit, with_system| {
        let (store, prefix) = (STORE.into(), prefix.to_owned());
        let request = ListNames { store, names, prefix, after: None, limit, with_system };
        world.broker.list_names(caller, request).await.unwrap()
    };
    assert_eq!(list(Names::Streams, "", 9, false).await, ["a-1", "z-1"]);
    assert_eq!(list(Names::Streams, "", 1, false).await, ["a-1"]);
    assert_eq!(list(Names::Streams, "~kept-", 9, false).await, ["~kept-a-1", "~kept-a-2"]);
    assert_eq!(list(Names::Streams, "", 9, true).await, ["$$a-1", "a-1", "z-1", "~kept-a-1", "~kept-a-2"]);
    assert_eq!(list(Names::Categories, "", 9, false).await, ["a", "z"]);
    assert_eq!(list(Names::Types, "", 9, false).await, ["A", "Z"]);
}
