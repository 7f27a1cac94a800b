use std::collections::BTreeSet;

use super::*;

fn at(position: u64) -> Position {
    Position(position)
}

fn subscription(options: Options) -> Subscription {
    let mut subscription = Subscription::new(options, at(0));
    subscription.feed((0..10).map(|n| (at(n), n % 2)), at(10));
    subscription
}

fn positions(leases: &[Lease]) -> Vec<u64> {
    leases.iter().map(|lease| lease.position.0).collect()
}

#[test]
fn consumers_share_the_events() {
    let mut subscription = subscription(Options { in_flight_max: 3, ..Options::default() });
    let (one, other) = (subscription.connect(), subscription.connect());
    assert_eq!(positions(&subscription.lease(one, 10, 0)), [0, 1, 2]);
    assert_eq!(positions(&subscription.lease(one, 10, 0)), [0; 0], "it has as many as it may");
    assert_eq!(positions(&subscription.lease(other, 2, 0)), [3, 4]);
    subscription.ack(one, at(1)).unwrap();
    assert_eq!(subscription.ack(other, at(0)), Err(NotLeased { position: at(0) }));
    assert_eq!(subscription.status().checkpoint, at(0));
    subscription.ack(one, at(0)).unwrap();
    assert_eq!(subscription.status().checkpoint, at(2));
    subscription.disconnect(one);
    let again = subscription.lease(other, 10, 0);
    assert_eq!((positions(&again), again[0].delivery), (vec![2], 2));
}

#[test]
fn what_takes_too_long_comes_again_and_is_parked_in_the_end() {
    let options = Options { ack_timeout_ms: 100, deliveries_max: 2, in_flight_max: 1, ..Options::default() };
    let mut subscription = subscription(options);
    let consumer = subscription.connect();
    for (now_ms, delivery) in [(0, 1), (100, 2)] {
        let leases = subscription.lease(consumer, 1, now_ms);
        assert_eq!(leases, [Lease { position: at(0), delivery }]);
        assert_eq!(subscription.expire(now_ms + 99), 0);
        assert_eq!(subscription.expire(now_ms + 100), 1);
    }
    assert_eq!(positions(&subscription.lease(consumer, 1, 200)), [1]);
    let parked = subscription.parked(at(0), 10);
    assert_eq!((parked.len(), parked[0].0, parked[0].1.deliveries), (1, at(0), 2));
    subscription.nack(consumer, at(1), &Nack::Park { reason: "no".into() }, 200).unwrap();
    assert_eq!(subscription.discard(Some(&[at(1), at(7)])), 1);
    assert_eq!(subscription.replay(None), 1);
    assert_eq!(subscription.lease(consumer, 1, 200), [Lease { position: at(0), delivery: 1 }]);
}

#[test]
fn a_retry_waits_for_its_time() {
    let mut subscription = subscription(Options::default());
    let consumer = subscription.connect();
    subscription.lease(consumer, 1, 0);
    subscription.nack(consumer, at(0), &Nack::Retry { after_ms: 50 }, 0).unwrap();
    assert_eq!(positions(&subscription.lease(consumer, 1, 49)), [1]);
    assert_eq!(subscription.next_due_ms(), Some(50));
    assert_eq!(positions(&subscription.lease(consumer, 1, 50)), [0]);
}

#[test]
fn one_event_of_a_stream_at_a_time_if_asked_for() {
    let mut subscription = subscription(Options { ordered_by_stream: true, ..Options::default() });
    let consumer = subscription.connect();
    assert_eq!(positions(&subscription.lease(consumer, 10, 0)), [0, 1]);
    subscription.nack(consumer, at(0), &Nack::Retry { after_ms: 50 }, 0).unwrap();
    subscription.ack(consumer, at(1)).unwrap();
    assert_eq!(positions(&subscription.lease(consumer, 10, 10)), [3], "2 waits behind 0");
    subscription.ack(consumer, at(3)).unwrap();
    assert_eq!(positions(&subscription.lease(consumer, 10, 50)), [0, 5]);
}

#[test]
fn a_stream_stays_in_order_over_a_restart_and_a_replay() {
    let mut before = subscription(Options { ordered_by_stream: true, ..Options::default() });
    let consumer = before.connect();
    assert_eq!(positions(&before.lease(consumer, 1, 0)), [0]);
    before.nack(consumer, at(0), &Nack::Park { reason: "no".into() }, 0).unwrap();
    let mut subscription = Subscription::restore(&before.image().unwrap().0).unwrap();
    let consumer = subscription.connect();
    assert_eq!(positions(&subscription.lease(consumer, 10, 0)), [1, 2], "one of each stream");
    subscription.ack(consumer, at(2)).unwrap();
    assert_eq!(subscription.replay(None), 1);
    assert_eq!(positions(&subscription.lease(consumer, 10, 0)), [0]);
    subscription.ack(consumer, at(0)).unwrap();
    assert_eq!(positions(&subscription.lease(consumer, 10, 0)), [4]);
}

#[test]
fn images_without_streams_are_still_read() {
    // Ordered by stream; looked to 10; 3 and 5 open, 4 parked with the reason "no".
    let image = [1, 7, 2, 3, 4, 1, 10, 2, 3, 1, 2, 0, 1, 4, 1, 9, 2, b'n', b'o'];
    let mut subscription = Subscription::restore(&image).unwrap();
    let parked = subscription.parked(at(0), 10);
    assert_eq!((parked[0].0, parked[0].1.deliveries, &*parked[0].1.reason), (at(4), 1, "no"));
    let consumer = subscription.connect();
    assert_eq!(positions(&subscription.lease(consumer, 10, 0)), [3, 5]);
}

#[test]
fn what_was_not_given_waits_on_and_does_not_count() {
    let mut subscription = subscription(Options { in_flight_max: 2, ..Options::default() });
    let consumer = subscription.connect();
    assert_eq!(positions(&subscription.lease(consumer, 10, 0)), [0, 1]);
    subscription.not_given(consumer, at(1));
    assert_eq!(subscription.lease(consumer, 10, 0), [Lease { position: at(1), delivery: 1 }]);
}

#[test]
fn damaged_images_are_refused() {
    let mut subscription = subscription(Options { ordered_by_stream: true, ..Options::default() });
    let consumer = subscription.connect();
    subscription.lease(consumer, 3, 0);
    subscription.nack(consumer, at(0), &Nack::Park { reason: "no".into() }, 7).unwrap();
    let image = subscription.image().unwrap().0;
    for cut in 0..image.len() {
        assert_eq!(Subscription::restore(&image[..cut]).unwrap_err(), ImageError);
    }
    assert!(Subscription::restore(&image).is_ok());
    assert_eq!(subscription.image(), None, "nothing has changed since");
}

/// Random consumers and crashes: no event is lost, none is in two places, none comes again after an image had it done.
#[test]
fn no_event_is_lost() {
    for seed in 0..300 {
        live(seed);
    }
}

fn live(seed: u64) {
    let mut state = seed;
    let mut below = move |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let options = Options {
        ack_timeout_ms: 20,
        deliveries_max: 3,
        in_flight_max: 4,
        buffer_max: 12,
        ordered_by_stream: below(2) == 0,
    };
    let mut subscription = Subscription::new(options, at(0));
    let mut consumers = vec![subscription.connect()];
    let (mut held, mut done, mut saved) = (Vec::new(), BTreeSet::new(), None::<(Image, BTreeSet<u64>)>);
    for now_ms in 0..400 {
        let consumer = consumers[below(consumers.len() as u64) as usize];
        match below(9) {
            0 => {
                let from = subscription.status().looked_to.0;
                let fed = from..from + subscription.wanted() as u64;
                subscription.feed(fed.clone().map(|n| (at(n), n % 3)), at(fed.end));
            }
            1..4 => held.extend(
                subscription.lease(consumer, 3, now_ms).iter().map(|lease| (consumer, lease.position)),
            ),
            4 | 5 if !held.is_empty() => {
                let (consumer, position) = held.swap_remove(below(held.len() as u64) as usize);
                if subscription.ack(consumer, position).is_ok() {
                    done.insert(position.0);
                }
            }
            6 if !held.is_empty() => {
                let (consumer, position) = held.swap_remove(below(held.len() as u64) as usize);
                let nack = [Nack::Retry { after_ms: 5 }, Nack::Park { reason: "x".into() }]
                    [below(2) as usize]
                    .clone();
                let _ = subscription.nack(consumer, position, &nack, now_ms);
            }
            7 => drop(subscription.expire(now_ms)),
            _ => match below(5) {
                0 => consumers.push(subscription.connect()),
                1 if consumers.len() > 1 => {
                    consumers.retain(|other| *other != consumer);
                    subscription.disconnect(consumer);
                }
                2 => drop(subscription.replay(None)),
                3 => {
                    if let Some(image) = subscription.image() {
                        saved = Some((image, done.clone()));
                    }
                }
                _ => {
                    if let Some((image, was_done)) = &saved {
                        subscription = Subscription::restore(&image.0).unwrap();
                        (done, consumers) = (was_done.clone(), vec![subscription.connect()]);
                        held.clear();
                    }
                }
            },
        }
        check(&subscription, &done);
    }
}

fn check(subscription: &Subscription, done: &BTreeSet<u64>) {
    for position in 0..subscription.looked_to {
        let places = [
            subscription.waiting.contains_key(&position),
            subscription.leased.contains_key(&position),
            subscription.parked.contains_key(&position),
            done.contains(&position),
        ];
        assert_eq!(places.iter().filter(|is_there| **is_there).count(), 1, "{position}: {places:?}");
    }
    for (consumer, has) in &subscription.consumers {
        let theirs = subscription.leased.values().filter(|leased| leased.consumer == *consumer).count();
        assert_eq!(theirs, *has);
    }
}
