//! Queues that are streams: each is a topic of one partition, read by its consumers as a log.
//!
//! In the virtual host `/` the topic has the queue's name, so what is published to the queue is read by Kafka clients as that
//! topic, and what they write is delivered to the queue's consumers. Elsewhere, and for names that no topic can have, it has a
//! name made of both. A topic that was there before is adopted, if it has one partition; then the queue goes without it.
//! Otherwise both go together, whichever of them is deleted.
//!
//! A consumer reads from where it likes, at its own pace; an acknowledgement gives it room for another message and takes nothing
//! away. Source: RabbitMQ's documentation of streams, "Client Operations".

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::ReadError;
use annals_queues::queue::{ConsumerId, Definition, Options, StreamOptions};
use annals_queues::routing::{LogStart, QueueId};
use annals_queues::{Message, Text};
use annals_topics::batch::{Batch, Record};
use bytes::Bytes;

use super::QueueEntry;
use super::consume::Mailbox;
use super::load::read;
use super::record::message_of;
use super::vhosts;
use crate::api::Caller;
use crate::api::queues::admin::{Peek, Peeked};
use crate::api::queues::consume::Delivery;
use crate::api::queues::settle::Lease;
use crate::api::queues::topology::{DeclareQueue, DeclareQueueError};
use crate::api::topics::{
    CreateTopicError, CreateTopics, Isolation, NewTopic, OffsetAt, OffsetQuery, TopicRef,
};
use crate::table::{PartitionEntry, TopicEntry, Waiting};
use crate::{Broker, Inner};

/// Bytes of records that a consumer reads at once.
const READ_BYTES: usize = 256 << 10;
/// Room for what a record has beside the body of its message.
const PROPERTIES_BYTES: usize = 1 << 20;
/// The configuration of a topic that says so.
const BATCH_BYTES_MAX: &str = "max.message.bytes";
/// How the topics of streams begin that do not have the name of their queue.
const PREFIX: &str = "amqp--";
/// How long a read that failed is left alone.
const FAILED_PAUSE: Duration = Duration::from_millis(100);

/// The topic that a stream is.
pub(super) fn topic_of(vhost: &Text, queue: &Text) -> Arc<str> {
    let plain = queue.as_str();
    if *vhost == vhosts::DEFAULT && annals_topics::catalogue::check_topic_name(&plain).is_ok() {
        return Arc::from(&*plain);
    }
    let mut name = start_of(vhost);
    push_part(&mut name, queue);
    name.into()
}

/// How the names of topics begin that are streams of a virtual host. No other virtual host has any that begins like this.
fn start_of(vhost: &Text) -> String {
    let mut start = PREFIX.to_owned();
    push_part(&mut start, vhost);
    start.push_str("--");
    start
}

fn push_part(name: &mut String, part: &Text) {
    for byte in part.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' => name.push(char::from(*byte)),
            other => name.push_str(&format!("-{other:02x}")),
        }
    }
}

/// Checks that a topic which an exchange is to be joined to is no stream of another virtual host.
pub(super) fn check_joinable(vhost: &Text, topic: &str) -> Result<(), String> {
    if topic.starts_with(PREFIX) && !topic.starts_with(&start_of(vhost)) {
        return Err(format!("topic {topic} belongs to another virtual host"));
    }
    Ok(())
}

/// The configuration of the topic of a stream. Without limits nothing is ever removed.
fn configs(stream: &StreamOptions, batch_bytes_max: usize) -> Vec<(String, Option<String>)> {
    let limit = |limit: Option<u64>| Some(limit.map_or("-1".to_owned(), |limit| limit.to_string()));
    vec![
        ("retention.ms".to_owned(), limit(stream.age_ms_max)),
        ("retention.bytes".to_owned(), limit(stream.bytes_max)),
        (BATCH_BYTES_MAX.to_owned(), Some(batch_bytes_max.to_string())),
    ]
}

/// Whether a topic can be the log of such a queue, and if not, why.
fn check_adoptable(topic: &TopicEntry, stream: &StreamOptions) -> Result<(), String> {
    let name = &topic.topic.name;
    if topic.topic.store || topic.topic.internal {
        return Err(format!("topic {name} is the server's own"));
    }
    if topic.partitions.len() != 1 {
        return Err(format!("topic {name} has {} partitions, and a stream is one", topic.partitions.len()));
    }
    let retention = &topic.topic.config.retention;
    let age_ms = retention.time_ms.and_then(|ms| u64::try_from(ms).ok());
    let differs = |wanted: Option<u64>, found: Option<u64>| wanted.is_some() && wanted != found;
    if differs(stream.age_ms_max, age_ms) || differs(stream.bytes_max, retention.size_bytes) {
        return Err(format!("topic {name} is there already with another retention"));
    }
    Ok(())
}

impl Broker {
    /// Has the topic of a stream be there before the queue is.
    pub(super) async fn prepare_stream(
        &self,
        caller: &Caller,
        request: &mut DeclareQueue,
    ) -> Result<(), DeclareQueueError> {
        let refused = |reason: String| DeclareQueueError::Stream { name: request.name.clone(), reason };
        let Some(stream) = request.options.stream.clone() else { return Ok(()) };
        if !request.durable || request.exclusive || request.auto_delete {
            return Err(refused("a stream is durable, for everybody, and not deleted by itself".to_owned()));
        }
        let plain = Options { stream: Some(stream.clone()), ..Options::default() };
        if plain != request.options {
            return Err(refused("a stream has no other options".to_owned()));
        }
        if let Some(current) = self.inner.stream_options(&request.vhost, &request.name) {
            request.options.stream = Some(StreamOptions { adopts: current.adopts, ..stream });
            return Ok(());
        }
        if request.vhost == vhosts::DEFAULT && request.name.as_bytes().starts_with(PREFIX.as_bytes()) {
            return Err(refused(format!("topics whose names begin with {PREFIX} belong to other streams")));
        }
        let adopts = self.have_topic(caller, topic_of(&request.vhost, &request.name), &stream).await;
        let adopts = adopts.map_err(refused)?;
        request.options.stream = Some(StreamOptions { adopts, ..stream });
        Ok(())
    }

    /// Returns whether the topic was there before.
    async fn have_topic(
        &self,
        caller: &Caller,
        name: Arc<str>,
        stream: &StreamOptions,
    ) -> Result<bool, String> {
        let find = || self.inner.state.table.topic(&TopicRef::Name(Arc::clone(&name)));
        if let Some(topic) = find() {
            return check_adoptable(&topic, stream).map(|()| true);
        }
        let configs = configs(stream, self.inner.stream_batch_bytes_max());
        let topic = NewTopic { name: Arc::clone(&name), partitions: Some(1), configs };
        let request =
            CreateTopics { topics: vec![topic], validate_only: false, timeout: Duration::from_secs(30) };
        match self.create_topics(caller, request).await.pop() {
            Some(Ok(_)) => Ok(false),
            Some(Err(CreateTopicError::AlreadyExists(_))) if let Some(topic) = find() => {
                check_adoptable(&topic, stream).map(|()| true)
            }
            Some(Err(error)) => Err(error.to_string()),
            None => Err("nobody answered".to_owned()),
        }
    }
}

impl Inner {
    /// Every message that may come fits, and what fits into other topics.
    fn stream_batch_bytes_max(&self) -> usize {
        let default = self.options.topic_defaults.get(BATCH_BYTES_MAX).and_then(|bytes| bytes.parse().ok());
        let bytes = self.options.message_bytes_max.saturating_add(PROPERTIES_BYTES);
        bytes.max(default.unwrap_or(0)).min(i32::MAX as usize)
    }

    fn stream_options(&self, vhost: &Text, name: &Text) -> Option<StreamOptions> {
        self.queues().with_topology(|topology| topology.vhost(vhost)?.queue(name)?.options.stream.clone())
    }

    /// The partition of a stream, if its topic is there.
    pub(super) fn stream_partition(&self, topic: &Arc<str>) -> Option<Arc<PartitionEntry>> {
        self.state.table.partition(&TopicRef::Name(Arc::clone(topic)), 0)
    }

    /// A topic is gone: so are the queues that were it.
    pub(crate) async fn drop_streams_of(&self, topic: &str) {
        let is_it = |entry: &&Arc<QueueEntry>| entry.topic().is_some_and(|name| **name == *topic);
        let entries = self.queues().all_entries();
        for entry in entries.iter().filter(is_it) {
            if let Err(error) = self.delete_entry(entry).await {
                tracing::warn!(queue = %entry.definition().name, %error, "cannot delete a stream whose topic is gone");
            }
        }
    }

    /// The topic that goes with a queue, if it is a stream that has not adopted one.
    pub(super) fn own_topic(definition: &Definition) -> Option<TopicRef> {
        let stream = definition.options.stream.as_ref()?;
        (!stream.adopts).then(|| TopicRef::Name(topic_of(&definition.vhost, &definition.name)))
    }

    /// Messages that a stream holds, and their bytes.
    pub(super) fn stream_size(&self, topic: &Arc<str>) -> (u64, u64) {
        let Some(partition) = self.stream_partition(topic) else { return (0, 0) };
        let bytes = self.journal.log(partition.log).map_or(0, |facts| facts.bytes);
        let state = partition.lock();
        ((state.high_watermark() - state.log_start()).unsigned_abs(), bytes)
    }
}

impl Inner {
    /// Looks at the messages of a stream.
    pub(super) async fn peek_stream(&self, topic: &Arc<str>, request: &Peek) -> Vec<Peeked> {
        let Some(partition) = self.stream_partition(topic) else { return Vec::new() };
        let bounds = {
            let state = partition.lock();
            state.log_start().cast_unsigned()..state.high_watermark().cast_unsigned()
        };
        let (mut found, mut next) = (Vec::new(), request.from.max(bounds.start));
        while found.len() < request.max && next < bounds.end {
            let (records, after) = read_records(self, &partition, next..bounds.end).await;
            if after <= next {
                break;
            }
            next = after;
            let peeked = |record: Record| Peeked {
                sequence: record.offset.cast_unsigned(),
                message: Arc::new(message_of(&record)),
                leased: false,
            };
            found.extend(records.into_iter().map(peeked));
        }
        found.truncate(request.max);
        found
    }
}

/// After a start: streams whose topics went just before.
pub(super) async fn delete_orphans(inner: &Inner) {
    for entry in inner.queues().all_entries() {
        if let Some(topic) = entry.topic().filter(|topic| inner.stream_partition(topic).is_none()) {
            inner.drop_streams_of(topic).await;
        }
    }
}

/// Where a consumer of a stream is.
pub(super) struct Reader {
    topic: Arc<str>,
    next: Next,
    read: VecDeque<(u64, Arc<Message>)>,
    /// Among those who are told of new records.
    waiting: Option<Waiting>,
}

enum Next {
    At(u64),
    /// Has to be looked up.
    Find(LogStart),
}

impl Reader {
    /// A reader that begins there. What is now the end is found at once.
    pub(super) fn new(inner: &Inner, topic: &Arc<str>, start: LogStart, mailbox: &Mailbox) -> Self {
        let partition = inner.stream_partition(topic);
        let waiting = partition.as_ref().map(|partition| partition.wait(&mailbox.filled));
        let bounds = partition.map_or((0, 0), |partition| {
            let state = partition.lock();
            (state.log_start().cast_unsigned(), state.high_watermark().cast_unsigned())
        });
        let next = match start {
            LogStart::First => Next::At(bounds.0),
            LogStart::Next => Next::At(bounds.1),
            LogStart::Offset(offset) => Next::At(offset.clamp(bounds.0, bounds.1)),
            LogStart::Last | LogStart::Timestamp(_) => Next::Find(start),
        };
        Self { topic: Arc::clone(topic), next, read: VecDeque::new(), waiting }
    }

    /// Whether [`Reader::read_on`] has something to do. `None` if the topic is gone.
    pub(super) fn is_behind(&self, inner: &Inner) -> Option<bool> {
        let partition = inner.stream_partition(&self.topic)?;
        let end = partition.lock().high_watermark().cast_unsigned();
        Some(match self.next {
            Next::At(next) => self.read.is_empty() && next < end,
            Next::Find(_) => true,
        })
    }

    /// Reads what comes next. Cancelling it loses nothing.
    pub(super) async fn read_on(&mut self, inner: &Inner) {
        let Some(partition) = inner.stream_partition(&self.topic) else { return };
        let (start, end) = {
            let state = partition.lock();
            (state.log_start().cast_unsigned(), state.high_watermark().cast_unsigned())
        };
        let from = match self.next {
            Next::At(next) => next.max(start),
            Next::Find(wanted) => {
                let found = inner.find_start(&self.topic, &partition, wanted, start..end).await;
                self.next = Next::At(found);
                found
            }
        };
        if from >= end {
            return;
        }
        let (records, next) = read_records(inner, &partition, from..end).await;
        self.read.extend(
            records.into_iter().map(|record| (record.offset.cast_unsigned(), Arc::new(message_of(&record)))),
        );
        self.next = Next::At(next.max(from));
    }

    /// What can be handed out now, as far as there is room.
    pub(super) fn take(&mut self, entry: &QueueEntry, id: ConsumerId, inner: &Inner) -> Vec<Delivery> {
        if self.read.is_empty() {
            return Vec::new();
        }
        let mut state = entry.lock();
        let room = state.queue.room(id).unwrap_or(0) as usize;
        let now_ms = inner.clock.now_ms();
        let taken = self.read.drain(..room.min(self.read.len()));
        let deliveries = taken.map(|(offset, message)| {
            let number = state.queue.hand_out_of_stream(id, offset, message.size() as u64, now_ms);
            delivery(entry.id(), number, offset, message)
        });
        deliveries.collect()
    }

    pub(super) fn stop(&mut self) {
        self.waiting = None;
        self.read.clear();
    }
}

fn delivery(queue: QueueId, number: u64, offset: u64, message: Arc<Message>) -> Delivery {
    Delivery {
        lease: Lease { queue, number },
        message,
        redelivered: false,
        delivery_count: 0,
        sequence: offset,
        stream_offset: Some(offset),
    }
}

impl Inner {
    /// The offset at which a log is to be read from.
    pub(super) async fn find_start(
        &self,
        topic: &Arc<str>,
        partition: &PartitionEntry,
        start: LogStart,
        offsets: Range<u64>,
    ) -> u64 {
        match start {
            LogStart::First => offsets.start,
            LogStart::Next => offsets.end,
            LogStart::Offset(offset) => offset.clamp(offsets.start, offsets.end),
            LogStart::Last => self.last_batch(partition, &offsets).await,
            LogStart::Timestamp(at_ms) => {
                let index =
                    self.state.table.topic(&TopicRef::Name(Arc::clone(topic))).and_then(|topic| {
                        topic.partitions.iter().position(|found| found.log == partition.log)
                    });
                let query = OffsetQuery {
                    topic: Arc::clone(topic),
                    partition: index.unwrap_or(0) as i32,
                    at: OffsetAt::Timestamp(at_ms),
                };
                let found = self.list_offset(Isolation::ReadUncommitted, &query).await.ok().flatten();
                found.map_or(offsets.end, |found| found.offset.cast_unsigned())
            }
        }
    }

    /// The first offset of the batch that was written last.
    async fn last_batch(&self, partition: &PartitionEntry, offsets: &Range<u64>) -> u64 {
        let Some(last) = offsets.end.checked_sub(1).filter(|last| *last >= offsets.start) else {
            return offsets.end;
        };
        let read = read(self, partition.log, last..offsets.end, 1).await;
        let batch = read.ok().and_then(|(mut bytes, _)| Batch::split_off(&mut bytes).ok());
        batch.map_or(last, |batch| batch.header.base_offset.cast_unsigned().max(offsets.start))
    }
}

/// Records of a partition from `offsets.start` on, and where to go on. What is damaged is passed over, and said.
pub(super) async fn read_records(
    inner: &Inner,
    partition: &PartitionEntry,
    offsets: Range<u64>,
) -> (Vec<Record>, u64) {
    let from = offsets.start;
    match read(inner, partition.log, offsets.clone(), READ_BYTES).await {
        Ok((bytes, _)) if bytes.is_empty() => (Vec::new(), offsets.end),
        Ok((bytes, next)) => {
            let mut records = records_of(bytes, inner);
            records.retain(|record| offsets.contains(&record.offset.cast_unsigned()));
            (records, next.min(offsets.end).max(from + 1))
        }
        Err(ReadError::Damaged(damage)) => {
            tracing::error!(log = %partition.log, %damage, "records of a topic are damaged");
            (Vec::new(), damage.offsets.map_or(from + 1, |lost| lost.end).max(from + 1))
        }
        // Trimmed meanwhile: the next look begins where the log does.
        Err(ReadError::OutOfRange { .. }) => (Vec::new(), from),
        Err(error) => {
            tracing::error!(log = %partition.log, %error, "cannot read records of a topic");
            tokio::time::sleep(FAILED_PAUSE).await;
            (Vec::new(), from)
        }
    }
}

/// The records of stored batches, without those that only say how a transaction ended.
fn records_of(mut bytes: Bytes, inner: &Inner) -> Vec<Record> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let batch = match Batch::split_off(&mut bytes) {
            Ok(batch) if batch.header.attributes.is_control() => continue,
            batch => batch,
        };
        let records =
            batch.and_then(|batch| batch.records(&inner.options.expand)?.collect::<Result<Vec<_>, _>>());
        match records {
            Ok(records) => found.extend(records),
            Err(error) => tracing::error!(%error, "a batch of a topic cannot be read: it is passed over"),
        }
    }
    found
}
