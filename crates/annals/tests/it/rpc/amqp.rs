//! What only a server shows: connections that end, and requesters and responders that know nothing of this library.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use annals::Clock;
use annals::rpc::{Call, Client, RequestError};
use annals_amqp::Options;
use annals_broker::Broker;
use annals_journal::DiskFiles;
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use super::{LONG, eventually};

/// Annals' AMQP port in this process.
pub(super) struct Server {
    address: SocketAddr,
    broker: Broker,
    stop: Option<oneshot::Sender<()>>,
    tasks: JoinSet<()>,
    _directory: tempfile::TempDir,
}

impl Server {
    pub(super) async fn start(port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (files, clock) = (Arc::new(DiskFiles::open(directory.path()).unwrap()), Clock::system());
        let broker = Broker::open(Default::default(), Default::default(), files, clock.clone()).unwrap();
        let options = Options { address: ([127, 0, 0, 1], port).into(), ..Options::default() };
        let server = bind(options, &broker, &clock).await;
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut tasks, background) = (JoinSet::new(), broker.clone());
        tasks.spawn(async move { background.run(std::future::pending()).await });
        tasks.spawn(server.run(async move { _ = stopped.await }));
        Self { address, broker, stop: Some(stop), tasks, _directory: directory }
    }

    pub(super) fn uri(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.address)
    }

    /// Ends, and returns the port that was its.
    async fn stop(mut self) -> u16 {
        drop(self.stop.take());
        self.tasks.join_next().await.unwrap().unwrap();
        self.broker.close();
        self.address.port()
    }
}

/// Listens, as soon as the address is free: a client that knocks where nobody listens may be given that very port.
async fn bind(options: Options, broker: &Broker, clock: &Clock) -> annals_amqp::Server {
    for _ in 0..600 {
        match annals_amqp::Server::bind(options.clone(), broker.clone(), clock.clone()).await {
            Ok(server) => return server,
            Err(error) => eprintln!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the port stays in use");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_survive_a_server_that_restarts() {
    let server = Server::start(0).await;
    let client = Client::connect(&server.uri()).await.unwrap();
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let work = move |call: Call| {
        let begins = Arc::clone(&begins);
        async move {
            if call.text() == "long" {
                begins.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(call.text())
        }
    };
    let responder = client.respond("work", work).await.unwrap();
    assert_eq!(client.request("work", "1", LONG).await.unwrap().text(), "1");

    let waiting = client.request("work", "long", LONG);
    let restart = async {
        begun.notified().await;
        let port = server.stop().await;
        Server::start(port).await
    };
    let (interrupted, server) = tokio::join!(waiting.into_future(), restart);
    let error = interrupted.unwrap_err();
    assert!(matches!(error, RequestError::Interrupted { .. }), "{error}");
    // The new server knows nothing of the old one's queues.
    let reply = loop {
        match client.request("work", "2", LONG).await {
            Ok(reply) => break reply,
            Err(RequestError::NoResponder { .. } | RequestError::Unavailable { .. }) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(reply.text(), "2");
    eventually("the responder is content", || responder.stats().error.is_none()).await;
    drop(responder);
    server.stop().await;
}

/// A requester as in RabbitMQ's tutorial: an exclusive queue for replies and a correlation id of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_that_knows_nothing_of_this_library_is_answered() {
    let server = Server::start(0).await;
    let client = Client::connect(&server.uri()).await.unwrap();
    let double = async |call: Call| Ok((call.text().parse::<u64>().unwrap() * 2).to_string());
    let responder = client.respond("rpc_queue", double).await.unwrap();

    let connection = Connection::connect(&server.uri(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let callbacks = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let name = callbacks.name().clone();
    let mut replies =
        channel.basic_consume(name.clone(), "".into(), no_ack, FieldTable::default()).await.unwrap();
    let properties = BasicProperties::default().with_reply_to(name).with_correlation_id("my own".into());
    let options = BasicPublishOptions::default();
    // The first asks for no reply; it is worked on all the same.
    for properties in [BasicProperties::default(), properties] {
        channel.basic_publish("".into(), "rpc_queue".into(), options, b"21", properties).await.unwrap();
    }
    let reply = replies.next().await.unwrap().unwrap();
    assert_eq!(reply.data, b"42");
    assert_eq!(reply.properties.correlation_id().as_ref().unwrap().as_str(), "my own");
    eventually("both are counted", || responder.stats().replied == 2).await;
    assert_eq!(responder.stats().one_way, 1);
    responder.stop().await;
}

/// A responder as in RabbitMQ's tutorial, with a queue that is declared in its own way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_responder_that_knows_nothing_of_this_library_answers() {
    let server = Server::start(0).await;
    let connection = Connection::connect(&server.uri(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let declared = QueueDeclareOptions::default();
    channel.queue_declare("rpc_queue".into(), declared, FieldTable::default()).await.unwrap();
    let options = BasicConsumeOptions::default();
    let mut requests =
        channel.basic_consume("rpc_queue".into(), "".into(), options, FieldTable::default()).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(Ok(request)) = requests.next().await {
            let reply_to = request.properties.reply_to().clone().unwrap();
            let correlation_id = request.properties.correlation_id().clone().unwrap();
            let properties = BasicProperties::default().with_correlation_id(correlation_id);
            let options = BasicPublishOptions::default();
            channel.basic_publish("".into(), reply_to, options, b"832040", properties).await.unwrap();
            request.ack(BasicAckOptions::default()).await.unwrap();
        }
    });
    let client = Client::connect(&server.uri()).await.unwrap();
    assert_eq!(client.request("rpc_queue", "30", LONG).await.unwrap().text(), "832040");
    // And this library's own responder shares that queue, as it is.
    let responder = client.respond("rpc_queue", async |_: Call| Ok("832040")).await.unwrap();
    for _ in 0..10 {
        assert_eq!(client.request("rpc_queue", "30", LONG).await.unwrap().text(), "832040");
    }
    assert_eq!(responder.stats().replied, 5);
    responder.stop().await;
}

#[tokio::test]
async fn an_address_where_nobody_answers_is_refused() {
    for uri in ["amqps://127.0.0.1:1/", "127.0.0.1:1", "amqp://127.0.0.1:1/%2f"] {
        assert!(Client::connect(uri).await.is_err(), "{uri}");
    }
}
