//! Every story, against Annals' AMQP port in this process, and against RabbitMQ where there is one
//! (`ANNALS_TEST_RABBITMQ=amqp://guest:guest@127.0.0.1:5672/%2f`).

#![expect(clippy::unwrap_used, reason = "what goes wrong is a failed test")]

mod server;

use annals_example_queues::tell;
use server::Server;

async fn check(story: &str, expected: &[&str]) {
    let server = Server::start().await;
    let mut brokers = vec![("Annals", server.uri())];
    brokers.extend(std::env::var("ANNALS_TEST_RABBITMQ").ok().map(|uri| ("RabbitMQ", uri)));
    for (broker, uri) in brokers {
        let told = tell(story, &uri).await.unwrap_or_else(|error| panic!("on {broker}: {error}"));
        assert_eq!(told, expected, "on {broker}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_queue() {
    let expected = [
        "A processes 5 orders, B 5, together 10",
        "A processes O-123 and crashes before the acknowledgement",
        "C gets O-123 again: already processed, skipped",
        "C gets O-124 and processes it",
    ];
    check("work-queue", &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pub_sub() {
    let created = |name: &str, id: u32| {
        format!(r#"{name} gets {{"eventType":"OrderCreated","orderId":"O-{id}","total":150}}"#)
    };
    let mut expected = vec!["O-122 is published; is anybody there? false".to_owned()];
    for name in ["Payment", "Inventory", "Email"] {
        expected.extend([created(name, 123), created(name, 124)]);
    }
    expected.push(created("Analytics", 124));
    check("pub-sub", &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routing() {
    let expected = [
        "Shipping gets OrderPlaced, PaymentReceived",
        "Partners gets OrderPlaced, PaymentReceived, CustomerCreated",
        "Operations gets ServiceStarted, HealthCheckPassed",
        "AuditStarted comes back: true",
    ];
    check("routing", &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics() {
    let expected = [
        "Payment gets order.created",
        "Inventory gets order.created, payment.processed.visa",
        "Shipping gets inventory.reserved.nyc",
        "Order gets order.shipped, payment.failed",
        "Analytics gets order.created, order.shipped",
        "Email gets order.created, payment.processed.visa, inventory.reserved.nyc, order.shipped, payment.failed",
        "Fraud gets payment.failed",
    ];
    check("topics", &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters() {
    let expected = [
        "O-123: paid at attempt 1",
        "O-124: gateway timeout at attempt 1, again in 100 ms",
        "O-124: gateway timeout at attempt 2, again in 200 ms",
        "O-124: paid at attempt 3",
        "O-125: gateway down at attempt 1, again in 100 ms",
        "O-125: gateway down at attempt 2, again in 200 ms",
        "O-125: gateway down at attempt 3, again in 400 ms",
        "O-125: gateway down at attempt 4, parked",
        "O-126: insufficient funds at attempt 1, parked",
        "an operator finds O-125 after 4 attempts: gateway down",
        "an operator finds O-126 after 1 attempts: insufficient funds",
    ];
    check("dead-letters", &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_reply() {
    let expected = [
        "the reply to corr-2 is $50.00",
        "the reply to corr-1 is $150.00",
        "fib(30) is 832040",
        "fib(thirty) fails: send digits (not-a-number)",
        "the reply to corr-3 is 55",
        "no reply from \"example.fibonacci\" within 200 ms",
    ];
    check("request-reply", &expected).await;
}

#[tokio::test]
async fn there_are_no_other_stories() {
    let error = tell("sagas", "amqp://127.0.0.1:1/%2f").await.unwrap_err().to_string();
    assert!(error.ends_with("work-queue, pub-sub, routing, topics, dead-letters, request-reply"), "{error}");
}
