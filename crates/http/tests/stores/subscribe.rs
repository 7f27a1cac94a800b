//! Server-sent events: catching up and live, going on where one stopped, and that nothing is skipped or repeated.

use std::sync::Arc;
use std::time::Duration;

use annals_http::Options;
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{Feed, Message, World};

const ALL: &str = "/stores/shop/subscribe";

fn positions(messages: &[Message]) -> Vec<u64> {
    let events = messages.iter().filter(|message| message.name == "message");
    let position = |message: &Message| {
        let position = message.data["position"].as_u64().unwrap();
        assert_eq!(message.id.as_deref(), Some(&*position.to_string()));
        position
    };
    events.map(position).collect()
}

#[tokio::test]
async fn what_is_there_comes_first_and_then_what_comes() {
    let world = World::with_store().await;
    let mut feed = Feed::open(&world, ALL, None).await;
    let empty = Message { name: "caught-up".into(), id: None, data: json!({"position": null}) };
    assert_eq!(feed.until_caught_up().await, [empty]);
    world.append("a-1", &json!({"type": "A", "data": {"n": 1}})).await;
    world.append("a-1", &json!({"type": "B"})).await;
    let live = feed.events(2).await;
    assert_eq!(positions(&live), [0, 1]);
    assert_eq!(live[0].data, world.get("/stores/shop/events/0").await.json());

    let mut late = Feed::open(&world, ALL, None).await;
    let messages = late.until_caught_up().await;
    assert_eq!(positions(&messages), [0, 1]);
    let last = messages.last().unwrap();
    assert_eq!((last.id.as_deref(), &last.data), (Some("1"), &json!({"position": 1})));
}

#[tokio::test]
async fn a_subscriber_chooses_events_and_where_to_begin() {
    let world = World::with_store().await;
    for (stream, kind) in [("a-1", "A"), ("b-1", "B"), ("a-1", "C"), ("a-2", "A")] {
        world.append(stream, &json!({"type": kind})).await;
    }
    let told = async |query: &str| {
        positions(&Feed::open(&world, &format!("{ALL}?{query}"), None).await.until_caught_up().await)
    };
    assert_eq!(told("stream=a-1").await, [0, 2]);
    assert_eq!(told("stream=a-1&after_revision=0").await, [2]);
    assert_eq!(told("stream=a-1&after=0").await, [2]);
    assert_eq!(told("category=a&after=0").await, [2, 3]);
    assert_eq!(told("type=A").await, [0, 3]);
    assert_eq!(told("after=1").await, [2, 3]);
    assert_eq!(told("after_time=0").await, [0, 1, 2, 3]);
    assert_eq!(told("from=end").await, [0; 0]);
    assert_eq!(told("stream=not-yet").await, [0; 0]);
    let mut resumed = Feed::open(&world, &format!("{ALL}?after=0"), Some("2")).await;
    assert_eq!(positions(&resumed.until_caught_up().await), [3]);

    let mut new = Feed::open(&world, &format!("{ALL}?stream=not-yet"), None).await;
    new.until_caught_up().await;
    world.append("other-1", &json!({"type": "A"})).await;
    world.append("not-yet", &json!({"type": "A"})).await;
    assert_eq!(positions(&new.events(1).await), [5]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_the_stream_begins() {
    let world = World::with_store().await;
    world.append("a-1", &json!({"type": "A"})).await;
    for (query, field) in [
        ("?after=1", "after"),
        ("?after=x", "after"),
        ("?after_revision=0", "after_revision"),
        ("?after=0&from=end", "after"),
        ("?from=middle", "from"),
        ("?stream=a-1&type=A", "type"),
        ("?limit=5", "limit"),
    ] {
        assert_eq!(world.get(&format!("{ALL}{query}")).await.wrong_field(), field, "{query}");
    }
    let header = [("last-event-id", "abc")];
    let answer = world.send(hyper::Method::GET, ALL, &header, "".into()).await;
    assert_eq!(answer.wrong_field(), "Last-Event-ID");
    assert_eq!(world.get("/stores/nowhere/subscribe").await.problem(), (404, "unknown-store".into()));
}

#[tokio::test]
async fn a_subscriber_goes_on_across_a_restart_and_a_crash() {
    let mut world = World::with_store().await;
    let (mut seen, mut last): (Vec<u64>, Option<String>) = (Vec::new(), None);
    for round in 0..4 {
        for _ in 0..3 {
            world.append("a-1", &json!({"type": "A"})).await;
        }
        let mut feed = Feed::open(&world, ALL, last.as_deref()).await;
        // Stops in the middle of what there is, so that some of it comes only after the restart.
        let messages = feed.events(2).await;
        last = messages.last().unwrap().id.clone();
        seen.extend(positions(&messages));
        world = if round % 2 == 0 { world.restart().await } else { world.crash().await };
    }
    let mut feed = Feed::open(&world, ALL, last.as_deref()).await;
    seen.extend(positions(&feed.until_caught_up().await));
    assert_eq!(seen, (0..12).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_skipped_or_repeated_while_many_append() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 60;
    let world = Arc::new(World::with_store().await);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let world = Arc::clone(&world);
        writers.spawn(async move {
            let mut connection = world.connect().await;
            let path = format!("/stores/shop/streams/w-{writer}/events");
            for n in 0..EACH {
                let body = json!({"type": "Counted", "data": n}).to_string();
                let json = [("content-type", "application/json")];
                assert_eq!(connection.send(hyper::Method::POST, &path, &json, body.into()).await.status, 201);
            }
        });
    }
    let mut readers = JoinSet::new();
    for reader in 0..3_usize {
        let world = Arc::clone(&world);
        readers.spawn(async move {
            let (mut seen, mut last): (Vec<Message>, Option<String>) = (Vec::new(), None);
            while (seen.len() as u64) < WRITERS * EACH {
                // Each connection ends after a while, and the next one goes on behind what was seen.
                let mut feed = Feed::open(&world, ALL, last.as_deref()).await;
                let left = (WRITERS * EACH) as usize - seen.len();
                let messages = feed.events(left.min(70 + 50 * reader)).await;
                last = messages.last().unwrap().id.clone();
                seen.extend(messages);
            }
            seen
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    while let Some(seen) = readers.join_next().await {
        let seen = seen.unwrap();
        assert_eq!(positions(&seen), (0..WRITERS * EACH).collect::<Vec<u64>>());
        for writer in 0..WRITERS {
            let of_one = seen.iter().filter(|message| message.data["stream"] == format!("w-{writer}"));
            let counted: Vec<u64> = of_one.map(|message| message.data["data"].as_u64().unwrap()).collect();
            assert_eq!(counted, (0..EACH).collect::<Vec<u64>>());
        }
    }
}

#[tokio::test]
async fn silence_is_filled_and_line_ends_in_data_do_no_harm() {
    let keep_alive = Duration::from_millis(50);
    let world = World::new(Options { keep_alive, ..Options::default() }).await;
    world.post("/stores", &json!({"name": "shop"})).await;
    let mut feed = Feed::open(&world, ALL, None).await;
    feed.until_caught_up().await;
    let body = "{\"type\":\"A\",\"data\":{\n\"a\":\r\n [1,\r2]\n}}";
    let append = async {
        tokio::time::sleep(keep_alive * 4).await;
        world.post_text("/stores/shop/streams/a-1/events", body).await
    };
    let (messages, _) = tokio::join!(feed.events(1), append);
    assert_eq!(messages[0].data["data"], json!({"a": [1, 2]}));
    assert!(feed.comments > 0);
}

#[tokio::test]
async fn a_stream_ends_with_the_store_and_with_the_server() {
    let mut world = World::with_store().await;
    world.append("a-1", &json!({"type": "A"})).await;
    let mut feed = Feed::open(&world, ALL, None).await;
    feed.until_caught_up().await;
    world.stop().await;
    assert_eq!(feed.next().await, None);

    let world = World::with_store().await;
    let mut feed = Feed::open(&world, ALL, None).await;
    feed.until_caught_up().await;
    world.delete("/stores/shop").await;
    let message = feed.next().await.unwrap();
    assert_eq!(
        (&*message.name, &message.data["type"]),
        ("error", &json!("urn:annals:problem:unknown-store"))
    );
    assert_eq!(feed.next().await, None);
}

#[tokio::test]
async fn subscribers_are_limited() {
    let world = World::new(Options { subscribers_max: 1, ..Options::default() }).await;
    world.post("/stores", &json!({"name": "shop"})).await;
    let feed = Feed::open(&world, ALL, None).await;
    let refused = world.get(ALL).await;
    assert_eq!(refused.problem(), (429, "too-many-requests".into()));
    assert_eq!(refused.header("retry-after"), "5");
    drop(feed);
    let again = async {
        loop {
            let mut connection = world.connect().await;
            if connection.opens(ALL).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, again).await.unwrap();
}
