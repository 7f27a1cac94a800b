//! A broker on faulty files, with short ways to use it.

use std::sync::Arc;
use std::time::Duration;

use annals_broker::api::Caller;
use annals_broker::api::fetch::{FetchError, FetchPartition, FetchRequest, Fetched};
use annals_broker::api::offsets::{CommitError, CommitOffset, CommitOffsets, FetchOffsets};
use annals_broker::api::produce::{
    Acks, InitProducerId, InitProducerIdError, ProduceError, ProducePartition, ProduceRequest,
};
use annals_broker::api::topics::{
    CreateTopicError, CreateTopics, DeleteRecords, DeleteRecordsError, DeleteTopicError, Isolation, NewTopic,
    TopicQuery, TopicRef, TopicSelection,
};
use annals_broker::{Broker, OpenError, Options, ProduceTicket};
use annals_clock::Clock;
use annals_journal::{FaultFiles, Files};
use annals_topics::batch::{Batch, BatchBuilder, BatchOptions, ExpandLimits, NewRecord, Producer};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Small enough to be reached.
pub(crate) const IN_FLIGHT_BYTES_MAX: usize = 2 << 20;
const TIMEOUT: Duration = Duration::from_secs(5);

/// A running broker.
pub(crate) struct World {
    pub(crate) broker: Broker,
    caller: Caller,
    tasks: JoinSet<()>,
    stop: Option<oneshot::Sender<()>>,
}

/// A record as it was read: offset, key and value.
pub(crate) type Read = (i64, Option<String>, String);

impl World {
    pub(crate) fn open(files: &FaultFiles) -> Self {
        Self::try_open(Arc::new(files.clone()), Duration::from_millis(5)).unwrap()
    }

    pub(crate) fn try_open(files: Arc<dyn Files>, compaction_interval: Duration) -> Result<Self, OpenError> {
        let options = Options { compaction_interval, ..Options::default() };
        let journal = annals_journal::Options {
            segment_bytes: 1 << 20,
            tail_cache_bytes: 64 << 10,
            upkeep_interval: Duration::from_millis(5),
            in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
            ..annals_journal::Options::default()
        };
        let broker = Broker::open(options, journal, files, Clock::system())?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut tasks, running) = (JoinSet::new(), broker.clone());
        tasks.spawn(async move { running.run(async { drop(stopped.await) }).await });
        Ok(Self { broker, caller: Caller::internal(), tasks, stop: Some(stop) })
    }

    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        while self.tasks.join_next().await.is_some() {}
        self.broker.close();
    }

    pub(crate) async fn create(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<(), CreateTopicError> {
        let config = |&(name, value): &(&str, &str)| (name.to_owned(), Some(value.to_owned()));
        let configs = configs.iter().map(config).collect();
        let topic = NewTopic { name: name.into(), partitions: Some(partitions), configs };
        let request = CreateTopics { topics: vec![topic], validate_only: false, timeout: TIMEOUT };
        self.broker.create_topics(&self.caller, request).await.remove(0).map(drop)
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), DeleteTopicError> {
        let topics = vec![TopicRef::Name(name.into())];
        self.broker.delete_topics(&self.caller, topics).await.remove(0).map(drop)
    }

    pub(crate) async fn topics(&self) -> Vec<String> {
        let query = TopicQuery { selection: TopicSelection::All, create_missing: false };
        let found = self.broker.topics(&self.caller, query).await;
        let names = found.into_iter().map(|topic| topic.result.unwrap()).filter(|topic| !topic.internal);
        names.map(|topic| topic.name.to_string()).collect()
    }

    pub(crate) async fn producer(&self) -> Result<i64, InitProducerIdError> {
        let request = InitProducerId { transactional_id: None, transaction_timeout: TIMEOUT, current: None };
        self.broker.init_producer_id(&self.caller, request).await.map(|identity| identity.id)
    }

    /// Decides a batch; `producer` is its id and sequence number, a record is `value` or `key=value`.
    pub(crate) async fn begin(
        &self,
        topic: &str,
        partition: i32,
        producer: Option<(i64, i32)>,
        records: &[&str],
    ) -> ProduceTicket {
        let part = ProducePartition {
            topic: TopicRef::Name(topic.into()),
            partition,
            records: batch(producer, records),
        };
        let request = ProduceRequest { acks: Acks::All, timeout: TIMEOUT, partitions: vec![part] };
        self.broker.produce(&self.caller, request).await
    }

    pub(crate) async fn produce(
        &self,
        topic: &str,
        partition: i32,
        producer: Option<(i64, i32)>,
        records: &[&str],
    ) -> Result<i64, ProduceError> {
        let ticket = self.begin(topic, partition, producer, records).await;
        ticket.durable().await.remove(0).map(|produced| produced.base_offset)
    }

    /// Everything that a partition holds, read in small pieces.
    pub(crate) async fn read(&self, topic: &str, partition: i32) -> Vec<Read> {
        let mut next = self.fetch(topic, partition, None).await.log_start_offset;
        let start = next;
        let mut all = Vec::new();
        loop {
            let fetched = self.fetch(topic, partition, Some(next)).await;
            let mut bytes: Bytes = fetched.records.concat().into();
            if next >= fetched.high_watermark || bytes.is_empty() {
                assert!(
                    next >= fetched.high_watermark,
                    "nothing at {next} before {}",
                    fetched.high_watermark
                );
                return all;
            }
            while !bytes.is_empty() {
                let batch = Batch::split_off(&mut bytes).unwrap();
                all.extend(records(&batch).into_iter().filter(|(offset, ..)| *offset >= start.max(next)));
                next = batch.header.last_offset() + 1;
            }
        }
    }

    /// Everything that can still be read of a partition some of whose records are damaged.
    pub(crate) async fn read_around_damage(&self, topic: &str, partition: i32) -> Vec<Read> {
        let (mut all, mut next) = (Vec::new(), 0);
        loop {
            match self.try_fetch(topic, partition, next).await {
                Ok(fetched) if next >= fetched.high_watermark => return all,
                Ok(fetched) => {
                    let mut bytes: Bytes = fetched.records.concat().into();
                    assert!(!bytes.is_empty(), "nothing at {next} before {}", fetched.high_watermark);
                    while !bytes.is_empty() {
                        let batch = Batch::split_off(&mut bytes).unwrap();
                        all.extend(records(&batch).into_iter().filter(|(offset, ..)| *offset >= next));
                        next = next.max(batch.header.last_offset() + 1);
                    }
                }
                Err(FetchError::OffsetOutOfRange { log_start_offset, .. }) if next < log_start_offset => {
                    next = log_start_offset;
                }
                Err(FetchError::Corrupt(_)) => next += 1,
                Err(error) => panic!("{topic}-{partition} at {next}: {error}"),
            }
        }
    }

    async fn try_fetch(&self, topic: &str, partition: i32, offset: i64) -> Result<Fetched, FetchError> {
        let part =
            FetchPartition { topic: TopicRef::Name(topic.into()), partition, offset, max_bytes: 20_000 };
        let request = FetchRequest {
            max_wait: Duration::ZERO,
            min_bytes: 0,
            max_bytes: 20_000,
            isolation: Isolation::ReadUncommitted,
            stored: false,
            partitions: vec![part],
        };
        self.broker.fetch(&self.caller, request).await.partitions.remove(0)
    }

    pub(crate) async fn values(&self, topic: &str, partition: i32) -> Vec<String> {
        self.read(topic, partition).await.into_iter().map(|(_, _, value)| value).collect()
    }

    pub(crate) async fn fetch(&self, topic: &str, partition: i32, offset: Option<i64>) -> Fetched {
        let topic = TopicRef::Name(topic.into());
        let part = FetchPartition { topic, partition, offset: offset.unwrap_or(0), max_bytes: 2000 };
        let request = FetchRequest {
            max_wait: Duration::ZERO,
            min_bytes: 0,
            max_bytes: 2000,
            isolation: Isolation::ReadUncommitted,
            stored: false,
            partitions: vec![part.clone()],
        };
        let fetched = self.broker.fetch(&self.caller, request.clone()).await.partitions.remove(0);
        match fetched {
            Err(FetchError::OffsetOutOfRange { log_start_offset, .. }) if offset.is_none() => {
                let part = FetchPartition { offset: log_start_offset, ..part };
                let request = FetchRequest { partitions: vec![part], ..request };
                self.broker.fetch(&self.caller, request).await.partitions.remove(0).unwrap()
            }
            fetched => fetched.unwrap(),
        }
    }

    pub(crate) async fn cut(
        &self,
        topic: &str,
        partition: i32,
        before: i64,
    ) -> Result<i64, DeleteRecordsError> {
        let cut = DeleteRecords { topic: topic.into(), partition, before: Some(before) };
        self.broker.delete_records(&self.caller, vec![cut]).await.remove(0)
    }

    pub(crate) async fn commit(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(), CommitError> {
        let topic = TopicRef::Name(topic.into());
        let (leader_epoch, metadata, expires_at_ms) = (None, String::new(), None);
        let offsets = vec![CommitOffset { topic, partition, offset, leader_epoch, metadata, expires_at_ms }];
        let request = CommitOffsets { group: group.into(), member: None, offsets };
        self.broker.commit_offsets(&self.caller, request).await.remove(0)
    }

    pub(crate) async fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let topics = Some(vec![(TopicRef::Name(topic.into()), vec![partition])]);
        let request = FetchOffsets { group: group.into(), member: None, topics, require_stable: true };
        let mut topics = self.broker.fetch_offsets(&self.caller, request).await.unwrap();
        topics.remove(0).partitions.remove(0).result.unwrap().map(|committed| committed.offset)
    }
}

fn batch(producer: Option<(i64, i32)>, records: &[&str]) -> Bytes {
    let producer = producer.map(|(id, base_sequence)| Producer { id, epoch: 0, base_sequence });
    let mut builder = BatchBuilder::new(BatchOptions { producer, ..BatchOptions::default() });
    for record in records {
        let (key, value) = record.split_once('=').map_or((None, *record), |(key, value)| (Some(key), value));
        let key = key.map(str::as_bytes);
        let value = Some(value.as_bytes());
        builder.push(&NewRecord { key, value, ..NewRecord::at(1_700_000_000_000) }).unwrap();
    }
    builder.build().unwrap().encode()
}

fn records(batch: &Batch) -> Vec<Read> {
    batch.verify().unwrap();
    let records = batch.records(&ExpandLimits::default()).unwrap().map(Result::unwrap);
    let read =
        records.map(|record| (record.offset, record.key.as_ref().map(text), text(&record.value.unwrap())));
    read.collect()
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
