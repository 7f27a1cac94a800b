use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use annals::projection::{LiveView, Phase, ProjectionOptions, WaitError};
use annals::{Envelope, ErrorKind};

use super::account::{Account, AccountEvent, Command, open, store};

#[derive(Default)]
pub(crate) struct Total(i64);

impl Total {
    pub(crate) fn amount(&self) -> i64 {
        self.0
    }
}

impl LiveView for Total {
    type Event = AccountEvent;

    fn apply(&mut self, event: &Envelope<AccountEvent>) {
        match event.event {
            AccountEvent::Opened { .. } => {}
            AccountEvent::Deposited { amount, .. } => self.0 += amount,
            AccountEvent::Withdrawn { amount, .. } => self.0 -= amount,
        }
    }
}

#[tokio::test]
async fn ones_own_writes_are_read() {
    let store = store().await;
    open(&store, "1", "C1", &[100]).await;
    let total = store.live::<Total>();
    for expected in 101..200 {
        let done = store.execute::<Account>("1", Command::Deposit(1)).await.unwrap();
        total.wait_for(done.position.unwrap()).await.unwrap();
        assert_eq!(total.read(|total| total.0), expected);
    }
    assert_eq!(total.status().phase, Phase::Live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_goes_on_beside_and_swaps_at_once() {
    let store = store().await;
    open(&store, "1", "C1", &[1; 1000]).await;
    let mut total = store.live::<Total>();
    total.ready().await.unwrap();
    let writer = store.clone();
    let mut writing = tokio::task::JoinSet::new();
    writing.spawn(async move {
        for _ in 0..300 {
            writer.execute::<Account>("1", Command::Deposit(1)).await.unwrap();
        }
    });
    for _ in 0..5 {
        let before = total.read(|total| total.0);
        total.rebuild().await.unwrap();
        let after = total.read(|total| total.0);
        assert!((1000..=before.max(after)).contains(&after) && after >= before, "{before} then {after}");
    }
    writing.join_all().await;
    total.wait_for(store.head().await.unwrap().unwrap()).await.unwrap();
    assert_eq!(total.read(|total| total.0), 1300);
}

static SEEN: AtomicUsize = AtomicUsize::new(0);
static BROKEN: AtomicBool = AtomicBool::new(true);

#[derive(Default)]
struct Fragile(Vec<i64>);

impl LiveView for Fragile {
    type Event = AccountEvent;

    fn apply(&mut self, event: &Envelope<AccountEvent>) {
        SEEN.fetch_add(1, Ordering::SeqCst);
        if let AccountEvent::Deposited { amount, .. } = event.event {
            self.0.push(amount);
            assert!(amount != 13 || !BROKEN.load(Ordering::SeqCst), "unlucky");
        }
    }
}

#[tokio::test]
async fn a_panic_stops_the_view_and_nothing_is_applied_twice() {
    let store = store().await;
    open(&store, "1", "C1", &[1, 2]).await;
    let view = store.live::<Fragile>();
    view.ready().await.unwrap();
    let done = store.execute::<Account>("1", Command::DepositEach(vec![3, 13, 4])).await.unwrap();
    let WaitError::Stopped(error) = view.wait_for(done.position.unwrap()).await.unwrap_err();
    let error = error.unwrap();
    assert_eq!((error.kind(), error.position().unwrap().0), (ErrorKind::Bug, 4));
    assert_eq!(error.to_string(), "the projection failed at position 4: it panicked: unlucky");
    assert_eq!(view.status().phase, Phase::Stopped);
    // Resuming without a repair stops at the same place.
    view.resume();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(view.status().phase, Phase::Stopped);
    BROKEN.store(false, Ordering::SeqCst);
    view.resume();
    // The old error may still be there for a moment.
    while view.wait_for(done.position.unwrap()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(view.read(|view| view.0.clone()), [1, 2, 3, 13, 4]);
}

#[derive(Default)]
struct Unlucky(Vec<i64>);

impl LiveView for Unlucky {
    type Event = AccountEvent;

    fn apply(&mut self, event: &Envelope<AccountEvent>) {
        if let AccountEvent::Deposited { amount, .. } = event.event {
            assert_ne!(amount, 13, "unlucky");
            self.0.push(amount);
        }
    }
}

#[tokio::test]
async fn failures_may_be_passed_over() {
    let store = store().await;
    open(&store, "1", "C1", &[1, 13, 2, 13, 3]).await;
    let view = store.live_with::<Unlucky>(ProjectionOptions { skip_failures: true, ..Default::default() });
    view.wait_for(store.head().await.unwrap().unwrap()).await.unwrap();
    assert_eq!(view.read(|view| view.0.clone()), [1, 2, 3]);
}
