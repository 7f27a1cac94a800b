//! Transient messages that stay: what is beyond a queue's share of memory goes to the disk.

use super::*;

const MIB: usize = 1 << 20;

fn transient(key: &str, body: &Bytes, due_ms: Option<i64>) -> Message {
    Message { body: body.clone(), persistent: false, due_ms, ..message(key, "") }
}

#[tokio::test]
async fn what_a_consumer_holds_for_ever_goes_to_the_disk_beyond_a_share_of_memory() {
    let world = World::new();
    world.queue("q").await;
    let mut consumer = world.consume("q", 0, false);
    let body = Bytes::from(vec![7; MIB]);
    let mut held = Vec::new();
    for _ in 0..24 {
        world.send("", vec![transient("q", &body, None)]).await.unwrap();
        held.extend(take(&mut consumer, 1).await);
    }
    let memory = || world.broker.inner.queues().kept.memory();
    assert!((16 * MIB..18 * MIB).contains(&memory()), "{}", memory());
    world.settle(&held, Settlement::Requeue { counts: true }).await;
    let again = take(&mut consumer, 24).await;
    assert!(again.iter().all(|delivery| delivery.redelivered && delivery.message.body == body));
    world.settle(&again, Settlement::Accept).await;
    assert_eq!(memory(), 0);
}

#[tokio::test]
async fn what_is_not_due_yet_goes_to_the_disk_beyond_a_share_of_memory() {
    let (world, hand) = World::with_hand();
    world.queue("q").await;
    let body = Bytes::from(vec![7; MIB]);
    let due_ms = Some(world.clock.now_ms() + 1000);
    for _ in 0..24 {
        world.send("", vec![transient("q", &body, due_ms)]).await.unwrap();
    }
    let memory = || world.broker.inner.queues().kept.memory();
    assert!((16 * MIB..18 * MIB).contains(&memory()), "{}", memory());
    hand.advance(Duration::from_millis(1001));
    world.until("all are due", || world.ready("q") == 24).await;
    world.drain("q").await;
    assert_eq!(memory(), 0);
}
