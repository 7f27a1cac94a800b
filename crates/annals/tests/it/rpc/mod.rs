//! Request and reply: the same tests over a data directory in this process, over Annals' AMQP port, and, where there is one,
//! over RabbitMQ (`ANNALS_TEST_RABBITMQ=amqp://guest:guest@127.0.0.1:5672/%2f`).

mod amqp;
mod answers;
mod deadlines;
mod sharing;

use std::time::Duration;

use annals::Annals;
use annals::rpc::Client;

/// Long enough for any machine.
const LONG: Duration = Duration::from_secs(60);
/// For deadlines that are to pass: long enough for the request to be sent.
const SHORT: Duration = Duration::from_secs(1);

/// Runs all tests, each with a client that `make` gives and a subject that nobody has used.
async fn conforms(make: impl AsyncFn() -> Client) {
    let fresh = || format!("subject-{}", annals::Clock::system().uuid_v7());
    answers::every_request_has_its_own_reply(&make().await, &fresh()).await;
    answers::values_and_headers_arrive(&make().await, &fresh()).await;
    answers::failures_are_typed(&make().await, &fresh()).await;
    answers::a_panic_is_a_failure(&make().await, &fresh()).await;
    answers::a_reply_that_is_too_large_is_a_failure(&make().await, &fresh()).await;
    answers::correlation_causation_and_trace_go_on(&make().await, &fresh()).await;
    answers::without_a_queue_it_is_known_at_once(&make().await, &fresh()).await;
    answers::what_cannot_be_is_refused(&make().await).await;
    deadlines::what_has_expired_is_not_worked_on(&make().await, &fresh()).await;
    deadlines::late_replies_are_dropped_and_counted(&make().await, &fresh()).await;
    deadlines::who_gives_up_hears_nothing(&make().await, &fresh()).await;
    deadlines::a_responder_knows_how_long_it_has(&make().await, &fresh()).await;
    sharing::no_more_than_so_many_at_a_time(&make().await, &fresh()).await;
    sharing::responders_share_the_work(&make().await, &fresh()).await;
    sharing::work_of_one_that_dies_is_done_by_another(&make().await, &fresh()).await;
    sharing::one_that_stops_finishes(&make().await, &fresh()).await;
}

/// Waits for what has to come.
async fn eventually(what: &str, check: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within a minute: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let annals = Annals::open(directory.path()).await.unwrap();
    conforms(async || annals.rpc().unwrap()).await;
    annals.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_amqp() {
    let server = amqp::Server::start(0).await;
    let uri = server.uri();
    conforms(async || Client::connect(&uri).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_rabbitmq() {
    let Ok(uri) = std::env::var("ANNALS_TEST_RABBITMQ") else {
        println!("skipped: ANNALS_TEST_RABBITMQ names no server");
        return;
    };
    conforms(async || Client::connect(&uri).await.unwrap()).await;
}

#[test]
fn there_are_no_queues_in_memory() {
    let refused = Annals::in_memory().rpc().unwrap_err().to_string();
    assert!(refused.contains("open a data directory"), "{refused}");
}
