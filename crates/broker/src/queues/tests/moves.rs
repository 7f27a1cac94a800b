//! Moves: by themselves, through crashes, stopped and resumed; and what queues tell of themselves.

use super::*;
use crate::api::queues::admin::{MoveId, MoveState};

fn to(target: &str, rate: Option<u32>) -> Move {
    Move { source: reference("from"), target: Some(("".into(), target.into())), max: None, rate }
}

fn names(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|index| index.to_string()).collect()
}

async fn filled(count: u32) -> World {
    let world = World::new();
    world.queue("from").await;
    world.queue("to").await;
    let bodies = names(0..count);
    world.put("from", &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world
}

fn moved(world: &World, id: MoveId) -> (u64, MoveState) {
    let movement = world.broker.move_progress(&world.caller, id).unwrap().movement;
    (movement.moved, movement.state)
}

#[tokio::test]
async fn a_move_goes_on_after_every_crash_and_neither_loses_nor_doubles() {
    let mut world = filled(300).await;
    let id = world.broker.start_move(&world.caller, to("to", Some(400))).await.unwrap();
    let mut last = 0;
    for life in 0..40 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let files = if life % 2 == 0 { world.files.kill() } else { world.files.crash(life) };
        let clock = world.clock.clone();
        drop(world);
        world = World::open(&files, &clock);
        let (now, state) = moved(&world, id);
        assert_eq!(world.ready("to"), now, "life {life}: what is counted is there");
        assert!(now >= last, "life {life}: {now} after {last}");
        last = now;
        if state == MoveState::Finished {
            break;
        }
    }
    assert_eq!(world.broker.move_ended(&world.caller, id).await, Ok(300));
    assert_eq!(world.drain("to").await, names(0..300));
    assert_eq!(world.ready("from"), 0);
    let all = world.broker.moves(&world.caller, None);
    assert_eq!(
        all.iter().map(|one| (one.id, one.source.to_string())).collect::<Vec<_>>(),
        [(id, "from".into())]
    );
}

#[tokio::test]
async fn a_move_is_previewed_stopped_and_resumed() {
    let world = filled(50).await;
    let preview = world.broker.preview_move(&world.caller, to("to", None)).await.unwrap();
    assert_eq!((preview.messages, preview.unroutable), (50, 0));
    assert_eq!(preview.targets, [("to".into(), 50)]);
    let nowhere = Move { max: Some(20), ..to("nowhere", None) };
    let preview = world.broker.preview_move(&world.caller, nowhere.clone()).await.unwrap();
    assert_eq!((preview.messages, preview.unroutable, preview.targets), (20, 20, Vec::new()));
    assert_eq!(world.ready("from"), 50, "a look changes nothing");

    let stuck = world.broker.start_move(&world.caller, nowhere).await.unwrap();
    let error = world.broker.move_ended(&world.caller, stuck).await.unwrap_err();
    assert!(matches!(error, MoveError::Unroutable { moved: 0, .. }), "{error}");
    world.queue("nowhere").await;
    world.broker.resume_move(&world.caller, stuck).await.unwrap();
    assert_eq!(world.broker.move_ended(&world.caller, stuck).await, Ok(20));
    assert_eq!(world.drain("nowhere").await, names(0..20));

    let slow = world.broker.start_move(&world.caller, to("to", Some(10))).await.unwrap();
    while moved(&world, slow).0 == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stopped = world.broker.cancel_move(&world.caller, slow).await.unwrap();
    assert_eq!(stopped.movement.state, MoveState::Cancelled);
    assert_eq!(slow.to_string().parse::<MoveId>(), Ok(slow));
    let count = stopped.movement.moved;
    let world = world.crash().await;
    assert_eq!(moved(&world, slow), (count, MoveState::Cancelled));
    assert_eq!((world.ready("to"), world.ready("from")), (count, 30 - count));
    let unknown = MoveId { number: 99, ..slow };
    assert_eq!(world.broker.cancel_move(&world.caller, unknown).await, Err(MoveError::Unknown(unknown)));
}

#[tokio::test]
async fn a_queue_tells_what_happened_in_it() {
    let world = World::new();
    let before_ms = Clock::system().now_ms();
    world.declare("q", QueueOptions { length_max: Some(3), ..QueueOptions::default() }).await.unwrap();
    world.put("q", &["a", "bb", "ccc", "dddd"]).await;
    let got = world.get("q", 2).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.settle(&got[..1], Settlement::Accept).await;
    let info = world.broker.queue_info(&world.caller, &reference("q")).unwrap();
    assert_eq!((info.ready, info.ready_bytes), (1, 4));
    assert_eq!((info.unacknowledged, info.unacknowledged_bytes), (1, 3));
    let counters = info.counters;
    assert_eq!((counters.published, counters.delivered, counters.got, counters.acknowledged), (4, 2, 2, 1));
    assert_eq!((counters.dead, counters.over_limit, counters.expired), (1, 1, 0));
    assert_eq!((info.processing_time.count(), info.processing_time.counts[..3].iter().sum::<u64>()), (1, 0));
    assert!(info.processing_time.sum_ms >= 20);
    assert!(info.oldest_ms.unwrap() >= before_ms);
    let world = world.crash().await;
    let oldest_ms = || world.broker.queue_info(&world.caller, &reference("q")).unwrap().oldest_ms;
    world.until("the oldest is known again", || oldest_ms().is_some()).await;
    assert_eq!(oldest_ms().map(|at_ms| at_ms >= before_ms), Some(true));
}

#[tokio::test]
async fn a_preview_counts_every_message_of_every_priority_once() {
    const EACH: usize = 700;
    let world = World::new();
    let options = QueueOptions { priority_max: 2, ..QueueOptions::default() };
    world.declare("from", options).await.unwrap();
    let messages = |priority: u8, persistent: bool| {
        let one = move |_| Message { priority, persistent, ..message("from", "x") };
        (0..EACH).map(one).collect::<Vec<_>>()
    };
    // More than are looked at together: of each priority, and behind one another in memory only.
    for (priority, persistent) in [(0, true), (0, false), (0, false), (1, true), (2, true), (2, false)] {
        world.send("", messages(priority, persistent)).await.unwrap().durable().await.unwrap();
    }
    world.queue("to").await;
    let preview = world.broker.preview_move(&world.caller, to("to", None)).await.unwrap();
    assert_eq!(preview.messages, 6 * EACH as u64);
    assert_eq!(preview.targets, [("to".into(), 6 * EACH as u64)]);
}
