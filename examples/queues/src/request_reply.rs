//! Request and reply over messages: the client says where the reply is to go and gives each request a correlation id, and the
//! server repeats the id in its reply. So replies find their requests in whatever order they come.
//!
//! First by hand, with an AMQP client; then with `annals::rpc`, which adds what one needs beside it (deadlines that keep what
//! has expired from being worked on, typed failures, late replies dropped, several responders). Both speak the same, so
//! either side can be in another language: RabbitMQ's own tutorial for one.

use std::time::Duration;

use annals::rpc::{Call, Client, Failure, RequestError, Responder};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer};

use crate::Error;
use crate::broker::{connect, consume, new_queue, next};

const QUOTES: &str = "example.quotes";
const FIBONACCI: &str = "example.fibonacci";
const DEADLINE: Duration = Duration::from_secs(30);

/// A client by hand: one queue for all of its replies.
struct Requester {
    channel: Channel,
    address: String,
    replies: Consumer,
}

impl Requester {
    async fn open(uri: &str) -> Result<Self, Error> {
        let channel = connect(uri).await?.create_channel().await?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?.name().clone();
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let replies = channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default()).await?;
        Ok(Self { channel, address: queue.to_string(), replies })
    }

    async fn send(&self, queue: &str, correlation_id: &str, body: &str) -> Result<(), Error> {
        let properties = BasicProperties::default()
            .with_correlation_id(correlation_id.into())
            .with_reply_to(self.address.as_str().into());
        let options = BasicPublishOptions::default();
        self.channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties).await?;
        Ok(())
    }

    /// The next reply, with its correlation id.
    async fn reply(&mut self) -> Result<(String, String), Error> {
        let reply = next(&mut self.replies).await?;
        let id = reply.properties.correlation_id().as_ref().map(ToString::to_string).unwrap_or_default();
        Ok((id, String::from_utf8(reply.data)?))
    }
}

/// A server by hand, which has read two requests before it answers the first.
async fn answer_two_in_reverse(channel: &Channel, requests: &mut Consumer) -> Result<(), Error> {
    let (first, second) = (next(requests).await?, next(requests).await?);
    for request in [second, first] {
        let items: u32 = String::from_utf8(request.data)?.parse()?;
        let total = format!("${}.00", items * 50);
        let reply_to = request.properties.reply_to().clone().ok_or("where to?")?;
        let mut properties = BasicProperties::default();
        if let Some(id) = request.properties.correlation_id().clone() {
            properties = properties.with_correlation_id(id);
        }
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), reply_to, options, total.as_bytes(), properties).await?;
        request.acker.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

/// A responder of the library's that answers with Fibonacci numbers.
///
/// # Errors
/// If the server does not answer.
pub async fn fibonacci_responder(uri: &str, subject: &str) -> Result<Responder, Error> {
    let client = Client::connect(uri).await?;
    let answer = async |call: Call| {
        let number: u32 = call.text().parse().map_err(|_| Failure::input("not-a-number", "send digits"))?;
        let largest = number.min(93);
        Ok((0..largest).fold((0_u64, 1_u64), |(a, b), _| (b, a.wrapping_add(b))).0.to_string())
    };
    Ok(client.respond(subject, answer).concurrency(4).await?)
}

/// One request of the library's.
///
/// # Errors
/// If there is no reply.
pub async fn ask(uri: &str, subject: &str, body: &str) -> Result<String, Error> {
    let client = Client::connect(uri).await?;
    Ok(client.request(subject, body, DEADLINE).await?.text())
}

/// Two quotes by hand, then Fibonacci numbers with the library, alone and mixed.
///
/// # Errors
/// If the broker does not do its part.
pub async fn story(uri: &str) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    let server = connect(uri).await?.create_channel().await?;
    new_queue(&server, QUOTES, FieldTable::default()).await?;
    let mut requests = consume(&server, QUOTES, 2).await?;
    let mut requester = Requester::open(uri).await?;
    requester.send(QUOTES, "corr-1", "3").await?;
    requester.send(QUOTES, "corr-2", "1").await?;
    answer_two_in_reverse(&server, &mut requests).await?;
    for _ in 0..2 {
        let (id, total) = requester.reply().await?;
        lines.push(format!("the reply to {id} is {total}"));
    }

    new_queue(&server, FIBONACCI, FieldTable::default()).await?;
    let responder = fibonacci_responder(uri, FIBONACCI).await?;
    let client = Client::connect(uri).await?;
    lines.push(format!("fib(30) is {}", client.request(FIBONACCI, "30", DEADLINE).await?.text()));
    match client.request(FIBONACCI, "thirty", DEADLINE).await {
        Err(RequestError::Failed { failure, .. }) => lines.push(format!("fib(thirty) fails: {failure}")),
        other => return Err(format!("{other:?}").into()),
    }
    requester.send(FIBONACCI, "corr-3", "10").await?;
    let (id, number) = requester.reply().await?;
    lines.push(format!("the reply to {id} is {number}"));
    responder.stop().await;
    if let Err(error) = client.request(FIBONACCI, "40", Duration::from_millis(200)).await {
        lines.push(error.to_string());
    }
    Ok(lines)
}
