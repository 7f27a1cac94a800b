//! Personal data under keys that can be shredded: in memory, embedded and on a server.

use std::path::Path;

use annals::projection::{InlineProjection, LiveView};
use annals::store::{AppendError, InvalidAppend, Metadata, Query, Read, Recorded, ShredError, StreamName};
use annals::{
    Annals, AppendEventsError, Decider, DecodeError, Envelope, ErrorKind, Event, EventStore, EventType,
    ReadEventsError, SnapshotPolicy, Upcasters,
};
use serde::{Deserialize, Serialize};

use super::served::Served;

/// What is personal is encrypted for `person:ID`, the rest is not.
#[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(shredded = Self::without_person)]
enum CustomerEvent {
    CustomerRegistered {
        #[event(tag, encrypt_for = "person")]
        customer: u32,
        name: String,
    },
    CustomerMoved {
        #[event(tag, encrypt_for = "person")]
        customer: u32,
        city: String,
    },
    PointsGiven {
        #[event(tag)]
        customer: u32,
        points: u32,
    },
}

impl CustomerEvent {
    /// Who is forgotten remains a customer, without a name. Where they lived is left out.
    fn without_person(event_type: &EventType, recorded: &Recorded) -> Option<Self> {
        let customer = recorded.stream.id()?.parse().ok()?;
        match event_type.name {
            "CustomerRegistered" => Some(Self::CustomerRegistered { customer, name: "(forgotten)".into() }),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Known {
    name: String,
    city: String,
    points: u32,
}

impl Known {
    fn with(self, event: &CustomerEvent) -> Self {
        match event {
            CustomerEvent::CustomerRegistered { name, .. } => Self { name: name.clone(), ..self },
            CustomerEvent::CustomerMoved { city, .. } => Self { city: city.clone(), ..self },
            CustomerEvent::PointsGiven { points, .. } => Self { points: self.points + points, ..self },
        }
    }
}

fn known(name: &str, city: &str, points: u32) -> Known {
    Known { name: name.into(), city: city.into(), points }
}

struct Customer;

impl Decider for Customer {
    type Command = CustomerEvent;
    type Event = CustomerEvent;
    type State = Known;
    type Error = std::convert::Infallible;
    const CATEGORY: &'static str = "customer";

    fn decide(command: &CustomerEvent, _: &Known) -> Result<Vec<CustomerEvent>, Self::Error> {
        Ok(vec![match command {
            CustomerEvent::CustomerRegistered { customer, name } => {
                CustomerEvent::CustomerRegistered { customer: *customer, name: name.clone() }
            }
            CustomerEvent::CustomerMoved { customer, city } => {
                CustomerEvent::CustomerMoved { customer: *customer, city: city.clone() }
            }
            CustomerEvent::PointsGiven { customer, points } => {
                CustomerEvent::PointsGiven { customer: *customer, points: *points }
            }
        }])
    }

    fn evolve(state: Known, event: &CustomerEvent) -> Known {
        state.with(event)
    }
}

struct Card;

impl InlineProjection for Card {
    type Event = CustomerEvent;
    type View = Known;
    const NAME: &'static str = "card";
    const VERSION: u32 = 1;
    const TAG: &'static str = "customer";

    fn apply(view: Known, event: &CustomerEvent) -> Known {
        view.with(event)
    }
}

/// What a read model sees, and whether it is a stand-in.
#[derive(Default)]
struct Seen(Vec<(String, bool)>);

impl LiveView for Seen {
    type Event = CustomerEvent;

    fn apply(&mut self, event: &Envelope<CustomerEvent>) {
        let what = match &event.event {
            CustomerEvent::CustomerRegistered { name, .. } => name.clone(),
            CustomerEvent::CustomerMoved { city, .. } => city.clone(),
            CustomerEvent::PointsGiven { points, .. } => points.to_string(),
        };
        self.0.push((what, event.shredded));
    }
}

async fn store(annals: &Annals) -> EventStore {
    let store = annals.store("shop").inline::<Card>();
    store.snapshots::<Customer>(SnapshotPolicy::every_events(1)).await.unwrap()
}

fn registered(customer: u32, name: &str) -> CustomerEvent {
    CustomerEvent::CustomerRegistered { customer, name: name.into() }
}

fn moved(customer: u32, city: &str) -> CustomerEvent {
    CustomerEvent::CustomerMoved { customer, city: city.into() }
}

async fn execute(store: &EventStore, command: CustomerEvent) -> Known {
    store.execute::<Customer>("7", command).await.unwrap().state
}

async fn own_events(store: &EventStore, stream: &str) -> usize {
    store.raw().read(Read::stream(StreamName::new(stream).unwrap())).await.unwrap().events.len()
}

/// A customer by command, by append and by a command on a query.
async fn fill(store: &EventStore) {
    let points = |points| CustomerEvent::PointsGiven { customer: 7, points };
    assert_eq!(execute(store, points(1)).await, known("", "", 1));
    assert_eq!(execute(store, registered(7, "Ada Lovelace")).await, known("Ada Lovelace", "", 1));
    let stream = StreamName::of("customer", "7").unwrap();
    store.append(stream.clone(), vec![moved(7, "Marylebone")]).await.unwrap();
    let of_customer = Query::tags([annals::Tag::of("customer", "7")]);
    let done = store.execute_on::<Customer>(of_customer, stream, points(2)).await.unwrap();
    assert_eq!(done.state, known("Ada Lovelace", "Marylebone", 3));
    assert_eq!(store.view::<Card>("7").await.unwrap(), done.state);
    execute(store, points(4)).await;
    store.execute::<Customer>("8", registered(8, "Bob")).await.unwrap();
}

async fn recorded(store: &EventStore) -> Vec<Recorded> {
    store.raw().read(Read::stream(StreamName::new("customer-7").unwrap())).await.unwrap().events
}

/// What was stored, and what was not, before anything is shredded.
async fn what_is_personal_is_readable_and_nowhere_else(store: &EventStore) {
    let events = recorded(store).await;
    let encrypted: Vec<bool> = events.iter().map(|event| event.encrypted).collect();
    assert_eq!(encrypted, [false, true, true, false, false]);
    assert!(events.iter().all(|event| !event.shredded));
    assert_eq!(events[1].data, r#"{"customer":7,"name":"Ada Lovelace"}"#);
    // Only of the state before the first encrypted event.
    assert_eq!(own_events(store, "~snapshot-customer-7").await, 1);
    assert_eq!(own_events(store, "~view.card.v1-7").await, 1);
    let loaded = store.load::<Customer>("7").await.unwrap();
    assert_eq!((loaded.state, loaded.events_read), (known("Ada Lovelace", "Marylebone", 7), 4));
}

async fn what_is_shredded_is_gone_and_all_goes_on(store: &EventStore) {
    let mut seen = store.live::<Seen>();
    seen.ready().await.unwrap();
    assert!(store.shred("person:7").await.unwrap());
    assert!(!store.shred("person:7").await.unwrap());
    assert!(!store.shred("customer:7").await.unwrap());
    let events = recorded(store).await;
    let shredded: Vec<bool> = events.iter().map(|event| event.shredded).collect();
    assert_eq!(shredded, [false, true, true, false, false]);
    assert!(events[1].encrypted && events[1].data.is_empty() && events[1].name == "CustomerRegistered");
    let left = known("(forgotten)", "", 7);
    assert_eq!(store.load::<Customer>("7").await.unwrap().state, left);
    assert_eq!(store.view::<Card>("7").await.unwrap(), left);
    let of_customer = Read::all().matching(Query::tags([annals::Tag::of("customer", "7")]));
    assert_eq!(store.read::<CustomerEvent>(of_customer).await.unwrap().len(), 4);
    // It has read what is gone now, and forgets when it is made anew.
    assert!(seen.read(|seen| seen.0.contains(&("Ada Lovelace".to_owned(), false))));
    seen.rebuild().await.unwrap();
    let expected = [("1", false), ("(forgotten)", true), ("2", false), ("4", false), ("Bob", false)];
    seen.read(|seen| assert_eq!(seen.0, expected.map(|(what, stands_in)| (what.to_owned(), stands_in))));
    // Nothing is left that would have to be kept out of a snapshot.
    let points = CustomerEvent::PointsGiven { customer: 7, points: 1 };
    let done = store.execute::<Customer>("7", points).await.unwrap();
    assert_eq!((done.state, done.revision.unwrap().0), (known("(forgotten)", "", 8), 5));
    assert_eq!(store.load::<Customer>("7").await.unwrap().events_read, 0);
    assert_eq!(own_events(store, "~snapshot-customer-7").await, 2);
    assert_eq!(store.view::<Card>("7").await.unwrap(), known("(forgotten)", "", 8));
    // Others are as they were, and who comes back has a new key.
    assert_eq!(store.load::<Customer>("8").await.unwrap().state.name, "Bob");
    assert_eq!(execute(store, registered(7, "Ada King")).await.name, "Ada King");
    assert_eq!(store.load::<Customer>("7").await.unwrap().state.name, "Ada King");
}

#[tokio::test]
async fn in_memory() {
    let store = store(&Annals::in_memory()).await;
    fill(&store).await;
    what_is_personal_is_readable_and_nowhere_else(&store).await;
    what_is_shredded_is_gone_and_all_goes_on(&store).await;
}

/// Whether any file below holds the text.
fn holds(directory: &Path, text: &str) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, text);
        }
        String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(text)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded() {
    let directory = tempfile::tempdir().unwrap();
    let annals = Annals::open(directory.path()).await.unwrap();
    let store = store(&annals).await;
    fill(&store).await;
    what_is_personal_is_readable_and_nowhere_else(&store).await;
    assert!(holds(directory.path(), "PointsGiven"));
    assert!(!holds(directory.path(), "Lovelace") && !holds(directory.path(), "Marylebone"));
    what_is_shredded_is_gone_and_all_goes_on(&store).await;
    annals.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(directory.path()).await;
    let store = store(&served.connect().await).await;
    fill(&store).await;
    what_is_personal_is_readable_and_nowhere_else(&store).await;
    assert!(holds(directory.path(), "PointsGiven"));
    assert!(!holds(directory.path(), "Lovelace") && !holds(directory.path(), "Marylebone"));
    what_is_shredded_is_gone_and_all_goes_on(&store).await;
    served.stop().await;
}

/// The same, when it had another name and no need of a stand-in.
#[derive(Event, Serialize, Deserialize)]
#[event(encrypt_for = |event: &Self| event.who.clone(), name = "CustomerMet")]
struct CustomerMet {
    who: Option<String>,
    name: String,
}

#[tokio::test]
async fn a_function_names_the_subject_and_an_old_event_is_known_by_its_new_name() {
    let upcasters = Upcasters::new().rename(("CustomerMet", 1), ("CustomerRegistered", 1), |event| event);
    let store = Annals::in_memory().store("shop").upcasters(upcasters).await.unwrap();
    let stream = StreamName::of("customer", "7").unwrap();
    let met = |who: Option<&str>| CustomerMet { who: who.map(str::to_owned), name: "Ada".into() };
    store.append(stream.clone(), vec![met(Some("ada"))]).await.unwrap();
    store.shred("ada").await.unwrap();
    assert_eq!(store.load::<Customer>("7").await.unwrap().state.name, "(forgotten)");
    let encoded = store.encode(&[met(None)], &Metadata::default()).unwrap();
    assert_eq!(encoded[0].encrypt_for, None);
    // A subject without a name would share its key with all others.
    let refused = store.append(stream, vec![met(Some(""))]).await.unwrap_err();
    let AppendEventsError::Store(AppendError::Invalid(refused)) = refused else { panic!("{refused}") };
    assert_eq!(refused, InvalidAppend::Subject { len: 0 });
    let refused = store.shred("").await.unwrap_err();
    assert_eq!((&refused, refused.kind()), (&ShredError::Subject { len: 0 }, ErrorKind::Input));
}

#[tokio::test]
async fn a_shredded_event_that_nobody_knows_is_still_told() {
    let store = Annals::in_memory().store("shop").await.unwrap();
    let stream = StreamName::of("customer", "7").unwrap();
    store.append(stream, vec![CustomerMet { who: Some("ada".into()), name: "Ada".into() }]).await.unwrap();
    store.shred("ada").await.unwrap();
    let error = store.load::<Customer>("7").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input, "{error}");
}

/// What a later program might expect of [`CustomerMet`].
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(name = "CustomerMet")]
struct Renumbered {
    name: u32,
}

#[tokio::test]
async fn an_error_does_not_tell_what_is_encrypted() {
    let store = Annals::in_memory().store("shop").await.unwrap();
    let stream = StreamName::of("customer", "7").unwrap();
    let met = |who: Option<&str>| CustomerMet { who: who.map(str::to_owned), name: "Ada".into() };
    for (who, tells) in [(None, true), (Some("ada"), false)] {
        let position = store.append(stream.clone(), vec![met(who)]).await.unwrap().position;
        let read = store.read::<Renumbered>(Read::all().from_position(position)).await;
        let error = read.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let ReadEventsError::Decode(DecodeError::Data { source, .. }) = error else { panic!("{error}") };
        assert_eq!(source.to_string().contains("Ada"), tells, "{source}");
    }
}
