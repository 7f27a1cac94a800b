//! Events that are not shown any more, since somebody has deleted their stream or limited what it shows.

use std::time::Duration;

use annals::client::StreamMetadata;
use annals::store::{Expected, Revision};
use annals::{Annals, SnapshotPolicy};

use super::account::{Account, Command, open};
use super::boundary::enrol;
use super::inline::{First, wealth};
use super::served::Served;

/// Hides the only event with the tag `course:1`, and all of the customer C1.
async fn hide(served: &Served) {
    let store = served.connect().await.store("s").await.unwrap();
    assert!(enrol(store.clone(), 7, 1).await.is_some());
    open(&store, "1", "C1", &[5]).await;
    let client = served.client();
    let shows_nothing = StreamMetadata { truncate_before: Some(1.into()), ..Default::default() };
    client.set_stream_metadata("s", "enrolment-7", &shows_nothing, Expected::Any).await.unwrap();
    client.delete_stream("s", "account-1", Expected::Any, false).await.unwrap();
}

async fn boundaries_and_views_go_on(annals: &Annals) {
    let store = annals.store("s").inline::<First>().await.unwrap();
    assert_eq!(enrol(store.clone(), 8, 1).await, Some((8, 1)));
    open(&store, "2", "C1", &[10]).await;
    assert_eq!(wealth::<First>(&store, "C1").await, (1, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_on_queries_and_views_do_not_stumble_over_them() {
    for embedded in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let served = Served::start(directory.path()).await;
        hide(&served).await;
        if !embedded {
            boundaries_and_views_go_on(&served.connect().await).await;
        }
        served.stop().await;
        if embedded {
            let annals = Annals::open(directory.path()).await.unwrap();
            boundaries_and_views_go_on(&annals).await;
            annals.close().await;
        }
    }
}

/// Balances begin anew, for what they came from is not shown any more; and the stream is counted on.
async fn an_account_goes_on(annals: &Annals, expected: u64) {
    let store = annals.store("s").snapshots::<Account>(SnapshotPolicy::every_events(2)).await.unwrap();
    let loaded = store.load::<Account>("1").await.unwrap();
    assert_eq!((&loaded.state.customer, loaded.version(), loaded.events_read), (&None, expected, 0));
    let opened = store.execute::<Account>("1", Command::Open("C1")).await.unwrap();
    assert_eq!(opened.revision, Some(Revision(expected)));
    let next =
        store.execute::<Account>("1", Command::Deposit(7)).expecting(Expected::Exact(Revision(expected)));
    assert_eq!(next.await.unwrap().state.balance, 7);
    assert_eq!(store.load::<Account>("1").at_revision(expected).await.unwrap().state.balance, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_ends_where_it_should_also_if_its_beginning_is_hidden() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(directory.path()).await;
    let store = served.connect().await.store("s").await.unwrap();
    open(&store, "1", "C1", &[1, 2, 4, 8]).await;
    let shows_two_of_five = StreamMetadata { truncate_before: Some(3.into()), ..Default::default() };
    served.client().set_stream_metadata("s", "account-1", &shows_two_of_five, Expected::Any).await.unwrap();
    for (revision, balance, last) in
        [(2, 0, None), (3, 4, Some(3)), (4, 12, Some(4)), (u64::MAX, 12, Some(4))]
    {
        let then = store.load::<Account>("1").at_revision(revision).await.unwrap();
        assert_eq!((then.state.balance, then.revision), (balance, last.map(Revision)), "at {revision}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregate_without_any_shown_event_takes_commands() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(directory.path()).await;
    let (annals, client) = (served.connect().await, served.client());
    open(&annals.store("s").await.unwrap(), "1", "C1", &[5]).await;
    let before =
        |revision: u64| StreamMetadata { truncate_before: Some(revision.into()), ..Default::default() };
    client.set_stream_metadata("s", "account-1", &before(2), Expected::Any).await.unwrap();
    an_account_goes_on(&annals, 2).await;
    // Once more, with an age that all of them have reached.
    let no_age = StreamMetadata { max_age_seconds: Some(1), ..Default::default() };
    client.set_stream_metadata("s", "account-1", &no_age, Expected::Any).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    served.stop().await;
    let annals = Annals::open(directory.path()).await.unwrap();
    an_account_goes_on(&annals, 4).await;
    annals.close().await;
}
