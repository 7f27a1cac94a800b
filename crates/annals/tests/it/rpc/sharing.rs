//! Several requests, several responders.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use annals::rpc::{Call, Client, Failure};
use futures_util::future::join_all;
use tokio::sync::{Barrier, Notify, Semaphore};

use super::{LONG, eventually};

pub(super) async fn no_more_than_so_many_at_a_time(client: &Client, subject: &str) {
    let (gate, now, most) =
        (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let work = {
        let (gate, now, most) = (Arc::clone(&gate), Arc::clone(&now), Arc::clone(&most));
        move |_: Call| {
            let (gate, now, most) = (Arc::clone(&gate), Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        }
    };
    let responder = client.respond(subject, work).concurrency(3).await.unwrap();
    let asked = join_all((0..12).map(|_| client.request(subject, "", LONG).into_future()));
    let open = async {
        eventually("three at work", || now.load(Ordering::SeqCst) == 3).await;
        assert_eq!(responder.stats().working, 3);
        gate.add_permits(12);
    };
    let (replies, ()) = tokio::join!(asked, open);
    assert!(replies.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::SeqCst), 3);
    responder.stop().await;
}

pub(super) async fn responders_share_the_work(client: &Client, subject: &str) {
    // Two at a time can only be at work in two responders that take one each.
    let together = Arc::new(Barrier::new(2));
    let start = async |name: &'static str| {
        let together = Arc::clone(&together);
        let work = move |call: Call| {
            let together = Arc::clone(&together);
            async move {
                together.wait().await;
                Ok(format!("{} by {name}", call.text()))
            }
        };
        client.respond(subject, work).concurrency(1).await.unwrap()
    };
    let (a, b) = (start("A").await, start("B").await);
    let asked = (0..10).map(|number: u32| client.request(subject, number.to_string(), LONG).into_future());
    let replies: HashSet<String> =
        join_all(asked).await.into_iter().map(|reply| reply.unwrap().text()).collect();
    assert_eq!(replies.len(), 10);
    for name in ["A", "B"] {
        assert_eq!(replies.iter().filter(|reply| reply.ends_with(name)).count(), 5, "{replies:?}");
    }
    assert_eq!((a.stats().replied, b.stats().replied), (5, 5));
    a.stop().await;
    b.stop().await;
}

pub(super) async fn work_of_one_that_dies_is_done_by_another(client: &Client, subject: &str) {
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let hang = move |_: Call| {
        begins.notify_one();
        std::future::pending::<Result<(), Failure>>()
    };
    let first = client.respond(subject, hang).concurrency(1).await.unwrap();
    let asked = client.request(subject, "pay O-123", LONG);
    let change = async {
        begun.notified().await;
        drop(first);
        let work = async |call: Call| Ok(format!("{} {}", call.text(), call.redelivered()));
        client.respond(subject, work).await.unwrap()
    };
    let (reply, second) = tokio::join!(asked.into_future(), change);
    assert_eq!(reply.unwrap().text(), "pay O-123 true");
    assert_eq!((second.stats().redelivered, second.stats().replied), (1, 1));
    second.stop().await;
}

pub(super) async fn one_that_stops_finishes(client: &Client, subject: &str) {
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, waits) = (Arc::clone(&begun), Arc::clone(&release));
    let work = move |_: Call| {
        let (begins, waits) = (Arc::clone(&begins), Arc::clone(&waits));
        async move {
            begins.notify_one();
            waits.notified().await;
            Ok("finished")
        }
    };
    let responder = client.respond(subject, work).concurrency(1).await.unwrap();
    let asked = client.request(subject, "", LONG);
    let stop = async {
        begun.notified().await;
        let mut stopping = std::pin::pin!(responder.stop());
        tokio::select! {
            () = &mut stopping => panic!("it has work to finish"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        release.notify_one();
        stopping.await;
    };
    let (reply, ()) = tokio::join!(asked.into_future(), stop);
    assert_eq!(reply.unwrap().text(), "finished");
}
