//! Three ways in which an event may change: a version field, a type of its own, an upcaster.

use annals::store::{Append, Expected, Metadata, NewEvent, Query, Read, StreamName};
use annals::{
    Annals, DecodeError, ErrorKind, Event, EventStore, RawEvent, ReadEventsError, StoreError, Upcasters,
    UpcastersError,
};
use serde::{Deserialize, Serialize};

/// Stores an event as an older program did.
async fn stored(store: &EventStore, name: &str, version: u32, data: serde_json::Value) {
    let event = NewEvent {
        id: store.clock().uuid_v7().to_string(),
        name: name.to_owned(),
        version,
        data: data.to_string().into(),
        tags: vec![],
        metadata: Metadata::default(),
        encrypt_for: None,
    };
    let append = Append::to(StreamName::of("order", "1").unwrap(), Expected::Any, vec![event]);
    store.raw().append(append).await.unwrap();
}

async fn read<E: Event>(store: &EventStore) -> Result<Vec<E>, ReadEventsError> {
    let events = store.read::<E>(Read::all()).await?;
    Ok(events.into_iter().map(|envelope| envelope.event).collect())
}

mod version_field {
    use super::*;

    /// One type reads both versions: what is new has a default.
    #[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
    enum OrderEvent {
        #[event(name = "OrderCreated", version = 2, reads = 1)]
        Created {
            order_id: String,
            #[serde(default)]
            shipping_address: Option<String>,
        },
    }

    #[tokio::test]
    async fn an_older_version_is_read_as_it_is() {
        let store = Annals::in_memory().store("shop").await.unwrap();
        stored(&store, "OrderCreated", 1, serde_json::json!({"order_id": "123"})).await;
        let new = OrderEvent::Created { order_id: "124".into(), shipping_address: Some("Oak Street".into()) };
        store.append(StreamName::of("order", "2").unwrap(), vec![new]).await.unwrap();
        let events = read::<OrderEvent>(&store).await.unwrap();
        let address = |event: &OrderEvent| {
            let OrderEvent::Created { shipping_address, .. } = event;
            shipping_address.clone()
        };
        assert_eq!(events.iter().map(address).collect::<Vec<_>>(), [None, Some("Oak Street".to_owned())]);
    }
}

mod separate_types {
    use super::*;

    /// Both are events of today: nothing is translated, and `evolve` knows two cases.
    #[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
    enum OrderEvent {
        OrderCreatedV1 { order_id: String },
        OrderCreatedV2 { order_id: String, shipping_address: String },
    }

    #[tokio::test]
    async fn both_types_are_read() {
        let store = Annals::in_memory().store("shop").await.unwrap();
        stored(&store, "OrderCreatedV1", 1, serde_json::json!({"order_id": "123"})).await;
        let two = serde_json::json!({"order_id": "124", "shipping_address": "Oak Street"});
        stored(&store, "OrderCreatedV2", 1, two).await;
        let events = read::<OrderEvent>(&store).await.unwrap();
        assert_eq!(events[0], OrderEvent::OrderCreatedV1 { order_id: "123".into() });
        assert!(matches!(events[1], OrderEvent::OrderCreatedV2 { .. }));
    }
}

mod upcasting {
    use super::*;

    #[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
    enum OrderEvent {
        #[event(name = "OrderPlaced", version = 3)]
        Placed { id: String, cents: i64, currency: String },
    }

    fn upcasters() -> Upcasters {
        Upcasters::new()
            // It was called otherwise at first.
            .rename(("OrderCreated", 1), ("OrderPlaced", 1), |event| event)
            .upcast("OrderPlaced", 1, |mut event: RawEvent| {
                let euros = event.data["total"].as_f64().ok_or("no total")?;
                event.data["cents"] = ((euros * 100.0).round() as i64).into();
                Ok::<_, &str>(event)
            })
            .upcast("OrderPlaced", 2, |mut event: RawEvent| {
                event.data["currency"] = "EUR".into();
                event
            })
    }

    async fn store() -> EventStore {
        Annals::in_memory().store("shop").upcasters(upcasters()).await.unwrap()
    }

    #[tokio::test]
    async fn old_events_arrive_in_the_form_of_today() {
        let store = store().await;
        stored(&store, "OrderCreated", 1, serde_json::json!({"id": "1", "total": 1.5})).await;
        stored(&store, "OrderPlaced", 1, serde_json::json!({"id": "1", "total": 1.5})).await;
        stored(&store, "OrderPlaced", 2, serde_json::json!({"id": "1", "cents": 150})).await;
        stored(&store, "OrderPlaced", 3, serde_json::json!({"id": "1", "cents": 150, "currency": "EUR"}))
            .await;
        let today = || OrderEvent::Placed { id: "1".into(), cents: 150, currency: "EUR".into() };
        assert_eq!(read::<OrderEvent>(&store).await.unwrap(), [today(), today(), today(), today()]);
        // What is stored stays as it was.
        let raw = store.raw().read(Read::all().matching(Query::types(["OrderCreated"]))).await.unwrap();
        assert_eq!(&raw.events[0].data[..], br#"{"id":"1","total":1.5}"#);
    }

    #[tokio::test]
    async fn what_cannot_be_brought_up_to_date_is_told() {
        let store = store().await;
        stored(&store, "OrderPlaced", 1, serde_json::json!({"id": "1"})).await;
        let error = read::<OrderEvent>(&store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Bug);
        let ReadEventsError::Decode(DecodeError::Upcast { source, .. }) = error else { panic!("{error}") };
        assert_eq!(source.to_string(), "the upcaster of OrderPlaced version 1 failed");
    }

    #[tokio::test]
    async fn a_missing_upcaster_and_a_newer_version_are_told_apart() {
        let store = Annals::in_memory().store("shop").await.unwrap();
        stored(&store, "OrderPlaced", 2, serde_json::json!({})).await;
        let missing = read::<OrderEvent>(&store).await.unwrap_err();
        assert!(matches!(
            &missing,
            ReadEventsError::Decode(DecodeError::MissingUpcaster { stored: 2, known: 3, .. })
        ));
        assert_eq!(
            missing.to_string(),
            "event OrderPlaced at position 0 has version 2, the program knows 3, and no upcaster leads from 2: add one"
        );
        let store = Annals::in_memory().store("shop").await.unwrap();
        stored(&store, "OrderPlaced", 4, serde_json::json!({})).await;
        let newer = read::<OrderEvent>(&store).await.unwrap_err();
        assert!(matches!(
            newer,
            ReadEventsError::Decode(DecodeError::NewerVersion { stored: 4, known: 3, .. })
        ));
    }

    #[tokio::test]
    async fn upcasters_that_lead_in_a_circle_are_refused_at_the_start() {
        let circle = upcasters().rename(("OrderPlaced", 3), ("OrderCreated", 1), |event| event);
        let refused = Annals::in_memory().store("shop").upcasters(circle).await.unwrap_err();
        assert!(matches!(refused, StoreError::Upcasters(UpcastersError::Circle { .. })));
    }

    #[tokio::test]
    async fn data_that_does_not_fit_names_its_event() {
        let store = Annals::in_memory().store("shop").await.unwrap();
        stored(&store, "OrderPlaced", 3, serde_json::json!({"id": 5})).await;
        let error = read::<OrderEvent>(&store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(
            error.to_string(),
            "the data of event OrderPlaced version 3 at position 0 does not fit the program's type"
        );
    }
}
