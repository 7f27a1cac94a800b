//! Opening: from a journal to a broker that answers.
//!
//! The catalogue's log is read and applied. Each partition starts from the summary that the journal kept for it and
//! applies the headers of the batches behind it; where the journal had to read those batches itself, they were followed
//! meanwhile ([`Followed`]). The groups' log is read and applied. Nothing is accepted before, and nothing is written at all
//! where a record of the catalogue is lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, PoisonError, RwLock};

use annals_clock::{Clock, Uuid};
use annals_journal::{Damage, EntryHeader, Files, Journal, LogFacts, LogId, OpenMode, ReadError, Replay};
use annals_topics::batch::BatchHeader;
use annals_topics::catalogue::Catalogue;
use annals_topics::partition::Partition;
use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::eventstore::{self, KEYS_LOG, SUBSCRIPTIONS_LOG, Stores, Tables};
use crate::groups::Groups;
use crate::machine::HEAD_LEN;
use crate::metrics::Metrics;
use crate::queues::{DEFINITIONS_LOG, Queues, is_queue_log};
use crate::read_ahead::ReadAhead;
use crate::state_log::{CATALOGUE_LOG, FIRST_TOPIC_LOG, OFFSETS_LOG, StateLog};
use crate::table::Table;
use crate::upkeep::compaction::Cleaning;
use crate::{Broker, Inner, Options, State};

/// The file that holds the data directory's identity.
const IDENTITY_FILE: &str = "CLUSTER";
/// Bytes of a state log that are read at once.
const READ_BYTES: usize = 4 << 20;
/// Batch headers of a partition that are read at once.
const READ_HEADS: usize = 10_000;

/// Why the broker could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal could not be opened.
    #[error(transparent)]
    Journal(#[from] annals_journal::OpenError),
    /// The broker's own state could not be read.
    #[error("the broker's state cannot be read: {0}")]
    State(#[from] ReadError),
    /// The file that holds the directory's identity is damaged.
    #[error(
        "the file CLUSTER is damaged; remove it to have a new cluster id drawn, nothing else depends on it"
    )]
    Identity,
    /// A file could not be read or written, or a thread not started.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Broker {
    /// Opens the data in `files` and finds the state of the last run again. Blocks on the disk.
    ///
    /// # Errors
    /// If the data cannot be read, is from a newer program, or the threads cannot be started.
    pub fn open(
        options: Options,
        mut journal: annals_journal::Options,
        files: Arc<dyn Files>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let started = clock.monotonic();
        let metrics = Arc::new(Metrics::default());
        let cluster_id = identity(files.as_ref(), &clock)?;
        journal.durability = options.durability;
        let mut followed = Followed { partitions: HashMap::new(), now_ms: clock.now_ms() };
        let observer = Arc::clone(&metrics) as _;
        let opened = Journal::open_replaying(journal, files, clock.clone(), observer, &mut followed)?;
        let state = Arc::new(State {
            catalogue: RwLock::new(Catalogue::new(options.topic_defaults.clone(), FIRST_TOPIC_LOG)),
            table: Table::default(),
            cleaning: Cleaning::default(),
            queues: Queues::new(clock.clone()),
            stores: Stores::new(Tables::new(options.index_directory.clone())),
            now_ms: AtomicI64::new(clock.now_ms()),
            clock: clock.clone(),
        });
        let apply = |batch| state.apply_catalogue(batch);
        let catalogue = read_state_log(opened.journal(), CATALOGUE_LOG, apply)?;
        recover_partitions(opened.journal(), &state, followed)?;
        eventstore::recover(opened.journal(), &state.stores, &clock)?;
        let stores = &state.stores;
        let keys = read_state_log(opened.journal(), KEYS_LOG, |batch| stores.keys.apply(batch))?;
        let subscriptions =
            read_state_log(opened.journal(), SUBSCRIPTIONS_LOG, |batch| stores.groups.recover(batch))?;
        for damage in keys.damage.iter().chain(&subscriptions.damage) {
            tracing::error!(%damage, "keys of subjects or persistent subscriptions are lost");
        }
        let groups = Groups::new(&options.groups);
        let offsets = read_state_log(opened.journal(), OFFSETS_LOG, |batch| groups.recover(batch))?;
        if let Some(damage) = offsets.damage {
            tracing::error!(%damage, "commits are lost: their groups go on from earlier ones");
        }
        groups.finish_loading(&clock);
        let apply = |batch| state.queues.recover_definitions(batch);
        let definitions = read_state_log(opened.journal(), DEFINITIONS_LOG, apply)?;
        state.queues.recover(opened.journal(), definitions.end)?;
        let start = opened.start(Arc::clone(&state) as _);
        let journal = start.map_err(|source| OpenError::Io { action: "start a thread", source })?;
        if let Some(damage) = catalogue.damage.or(definitions.damage) {
            journal.stop(&read_only(&damage));
        }
        let inner = Inner {
            journal,
            cluster_id,
            state,
            changing: tokio::sync::Mutex::default(),
            catalogue_log: StateLog::new(CATALOGUE_LOG, catalogue.end),
            offsets_log: StateLog::new(OFFSETS_LOG, offsets.end),
            keys_log: StateLog::new(KEYS_LOG, keys.end),
            subscriptions_log: StateLog::new(SUBSCRIPTIONS_LOG, subscriptions.end),
            groups,
            connections: Default::default(),
            producer_ids: tokio::sync::Mutex::new(0..0),
            disk_reads: Arc::new(Semaphore::new(options.disk_reads_max)),
            ahead: ReadAhead::new(),
            metrics,
            draining: AtomicBool::new(false),
            clock,
            options,
        };
        let broker = Self { inner: Arc::new(inner) };
        broker.inner.metrics.recovered(broker.inner.clock.monotonic().saturating_sub(started));
        broker.inner.metrics.watch(&broker.inner);
        Ok(broker)
    }
}

/// The identity of the data directory; drawn when it is new.
fn identity(files: &dyn Files, clock: &Clock) -> Result<Arc<str>, OpenError> {
    let io = |action| move |source| OpenError::Io { action, source };
    let names = files.list().map_err(io("list the data directory"))?;
    if names.iter().any(|name| name == IDENTITY_FILE) {
        let file = files.open(IDENTITY_FILE, OpenMode::Read).map_err(io("open CLUSTER"))?;
        let mut bytes = [0; 64];
        let read = file.read_at(0, &mut bytes).map_err(io("read CLUSTER"))?;
        return parse_identity(&bytes[..read]).ok_or(OpenError::Identity);
    }
    let id = kafka_id(clock.uuid_v4());
    let text = format!("{id} {:08x}\n", crc_of(&id));
    annals_journal::write_atomically(files, IDENTITY_FILE, text.as_bytes()).map_err(io("write CLUSTER"))?;
    Ok(id.into())
}

fn parse_identity(text: &[u8]) -> Option<Arc<str>> {
    let (id, crc) = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.split_once(' ')?;
    (u32::from_str_radix(crc, 16) == Ok(crc_of(id))).then(|| id.into())
}

fn crc_of(id: &str) -> u32 {
    crc32c::crc32c(id.as_bytes())
}

/// A UUID as Kafka writes it: base64 in the URL alphabet, without padding, 22 characters.
pub(crate) fn kafka_id(id: Uuid) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = id.as_u128();
    // 22 digits of six bits: the last one has the lowest two bits and four zeros.
    let digit = |i: u32| {
        let bits = if i == 21 { (number << 4) & 63 } else { (number >> (122 - 6 * i)) & 63 };
        char::from(ALPHABET[bits as usize])
    };
    (0..22).map(digit).collect()
}

/// Why nothing is written when a record of the catalogue is lost: a topic or its configuration may be missing, so ids could be
/// given away twice, and retention could go by an outdated limit.
fn read_only(damage: &Damage) -> String {
    format!(
        "the catalogue of topics is damaged ({damage}); what is left can be read: copy it to a new data directory"
    )
}

/// What reading a state log gave.
struct StateRead {
    /// Where the log goes on.
    end: u64,
    /// The first records that could not be read.
    damage: Option<Damage>,
}

/// Gives every batch of a state log to `apply`, and passes over what is damaged: that is no reason to keep everything else
/// from being read.
fn read_state_log(
    journal: &Journal,
    log: LogId,
    mut apply: impl FnMut(Bytes),
) -> Result<StateRead, ReadError> {
    let Some(facts) = journal.log(log) else { return Ok(StateRead { end: 0, damage: None }) };
    let (mut next, mut first_damage) = (facts.offsets.start, None);
    while next < facts.offsets.end {
        let entries = match journal.entries(log, next, READ_BYTES) {
            Err(ReadError::Damaged(damage)) => {
                next = damage.offsets.as_ref().map_or(next, |lost| lost.end).max(next + 1);
                first_damage.get_or_insert(damage);
                continue;
            }
            entries => entries?,
        };
        let Some(last) = entries.last() else { break };
        next = last.header.end_offset();
        entries.into_iter().for_each(|entry| apply(entry.payload));
    }
    Ok(StateRead { end: facts.offsets.end, damage: first_damage })
}

fn recover_partitions(journal: &Journal, state: &State, mut followed: Followed) -> Result<(), ReadError> {
    for topic in state.table.topics() {
        for entry in &topic.partitions {
            let Some(facts) = journal.log(entry.log) else { continue };
            let known = followed.partitions.remove(&entry.log);
            *entry.lock() = recover_partition(journal, state, entry.log, &facts, known)?;
        }
    }
    Ok(())
}

fn recover_partition(
    journal: &Journal,
    state: &State,
    log: LogId,
    facts: &LogFacts,
    known: Option<Partition>,
) -> Result<Partition, ReadError> {
    let mut partition = match known {
        Some(partition) => partition,
        None => read_partition(journal, state, log, facts)?,
    };
    partition.apply_trim(facts.offsets.start.cast_signed());
    partition.advance_to(facts.offsets.end.cast_signed());
    Ok(partition)
}

fn read_partition(
    journal: &Journal,
    state: &State,
    log: LogId,
    facts: &LogFacts,
) -> Result<Partition, ReadError> {
    let (mut partition, mut next) = restore(journal, log, facts.offsets.start);
    while next < facts.offsets.end {
        let heads = journal.read_heads(log, next, HEAD_LEN, READ_HEADS)?;
        let Some(last) = heads.last() else { break };
        next = last.header.end_offset();
        for head in &heads {
            apply_head(&mut partition, &head.header, &head.payload, state.clock.now_ms());
        }
    }
    Ok(partition)
}

/// Applies the batch of an entry. Its payload was perhaps not compared with its checksum: it must at least agree with the
/// entry, whose offsets were.
fn apply_head(partition: &mut Partition, entry: &EntryHeader, head: &[u8], now_ms: i64) {
    let (log, offset) = (entry.log, entry.base_offset);
    match BatchHeader::parse(head) {
        Ok(header) if agrees(entry, &header) => {
            partition.apply(&header, now_ms);
        }
        Ok(_) => {
            tracing::error!(%log, offset, "a stored batch is damaged: it names other offsets than its entry");
        }
        Err(error) => tracing::error!(%log, offset, %error, "a stored batch cannot be read"),
    }
}

fn agrees(entry: &EntryHeader, batch: &BatchHeader) -> bool {
    let (first, next) = (entry.base_offset.cast_signed(), entry.end_offset().cast_signed());
    (batch.base_offset, batch.next_offset()) == (first, next)
}

/// The partition as its summary has it, and the offset from which batches are still to be applied.
fn restore(journal: &Journal, log: LogId, start: u64) -> (Partition, u64) {
    if let Some((summary, offset)) = journal.summary(log) {
        match Partition::restore(&summary) {
            Ok(partition) => return (partition, offset.max(start)),
            Err(error) => tracing::warn!(%log, %error, "cannot use a summary; reading the whole log instead"),
        }
    }
    (Partition::starting_at(start.cast_signed()), start)
}

/// The partitions whose batches the journal read while it was opened.
struct Followed {
    partitions: HashMap<LogId, Partition>,
    now_ms: i64,
}

impl Replay for Followed {
    fn head_len(&self) -> usize {
        HEAD_LEN
    }

    fn start(&mut self, log: LogId, at: u64, summary: Option<&[u8]>) -> bool {
        if log.0 < FIRST_TOPIC_LOG || is_queue_log(log) {
            return false;
        }
        let partition = match summary.map(Partition::restore) {
            None => Partition::starting_at(at.cast_signed()),
            Some(Ok(partition)) => partition,
            Some(Err(_)) => return false,
        };
        self.partitions.insert(log, partition);
        true
    }

    fn apply(&mut self, header: &EntryHeader, head: &[u8]) {
        if let Some(partition) = self.partitions.get_mut(&header.log) {
            apply_head(partition, header, head, self.now_ms);
        }
    }

    fn summary(&mut self, log: LogId) -> Option<Vec<u8>> {
        self.partitions.get(&log).map(Partition::snapshot)
    }

    fn forget(&mut self, log: LogId) {
        self.partitions.remove(&log);
    }
}

impl State {
    pub(crate) fn with_catalogue<T>(&self, look: impl FnOnce(&Catalogue) -> T) -> T {
        look(&self.catalogue.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_kafka_writes_them() {
        // org.apache.kafka.common.Uuid.fromString("AAAAAAAAAAAAAAAAAAAAAQ") is the number 1.
        assert_eq!(kafka_id(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(kafka_id(Uuid::from_u128(u128::MAX)), "_____________________w");
    }
}
