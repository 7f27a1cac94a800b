use annals::projection::{InlineProjection, ViewError};
use annals::store::{Append, Expected, Metadata, NewEvent, Read, StreamName};
use annals::{Annals, ErrorKind, EventStore, ExecuteError, StoreError};
use serde::{Deserialize, Serialize};

use super::account::{Account, AccountEvent, Command, open};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wealth {
    accounts: u32,
    total: i64,
}

/// All accounts of a customer.
pub(crate) struct WealthByCustomer<const VERSION: u32>;

impl<const VERSION: u32> InlineProjection for WealthByCustomer<VERSION> {
    type Event = AccountEvent;
    type View = Wealth;
    const NAME: &'static str = "wealth";
    const VERSION: u32 = VERSION;
    const TAG: &'static str = "customer";

    fn apply(view: Wealth, event: &AccountEvent) -> Wealth {
        match event {
            AccountEvent::Opened { .. } => Wealth { accounts: view.accounts + 1, ..view },
            AccountEvent::Deposited { amount: 666, .. } => panic!("no such number"),
            AccountEvent::Deposited { amount, .. } => Wealth { total: view.total + amount, ..view },
            AccountEvent::Withdrawn { amount, .. } => Wealth { total: view.total - amount, ..view },
        }
    }
}

pub(crate) type First = WealthByCustomer<1>;
pub(crate) type Second = WealthByCustomer<2>;

pub(crate) async fn wealth<P: InlineProjection<View = Wealth>>(
    store: &EventStore,
    customer: &str,
) -> (u32, i64) {
    let Wealth { accounts, total } = store.view::<P>(customer).await.unwrap();
    (accounts, total)
}

#[tokio::test]
async fn a_view_is_there_with_the_answer() {
    let store = Annals::in_memory().store("bank").inline::<First>().await.unwrap();
    open(&store, "1", "C1", &[100, 20]).await;
    open(&store, "2", "C1", &[3]).await;
    open(&store, "3", "C2", &[]).await;
    assert_eq!(wealth::<First>(&store, "C1").await, (2, 123));
    assert_eq!(wealth::<First>(&store, "C2").await, (1, 0));
    assert_eq!(wealth::<First>(&store, "C3").await, (0, 0));
    // One state for each command, in the command's own commit.
    let states =
        store.raw().read(Read::stream(StreamName::new("~view.wealth.v1-C1").unwrap())).await.unwrap();
    assert_eq!(states.events.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_other_streams_meet_in_a_view_and_none_is_lost() {
    let store = Annals::in_memory().store("bank").inline::<First>().await.unwrap();
    let mut tellers = tokio::task::JoinSet::new();
    for teller in 0..4 {
        let store = store.clone();
        tellers.spawn(async move {
            let id = teller.to_string();
            store.execute::<Account>(&id, Command::Open("C1")).retries(1000).await.unwrap();
            for _ in 0..25 {
                store.execute::<Account>(&id, Command::Deposit(1)).retries(1000).await.unwrap();
            }
        });
    }
    tellers.join_all().await;
    assert_eq!(wealth::<First>(&store, "C1").await, (4, 100));
}

#[tokio::test]
async fn a_view_knows_what_came_before_it_and_by_other_ways() {
    let annals = Annals::in_memory();
    let plain = annals.store("bank").await.unwrap();
    open(&plain, "1", "C1", &[100]).await;
    let store = annals.store("bank").inline::<First>().await.unwrap();
    assert_eq!(wealth::<First>(&store, "C1").await, (1, 100));
    store.execute::<Account>("1", Command::Deposit(20)).await.unwrap();
    // A program that knows nothing of the view.
    plain.execute::<Account>("1", Command::Deposit(3)).await.unwrap();
    assert_eq!(wealth::<First>(&store, "C1").await, (1, 123));
    store.execute::<Account>("1", Command::Withdraw(23)).await.unwrap();
    assert_eq!(wealth::<First>(&store, "C1").await, (1, 100));
    // Two versions beside each other, as while a new program is rolled out.
    let newer = annals.store("bank").inline::<Second>().await.unwrap();
    newer.execute::<Account>("1", Command::Deposit(1)).await.unwrap();
    store.execute::<Account>("1", Command::Deposit(1)).await.unwrap();
    assert_eq!(
        (wealth::<First>(&store, "C1").await, wealth::<Second>(&newer, "C1").await),
        ((1, 102), (1, 102))
    );
}

/// Those of version 1 were stored of everything, whether it is encrypted or not.
#[tokio::test]
async fn a_state_that_may_hold_what_is_encrypted_is_passed_over() {
    let store = Annals::in_memory().store("bank").inline::<First>().await.unwrap();
    open(&store, "1", "C1", &[1, 2]).await;
    let old = NewEvent {
        id: store.clock().uuid_v7().to_string(),
        name: "~ViewChanged".to_owned(),
        version: 1,
        data: r#"{"accounts":7,"total":7}"#.into(),
        tags: vec![],
        metadata: Metadata::default(),
        encrypt_for: None,
    };
    let states = StreamName::new("~view.wealth.v1-C1").unwrap();
    store.raw().append(Append::to(states, Expected::Any, vec![old])).await.unwrap();
    assert_eq!(wealth::<First>(&store, "C1").await, (1, 3));
    store.execute::<Account>("1", Command::Deposit(3)).await.unwrap();
    assert_eq!(wealth::<First>(&store, "C1").await, (1, 6));
}

#[tokio::test]
async fn a_panic_stores_nothing() {
    let store = Annals::in_memory().store("bank").inline::<First>().await.unwrap();
    open(&store, "1", "C1", &[1]).await;
    let head = store.head().await.unwrap();
    let error = store.execute::<Account>("1", Command::Deposit(666)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    assert!(matches!(&error, ExecuteError::View(ViewError::Panicked { .. })));
    assert_eq!(
        error.to_string(),
        "the inline projection wealth failed at view C1: it panicked: no such number"
    );
    assert_eq!(store.head().await.unwrap(), head);
}

#[tokio::test]
async fn two_projections_of_one_name_are_refused() {
    let refused = Annals::in_memory().store("bank").inline::<First>().inline::<Second>().await.unwrap_err();
    assert!(matches!(refused, StoreError::ProjectionTwice { .. }));
}

#[tokio::test]
async fn who_insists_on_the_stream_is_not_bothered_by_views() {
    let store = Annals::in_memory().store("bank").inline::<First>().await.unwrap();
    open(&store, "1", "C1", &[]).await;
    let seen = Expected::Exact(annals::store::Revision(0));
    let other = store.execute::<Account>("2", Command::Open("C1"));
    let mine = store.execute::<Account>("1", Command::Deposit(1)).expecting(seen);
    let (other, mine) = tokio::join!(other, mine);
    other.unwrap();
    mine.unwrap();
    assert_eq!(wealth::<First>(&store, "C1").await, (2, 1));
}
