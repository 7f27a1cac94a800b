//! Writing records: check, decide, append, acknowledge.
//!
//! The check of checksums and sizes runs on the caller's own task, in parallel with others. Then the request waits for
//! room in the journal, all its partitions are locked in the order of their logs, each decides, and one group takes
//! all of it. So a request is one atomic write, and requests of one connection keep their order.

use std::sync::{Arc, MutexGuard};

use annals_journal::{Durability, Group, LogId, Payload, Permit, Purpose, Ticket};
use annals_topics::batch::{Batch, BatchError, TimestampType};
use annals_topics::catalogue::Topic;
use annals_topics::config;
use annals_topics::partition::{Append, AppendError, Entry, Partition, SequenceError};

use crate::api::Caller;
use crate::api::produce::{
    InitProducerId, InitProducerIdError, ProduceError, ProducePartition, ProduceRequest, ProduceResult,
    Produced, ProducerIdentity, RecordError,
};
use crate::api::topics::TopicRef;
use crate::metrics::Appending;
use crate::storage::Unavailable;
use crate::table::PartitionEntry;
use crate::{Broker, Inner};

/// Ids that are allocated from the catalogue at a time.
const PRODUCER_IDS_BLOCK: u32 = 1000;

/// Records that are decided and on their way to the disk.
#[derive(Debug)]
pub struct ProduceTicket {
    results: ProduceResult,
    /// Places in `results` that stand only if the journal acknowledges.
    decided: Vec<usize>,
    ticket: Option<Ticket>,
    appending: Appending,
}

/// One partition of a request that passed its checks.
struct Accepted {
    place: usize,
    topic: Arc<Topic>,
    partition: Arc<PartitionEntry>,
    batches: Vec<Batch>,
}

impl ProduceTicket {
    /// Waits until the records are durable. One result per partition, in the request's order.
    pub async fn durable(self) -> ProduceResult {
        let mut results = self.results;
        let Some(ticket) = self.ticket else { return results };
        match ticket.await {
            Ok(_) => self.appending.acknowledged(),
            Err(error) => {
                let error = ProduceError::from(Unavailable::from(error));
                for place in self.decided {
                    results[place] = Err(error.clone());
                }
            }
        }
        results
    }
}

impl Broker {
    /// Decides a produce request: waits for room, then gives each batch its offsets. Requests of one connection are
    /// decided in the order of their calls. The records are acknowledged by [`ProduceTicket::durable`].
    pub async fn produce(&self, _caller: &Caller, request: ProduceRequest) -> ProduceTicket {
        let inner = &*self.inner;
        let now_ms = inner.clock.now_ms();
        let mut results: ProduceResult = Vec::with_capacity(request.partitions.len());
        let mut accepted = Vec::with_capacity(request.partitions.len());
        for (place, partition) in request.partitions.into_iter().enumerate() {
            // A placeholder: every accepted partition gets its result from the decision.
            results.push(Err(ProduceError::Unavailable(String::new())));
            match inner.accept(place, partition, now_ms) {
                Ok(part) => accepted.push(part),
                Err(error) => results[place] = Err(error),
            }
        }
        accepted.sort_by_key(|part| part.partition.log);
        let permit = match inner.admit(&accepted).await {
            Ok(permit) => permit,
            Err(error) => {
                for part in &accepted {
                    results[part.place] = Err(error.clone().into());
                }
                let appending = inner.metrics.appending();
                return ProduceTicket { results, decided: Vec::new(), ticket: None, appending };
            }
        };
        inner.decide(&accepted, permit, results, now_ms)
    }

    /// Gives an idempotent producer its id.
    ///
    /// # Errors
    /// See [`InitProducerIdError`].
    pub async fn init_producer_id(
        &self,
        _caller: &Caller,
        request: InitProducerId,
    ) -> Result<ProducerIdentity, InitProducerIdError> {
        if let Some(id) = request.transactional_id {
            return Err(InitProducerIdError::TransactionsUnsupported(id));
        }
        // A producer that bumps its own epoch has lost nothing by getting a new id instead.
        let id = self.inner.next_producer_id().await;
        let id = id.map_err(|error| InitProducerIdError::Unavailable(error.to_string()))?;
        Ok(ProducerIdentity { id, epoch: 0 })
    }
}

impl Inner {
    fn accept(&self, place: usize, part: ProducePartition, now_ms: i64) -> Result<Accepted, ProduceError> {
        let entry = self.state.table.topic(&part.topic);
        let entry = entry.ok_or_else(|| unknown(&part.topic, part.partition))?;
        let index = usize::try_from(part.partition).ok();
        let partition = index.and_then(|index| entry.partitions.get(index));
        let known = TopicRef::Name(Arc::clone(&entry.topic.name));
        let partition = partition.ok_or_else(|| unknown(&known, part.partition))?;
        if entry.topic.store {
            return Err(ProduceError::EventStore(Arc::clone(&entry.topic.name)));
        }
        let config = &entry.topic.config;
        let rules = config.accept_rules(self.options.record_check, self.options.expand);
        let batches = annals_topics::batch::accept(part.records, &rules, now_ms)?;
        let (topic, partition) = (Arc::clone(&entry.topic), Arc::clone(partition));
        Ok(Accepted { place, topic, partition, batches })
    }

    async fn admit(&self, accepted: &[Accepted]) -> Result<Permit, Unavailable> {
        let mut stand_in = Group::new();
        let batches = accepted.iter().flat_map(|part| &part.batches);
        let bytes: usize = batches.clone().map(|batch| batch.header.size_bytes()).sum();
        // Only the number of entries counts here.
        batches.for_each(|_| stand_in.push(LogId(0), 0, 1, 0, Payload::default()));
        Ok(self.journal.admit(stand_in.stored_len() + bytes, Purpose::Data).await?)
    }

    fn decide(
        &self,
        accepted: &[Accepted],
        permit: Permit,
        mut results: ProduceResult,
        now_ms: i64,
    ) -> ProduceTicket {
        let mut group = Group::new();
        let mut durability = Durability::Async;
        let mut decided = Vec::with_capacity(accepted.len());
        let mut locked: Vec<(&Accepted, MutexGuard<'_, Partition>)> = Vec::with_capacity(accepted.len());
        let mut repeated = Vec::new();
        let mut appending = self.metrics.appending();
        for part in accepted {
            // The same partition twice in one request would lock itself out.
            if locked.last().is_some_and(|(last, _)| Arc::ptr_eq(&last.partition, &part.partition)) {
                repeated.push(part.place);
                continue;
            }
            locked.push((part, part.partition.lock()));
        }
        for place in repeated {
            let reason = "the request names the same partition twice".to_owned();
            results[place] = Err(ProduceError::InvalidRecords { reason, records: Vec::new() });
        }
        for (part, partition) in &mut locked {
            let stamps = part.topic.config.timestamps.timestamp_type;
            results[part.place] = append(part, partition, (&mut group, &mut appending), now_ms, stamps);
            if results[part.place].is_ok() {
                decided.push(part.place);
                if self.durability_of(&part.topic) == Durability::Sync {
                    durability = Durability::Sync;
                }
            }
        }
        // Also for duplicates alone: an empty group behind the one in flight tells when that is durable.
        let ticket = (!decided.is_empty()).then(|| self.submit(permit, group.with_durability(durability)));
        drop(locked);
        ProduceTicket { results, decided, ticket, appending }
    }

    fn submit(&self, permit: Permit, group: Group) -> Ticket {
        self.journal.submit(permit, group)
    }

    fn durability_of(&self, topic: &Topic) -> Durability {
        match topic.config.durability {
            None => self.options.durability,
            Some(config::Durability::Sync) => Durability::Sync,
            Some(config::Durability::Async) => Durability::Async,
        }
    }

    async fn next_producer_id(&self) -> Result<i64, Unavailable> {
        let mut ids = self.producer_ids.lock().await;
        if ids.is_empty() {
            let _changing = self.changing.lock().await;
            let block =
                self.state.with_catalogue(|catalogue| catalogue.decide_producer_ids(PRODUCER_IDS_BLOCK));
            self.append_catalogue(&[block.record], &[]).await?;
            *ids = block.ids;
        }
        let id = ids.start;
        ids.start += 1;
        Ok(id)
    }

    /// Appends records to the catalogue's log, and deletes the logs `doomed` with them.
    pub(crate) async fn append_catalogue(
        &self,
        records: &[annals_topics::offsets::Record],
        doomed: &[LogId],
    ) -> Result<(), Unavailable> {
        self.catalogue_log.append(&self.journal, records, self.clock.now_ms(), doomed).await
    }
}

/// Has one partition decide, and adds what it wants to write.
fn append(
    part: &Accepted,
    partition: &mut Partition,
    (group, appending): (&mut Group, &mut Appending),
    now_ms: i64,
    stamps: TimestampType,
) -> Result<Produced, ProduceError> {
    let log_start_offset = partition.log_start();
    let batches = part.batches.clone();
    let (offsets, append_time_ms) = match partition.append(batches, now_ms, stamps)? {
        Append::Duplicate { offsets, append_time_ms } => (offsets, append_time_ms),
        Append::New { offsets, entries, append_time_ms } => {
            part.batches.iter().for_each(|batch| appending.add(&part.topic.name, &batch.header));
            for entry in entries {
                push(group, part, entry);
            }
            (offsets, append_time_ms)
        }
    };
    Ok(Produced { base_offset: offsets.start, log_append_time_ms: append_time_ms, log_start_offset })
}

fn push(group: &mut Group, part: &Accepted, entry: Entry) {
    let (base, count) = (entry.base_offset().cast_unsigned(), entry.offset_count());
    let timestamp = entry.max_timestamp();
    let payload = Payload::with_head(&entry.head, entry.body, entry.crc);
    group.push(part.partition.log, base, count, timestamp, payload);
}

fn unknown(topic: &TopicRef, partition: i32) -> ProduceError {
    match topic {
        TopicRef::Name(topic) => ProduceError::UnknownPartition { topic: Arc::clone(topic), partition },
        TopicRef::Id(id) => ProduceError::UnknownTopicId(*id),
    }
}

impl From<Unavailable> for ProduceError {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::DiskFull => Self::DiskFull,
            Unavailable::Stopped(reason) => Self::Unavailable(reason),
        }
    }
}

impl From<AppendError> for ProduceError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Sequence(error) => error.into(),
            AppendError::OffsetsExhausted { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<SequenceError> for ProduceError {
    fn from(error: SequenceError) -> Self {
        match error {
            SequenceError::OutOfOrder { producer_id, sequence, expected, .. } => {
                Self::OutOfOrderSequence { producer_id, expected, got: sequence }
            }
            SequenceError::Fenced { producer_id, epoch, current } => {
                Self::Fenced { producer_id, current, got: epoch }
            }
        }
    }
}

impl From<BatchError> for ProduceError {
    fn from(error: BatchError) -> Self {
        let reason = error.to_string();
        let named = |index| RecordError { index, reason: error.to_string() };
        match &error {
            BatchError::Truncated { .. }
            | BatchError::LengthTooSmall { .. }
            | BatchError::ChecksumMismatch { .. }
            | BatchError::Compression(_) => Self::Corrupt(reason),
            BatchError::UnsupportedMagic { magic } => Self::UnsupportedFormat { magic: *magic },
            BatchError::UnknownCompression { code } => Self::UnsupportedCompression(i16::from(*code)),
            BatchError::TooLarge { size_bytes, max_bytes } => {
                Self::BatchTooLarge { size_bytes: *size_bytes, size_bytes_max: *max_bytes }
            }
            BatchError::TimestampOutOfRange { .. } => Self::InvalidTimestamp { reason, records: Vec::new() },
            BatchError::MalformedRecord { index, .. } => {
                Self::InvalidRecords { reason, records: vec![named(*index)] }
            }
            // Each is named, so that a client can tell its culprits from those that only shared the batch (KIP-467).
            BatchError::MissingKey { indexes } => {
                let keyless = |&index: &i32| RecordError { index, reason: "it has no key".to_owned() };
                Self::InvalidRecords { reason, records: indexes.iter().map(keyless).collect() }
            }
            BatchError::Empty
            | BatchError::TooManyBatches { .. }
            | BatchError::NegativeCount { .. }
            | BatchError::NoRecords
            | BatchError::CountMismatch { .. }
            | BatchError::BaseOffsetNotZero { .. }
            | BatchError::ControlFromClient
            | BatchError::TransactionalNotAllowed
            | BatchError::InvalidSequence { .. }
            | BatchError::AppendTimeFromClient => Self::InvalidRecords { reason, records: Vec::new() },
        }
    }
}
