//! Messages on their way out: large ones, many at once, and what cannot be read now.

use super::*;

/// Queues that each keep bodies of their own.
const FULL_COPIES: usize = 64;
/// As many copies of it fit in no group.
const LARGE: usize = 9 << 20;

fn to(exchange: &str, key: Option<&str>) -> QueueOptions {
    let dead_letter = DeadLetter { exchange: exchange.into(), routing_key: key.map(Into::into) };
    QueueOptions { dead_letter: Some(dead_letter), ..QueueOptions::default() }
}

fn large(key: &str, bytes: usize) -> Message {
    Message { body: vec![7; bytes].into(), ..message(key, "") }
}

async fn copied_in_full(world: &World) {
    for index in 0..FULL_COPIES {
        let name = format!("copy{index}");
        let options = QueueOptions { bytes_max: Some(1 << 40), ..QueueOptions::default() };
        world.declare(&name, options).await.unwrap();
        world.bind("amq.fanout", "", &name).await;
    }
}

#[tokio::test]
async fn what_no_group_can_hold_is_refused_and_stops_nothing() {
    let world = World::new();
    copied_in_full(&world).await;
    let refused = world.send("amq.fanout", vec![large("", LARGE)]).await.unwrap_err();
    assert!(matches!(refused, PublishError::TooLarge { .. }), "{refused}");

    world.declare("huge", to("amq.fanout", None)).await.unwrap();
    world.declare("q", to("", Some("dead"))).await.unwrap();
    world.queue("dead").await;
    world.send("", vec![large("huge", LARGE)]).await.unwrap().durable().await.unwrap();
    world.put("huge", &["small"]).await;
    let got = [world.get("huge", 1).await, world.get("huge", 1).await].concat();
    world.settle(&got, Settlement::Reject).await;
    // Another queue's dead letters still move, and those of the same one behind it.
    world.put("q", &["a"]).await;
    world.settle(&world.get("q", 1).await, Settlement::Reject).await;
    assert_eq!(world.wait("dead").await.message.body, "a");
    world.until("the small one arrives", || world.ready("copy7") == 1).await;

    // It is not lost: it goes when there is room for it.
    for index in 1..FULL_COPIES {
        let request =
            DeleteQueue { queue: reference(&format!("copy{index}")), if_unused: false, if_empty: false };
        world.broker.delete_queue(&world.caller, request).await.unwrap();
    }
    world.until("the large one arrives", || world.ready("copy0") == 2).await;
}

#[tokio::test]
async fn large_departures_do_not_share_a_group() {
    let world = World::new();
    world.declare("q", to("", Some("dead"))).await.unwrap();
    world.queue("dead").await;
    let five_mib = || large("q", 5 << 20);
    world.send("", vec![five_mib(), five_mib(), large("q", 10)]).await.unwrap().durable().await.unwrap();
    let mut got = Vec::new();
    while got.len() < 3 {
        got.extend(world.get("q", 3).await);
    }
    world.settle(&got, Settlement::Reject).await;
    world.until("all arrive", || world.ready("dead") == 3).await;
    let queue = world.broker.inner.queue(&reference("dead")).unwrap().id();
    let log = super::super::logs::lane_log(queue, 0);
    let entries = world.broker.inner.journal.entries(log, 0, usize::MAX).unwrap();
    let counts: Vec<u64> =
        entries.iter().map(|entry| entry.header.end_offset() - entry.header.base_offset).collect();
    assert_eq!(counts, [1, 2], "two of the large ones are too much for one");
}

#[tokio::test]
async fn a_transaction_has_the_limit_of_a_publish() {
    let world = World::new();
    world.queue("q").await;
    let body = Bytes::from(vec![7; 16 << 20]);
    let publish = || {
        let message = Message { body: body.clone(), ..message("q", "") };
        Publish {
            vhost: VHOST,
            exchange: Text::empty(),
            messages: vec![NewMessage { message, more_keys: Vec::new() }],
        }
    };
    let transaction =
        Transaction { publishes: (0..16).map(|_| publish()).collect(), settlements: Vec::new() };
    let refused = world.broker.commit_queues(&world.caller, transaction).await.unwrap_err();
    assert!(matches!(refused, PublishError::TooLarge { .. }), "{refused}");
    assert_eq!(world.ready("q"), 0);
}

#[tokio::test]
async fn the_first_message_with_its_own_time_to_live_expires_by_itself_also_after_a_crash() {
    let (world, hand) = World::with_hand();
    world.queue("q").await;
    let message = Message { ttl_ms: Some(1000), ..message("q", "a") };
    world.send("", vec![message]).await.unwrap().durable().await.unwrap();
    let files = world.files.crash_keeping_only_synced();
    let again = World::open(&files, &world.clock);
    assert_eq!(again.ready("q"), 1);
    hand.advance(Duration::from_millis(1001));
    again.until("it expires", || again.ready("q") == 0).await;
}

/// A queue whose messages are on disk only, and neither in its memory nor in the journal's.
async fn cold(world: World, queue: &str, others: &[&str]) -> World {
    let body = "x".repeat(1000);
    let messages = [("amq.fanout", "a"), ("amq.fanout", "b")];
    for (exchange, name) in messages {
        let message = message("", &format!("{name}{body}"));
        world.send(exchange, vec![message]).await.unwrap().durable().await.unwrap();
    }
    for other in others {
        assert_eq!(world.drain(other).await.len(), 2);
    }
    // More than the journal keeps in memory.
    world.queue("filler").await;
    world.send("", vec![large("filler", 3 << 20)]).await.unwrap().durable().await.unwrap();
    let world = world.reopen().await;
    assert_eq!(world.ready(queue), 2);
    world
}

fn names(deliveries: &[Delivery]) -> Vec<String> {
    bodies(deliveries).iter().map(|body| body[..1].to_owned()).collect()
}

#[tokio::test]
async fn what_cannot_be_read_for_a_while_is_not_lost() {
    // With others, bodies are shared.
    for others in [&[][..], &["other"]] {
        let world = World::new();
        world.declare("q", to("", Some("dead"))).await.unwrap();
        world.queue("dead").await;
        for queue in others.iter().chain(&["q"]) {
            if *queue != "q" {
                world.queue(queue).await;
            }
            world.bind("amq.fanout", "", queue).await;
        }
        let world = cold(world, "q", others).await;
        let got = [world.get("q", 1).await, world.get("q", 1).await].concat();
        assert_eq!(names(&got), ["a", "b"], "{others:?}");
        world.files.fail_reads(true);
        world.settle(&got[..1], Settlement::Requeue { counts: true }).await;
        world.settle(&got[1..], Settlement::Reject).await;
        let mut consumer = world.consume("q", 0, false);
        tokio::time::sleep(Duration::from_millis(250)).await;
        let counters = world.broker.queue_info(&world.caller, &reference("q")).unwrap().counters;
        assert_eq!((world.ready("q"), counters.lost, world.ready("dead")), (1, 0, 0), "{others:?}");
        world.files.fail_reads(false);
        assert_eq!(names(&take(&mut consumer, 1).await), ["a"]);
        world.until("the dead letter arrives", || world.ready("dead") == 1).await;
    }
}
