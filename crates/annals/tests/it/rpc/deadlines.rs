//! Time that runs out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals::ErrorKind;
use annals::rpc::{Call, Client, RequestError};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::{LONG, SHORT, eventually};

pub(super) async fn what_has_expired_is_not_worked_on(client: &Client, subject: &str) {
    // Makes the queue, and leaves it alone.
    client.respond(subject, async |_: Call| Ok(())).await.unwrap().stop().await;
    let error = client.request(subject, "too late", SHORT).await.unwrap_err();
    assert_eq!(error, RequestError::Deadline { subject: subject.into(), deadline: SHORT });
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert_eq!(client.stats().timed_out, 1);
    // Its time in the queue began after that of the requester, by no more than the machine is slow.
    tokio::time::sleep(3 * SHORT).await;

    let (sender, mut worked_on) = mpsc::channel(10);
    let work = move |call: Call| {
        let sender = sender.clone();
        async move {
            sender.send(call.text()).await.unwrap();
            Ok(())
        }
    };
    let responder = client.respond(subject, work).await.unwrap();
    client.request(subject, "in time", LONG).await.unwrap();
    assert_eq!(worked_on.recv().await.unwrap(), "in time");
    assert!(worked_on.try_recv().is_err());
    assert_eq!(client.stats().late_replies, 0);
    responder.stop().await;
}

pub(super) async fn late_replies_are_dropped_and_counted(client: &Client, subject: &str) {
    let (closed, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let (waits, begins) = (Arc::clone(&closed), Arc::clone(&begun));
    let work = move |call: Call| {
        let (begins, waits) = (Arc::clone(&begins), Arc::clone(&waits));
        async move {
            if call.text() == "slow" {
                begins.fetch_add(1, Ordering::SeqCst);
                drop(waits.acquire().await);
            }
            Ok(call.text())
        }
    };
    let responder = client.respond(subject, work).await.unwrap();
    assert_eq!(client.request(subject, "fast", LONG).await.unwrap().text(), "fast");
    // On a busy machine a request may be over before it is known to be sent, or before it is worked on.
    let mut asked = 0;
    while client.stats().sent < 2 || begun.load(Ordering::SeqCst) == 0 {
        let error = client.request(subject, "slow", SHORT).await.unwrap_err();
        assert!(matches!(error, RequestError::Deadline { .. }), "{error}");
        asked += 1;
        assert!(asked < 60, "nobody works on it");
    }
    let sent = client.stats().sent;
    assert!(sent <= 1 + asked && client.stats().late_replies == 0, "{:?}", client.stats());
    closed.close();
    assert_eq!(client.request(subject, "fast", LONG).await.unwrap().text(), "fast");
    eventually("the late replies", || client.stats().late_replies == begun.load(Ordering::SeqCst)).await;
    let stats = client.stats();
    assert_eq!((stats.sent, stats.replied, stats.timed_out), (sent + 1, 2, asked));
    responder.stop().await;
}

pub(super) async fn who_gives_up_hears_nothing(client: &Client, subject: &str) {
    let (release, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (waits, begins) = (Arc::clone(&release), Arc::clone(&begun));
    let work = move |_: Call| {
        let (begins, waits) = (Arc::clone(&begins), Arc::clone(&waits));
        async move {
            begins.notify_one();
            waits.notified().await;
            Ok(())
        }
    };
    let responder = client.respond(subject, work).await.unwrap();
    {
        let mut request = std::pin::pin!(client.request(subject, "", LONG).into_future());
        tokio::select! {
            reply = &mut request => panic!("nobody has answered: {reply:?}"),
            () = begun.notified() => {}
        }
        assert_eq!(client.stats().waiting, 1);
    }
    assert_eq!(client.stats().waiting, 0);
    release.notify_one();
    eventually("the reply that nobody wants", || client.stats().late_replies == 1).await;
    responder.stop().await;
}

pub(super) async fn a_responder_knows_how_long_it_has(client: &Client, subject: &str) {
    let work = async |call: Call| Ok(call.time_left().unwrap().as_millis().to_string());
    let responder = client.respond(subject, work).await.unwrap();
    let reply = client.request(subject, "", LONG).await.unwrap();
    let left = Duration::from_millis(reply.text().parse().unwrap());
    assert!(left <= LONG && left > LONG / 2, "{left:?}");
    responder.stop().await;
}
