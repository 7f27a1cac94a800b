//! A work queue: many producers, one queue, competing consumers. Each order is done by one of them.
//!
//! What makes it safe: messages are persistent and confirmed, a worker acknowledges an order when it is done, and holds one
//! at a time, so that a slow worker does not sit on work that a quick one could do. A worker that dies before the
//! acknowledgement has its order delivered again, perhaps after the work was done: so every worker looks first whether the
//! order's id is in the table of what was processed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use lapin::options::BasicAckOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, Consumer};
use tokio::sync::Barrier;

use crate::Error;
use crate::broker::{channel, connect, consume, new_queue, next, publish};

const QUEUE: &str = "example.orders";

/// Which orders were processed, and by whom; a table in a database, if this were real.
#[derive(Clone, Debug, Default)]
pub struct Processed(Arc<Mutex<BTreeMap<String, String>>>);

impl Processed {
    /// Notes that `worker` does the order; not if somebody has done it.
    fn begin(&self, order: &str, worker: &str) -> bool {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.contains_key(order) {
            return false;
        }
        table.insert(order.to_owned(), worker.to_owned());
        true
    }

    fn by(&self, worker: &str) -> BTreeSet<String> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.iter().filter(|(_, by)| *by == worker).map(|(order, _)| order.clone()).collect()
    }
}

/// A consumer of the queue, on a connection of its own.
struct Worker {
    name: &'static str,
    processed: Processed,
    orders: Consumer,
    connection: Connection,
}

impl Worker {
    async fn start(uri: &str, name: &'static str, processed: &Processed) -> Result<Self, Error> {
        let connection = connect(uri).await?;
        let orders = consume(&connection.create_channel().await?, QUEUE, 1).await?;
        Ok(Self { name, processed: processed.clone(), orders, connection })
    }

    /// Does one order. Meanwhile it waits for `meanwhile`, as work takes its time.
    async fn work(&mut self, meanwhile: &Barrier) -> Result<String, Error> {
        let delivery = next(&mut self.orders).await?;
        let order = String::from_utf8(delivery.data)?;
        let is_new = self.processed.begin(&order, self.name);
        meanwhile.wait().await;
        delivery.acker.ack(BasicAckOptions::default()).await?;
        let (name, again) = (self.name, if delivery.redelivered { " again" } else { "" });
        Ok(match is_new {
            true => format!("{name} gets {order}{again} and processes it"),
            false => format!("{name} gets {order}{again}: already processed, skipped"),
        })
    }

    /// Does the work, and dies before it can say so.
    async fn crash(mut self) -> Result<String, Error> {
        let order = String::from_utf8(next(&mut self.orders).await?.data)?;
        self.processed.begin(&order, self.name);
        self.connection.close(200, "crash".into()).await?;
        Ok(format!("{} processes {order} and crashes before the acknowledgement", self.name))
    }
}

/// Ten orders for two workers, and one whose worker dies.
///
/// # Errors
/// If the broker does not do its part.
pub async fn story(uri: &str) -> Result<Vec<String>, Error> {
    let connection = connect(uri).await?;
    let producer = channel(&connection).await?;
    new_queue(&producer, QUEUE, FieldTable::default()).await?;
    let processed = Processed::default();
    let mut lines = Vec::new();

    let (mut a, mut b) =
        (Worker::start(uri, "A", &processed).await?, Worker::start(uri, "B", &processed).await?);
    for number in 1..=10 {
        publish(&producer, "", QUEUE, &format!("O-{number}"), BasicProperties::default()).await?;
    }
    // Both are at work at the same time, or neither gets on.
    let together = Barrier::new(2);
    for _ in 0..5 {
        let (one, two) = tokio::join!(a.work(&together), b.work(&together));
        one?;
        two?;
    }
    let (by_a, by_b) = (processed.by("A"), processed.by("B"));
    let (count_a, count_b) = (by_a.len(), by_b.len());
    lines.push(format!("A processes {count_a} orders, B {count_b}, together {}", by_a.union(&by_b).count()));

    b.connection.close(200, "done".into()).await?;
    publish(&producer, "", QUEUE, "O-123", BasicProperties::default()).await?;
    lines.push(a.crash().await?);
    let mut c = Worker::start(uri, "C", &processed).await?;
    lines.push(c.work(&Barrier::new(1)).await?);
    publish(&producer, "", QUEUE, "O-124", BasicProperties::default()).await?;
    lines.push(c.work(&Barrier::new(1)).await?);
    Ok(lines)
}
