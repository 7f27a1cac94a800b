//! Events that are not shown any more, since somebody has deleted their stream or limited what it shows.

use annals::Annals;
use annals::client::StreamMetadata;
use annals::store::Expected;

use super::account::open;
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
