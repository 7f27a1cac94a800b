//! Consumers that come and go: in whose stead another one is served, and with what.

use super::*;

/// As the end of a channel does it.
async fn end(world: &World, consumer: Consumer, held: &[Delivery]) {
    world.broker.retire_consumer(consumer.reference());
    world.settle(held, Settlement::Requeue { counts: true }).await;
    drop(consumer);
}

#[tokio::test]
async fn the_next_single_active_consumer_begins_where_the_one_before_it_ended() {
    let world = World::new();
    let options = QueueOptions { single_active_consumer: true, ..QueueOptions::default() };
    world.declare("q", options).await.unwrap();
    let mut first = world.consume("q", 4, false);
    let mut second = world.consume("q", 10, false);
    world.put("q", &["0", "1", "2", "3", "4", "5", "6", "7"]).await;
    let mut held = take(&mut first, 2).await;
    while held.len() < 4 {
        held.extend(take(&mut first, 1).await);
    }
    world.settle(&held[..1], Settlement::Accept).await;
    // One more lies in its box.
    end(&world, first, &held[1..]).await;
    let taken = take(&mut second, 7).await;
    assert_eq!(bodies(&taken), ["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(taken.iter().filter(|delivery| delivery.redelivered).count(), 4);
}

#[tokio::test]
async fn a_queue_that_is_in_use_again_when_its_end_comes_stays() {
    let world = World::new();
    let request = DeclareQueue {
        vhost: VHOST,
        name: "q".into(),
        owner: OWNER,
        durable: true,
        exclusive: false,
        auto_delete: true,
        options: QueueOptions::default(),
        arguments: Headers::new(),
    };
    world.broker.declare_queue(&world.caller, request).await.unwrap();
    // Another change of the definitions takes its time.
    let defining = world.broker.inner.queues().defining.lock().await;
    drop(world.consume("q", 0, false));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let consumer = world.consume("q", 0, false);
    drop(defining);
    world.queue("behind").await;
    assert!(world.broker.queue_info(&world.caller, &reference("q")).is_ok());
    drop(consumer);
    let gone = || world.broker.queue_info(&world.caller, &reference("q")).is_err();
    world.until("it goes with its last consumer", gone).await;
}
