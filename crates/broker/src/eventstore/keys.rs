//! Keys of subjects: personal data is encrypted with the key of whom it is about, and unreadable for good once that key is
//! deleted, wherever copies of the ciphertext are.
//!
//! Keys lie in a keyed log of the broker's own, one record each, by a digest of store and subject: nothing on disk names the
//! subject. Deleting a key writes that down, then has the journal rewrite the segments that hold the key, so that its
//! bytes are gone when the deletion is acknowledged. What this does not protect against is somebody who copies the whole
//! data directory before.
//!
//! Cipher: AES-256-GCM (NIST SP 800-38D) with random nonces, from the library `ring`. The stream's name and the event's id are
//! authenticated with the data, so a ciphertext cannot be put into another event.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use annals_clock::Uuid;
use annals_eventstore::append::Sealed;
use annals_eventstore::record::RecordedEvent;
use annals_journal::{Keep, LogId, NotRewritten};
use annals_topics::batch::{Batch, ExpandLimits, Record as StoredRecord};
use annals_topics::offsets::Record;
use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use super::StoreEntry;
use crate::api::Caller;
use crate::api::stores::{AppendEventsError, ShredError};
use crate::{Broker, Inner};

/// The keys of subjects.
pub(crate) const KEYS_LOG: LogId = LogId(8);

const KEY_SUBJECT_V1: u8 = 0x61;
const VALUE_KEY_V1: u8 = 1;
const KEY_LEN: usize = 32;
/// How often it is looked whether a segment was closed, and how many times.
const ROLL_INTERVAL: Duration = Duration::from_millis(20);
const ROLL_TRIES: usize = 500;

/// Names a subject without telling who it is.
type Digest = [u8; 32];

/// All keys.
pub(crate) struct Keys {
    state: RwLock<State>,
    /// Held while a key is made: two would be one too many.
    making: tokio::sync::Mutex<()>,
    random: SystemRandom,
}

#[derive(Default)]
struct State {
    by_subject: HashMap<Digest, Uuid>,
    by_id: HashMap<Uuid, Arc<LessSafeKey>>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { state: RwLock::default(), making: tokio::sync::Mutex::default(), random: SystemRandom::new() }
    }
}

impl Keys {
    fn subject(&self, subject: &Digest) -> Option<(Uuid, Arc<LessSafeKey>)> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let id = state.by_subject.get(subject)?;
        Some((*id, Arc::clone(state.by_id.get(id)?)))
    }

    fn by_id(&self, id: &str) -> Option<Arc<LessSafeKey>> {
        let id: Uuid = id.parse().ok()?;
        self.state.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    /// Takes in a batch of the keys' log, live and in recovery.
    pub(crate) fn apply(&self, batch: Bytes) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for record in records(batch) {
            let Some(subject) = record.key.as_deref().and_then(subject_of) else { continue };
            if let Some(id) = state.by_subject.remove(&subject) {
                state.by_id.remove(&id);
            }
            let Some((id, key)) = record.value.as_deref().and_then(parse_key) else { continue };
            state.by_subject.insert(subject, id);
            state.by_id.insert(id, Arc::new(key));
        }
    }

    /// What a rewrite keeps: the keys that are in use, and the word that others are deleted.
    pub(crate) fn keep(&self, payload: &Bytes) -> Keep {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let is_needed = |record: &StoredRecord| match record.value.as_deref().and_then(parse_id) {
            Some(id) => state.by_id.contains_key(&id),
            None => true,
        };
        if records(payload.clone()).iter().any(is_needed) { Keep::All } else { Keep::Drop }
    }

    /// Puts what can be read in the place of what is stored.
    pub(super) fn open(&self, events: &mut [RecordedEvent]) {
        for event in events {
            let Some(id) = event.encryption_key() else { continue };
            let opened = self.by_id(id).and_then(|key| open(&key, event));
            event.open(opened);
        }
    }
}

fn records(batch: Bytes) -> Vec<StoredRecord> {
    let records = Batch::parse(batch).and_then(|batch| batch.records(&ExpandLimits::default()));
    match records {
        Ok(records) => records.flatten().collect(),
        Err(error) => {
            tracing::error!(%error, "bug: the log of keys cannot be read");
            Vec::new()
        }
    }
}

fn subject_of(key: &[u8]) -> Option<Digest> {
    let (&kind, digest) = key.split_first()?;
    (kind == KEY_SUBJECT_V1).then(|| digest.try_into().ok()).flatten()
}

fn parse_id(value: &[u8]) -> Option<Uuid> {
    let (&version, rest) = value.split_first()?;
    (version == VALUE_KEY_V1).then(|| Uuid::from_slice(rest.get(..16)?).ok()).flatten()
}

fn parse_key(value: &[u8]) -> Option<(Uuid, LessSafeKey)> {
    let id = parse_id(value)?;
    let key = UnboundKey::new(&AES_256_GCM, value.get(17..17 + KEY_LEN)?).ok()?;
    Some((id, LessSafeKey::new(key)))
}

fn digest(store: Uuid, subject: &str) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(store.as_bytes());
    context.update(subject.as_bytes());
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

fn record_key(subject: &Digest) -> Bytes {
    [&[KEY_SUBJECT_V1][..], subject].concat().into()
}

/// What is authenticated with the data.
fn bound_to(stream: &str, id: &str) -> Vec<u8> {
    [stream.as_bytes(), &[0], id.as_bytes()].concat()
}

fn open(key: &LessSafeKey, event: &RecordedEvent) -> Option<Bytes> {
    let stored = event.stored_data()?;
    let (nonce, sealed) = stored.split_first_chunk::<NONCE_LEN>()?;
    let mut data = sealed.to_vec();
    let aad = Aad::from(bound_to(event.stream(), event.id()));
    let len = match key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut data) {
        Ok(plain) => plain.len(),
        Err(_) => {
            let position = event.position();
            tracing::error!(%position, "encrypted data does not fit its key: it is damaged");
            return None;
        }
    };
    data.truncate(len);
    Some(data.into())
}

impl Inner {
    /// Encrypts data for a subject, with a key that is made if there is none.
    pub(super) async fn seal(
        &self,
        store: &StoreEntry,
        subject: &str,
        (stream, id): (&str, &str),
        data: &[u8],
    ) -> Result<Sealed, AppendEventsError> {
        let (key_id, key) = self.key_for(store, subject).await?;
        let failed = |_| AppendEventsError::Unavailable("data cannot be encrypted".to_owned());
        let mut nonce = [0; NONCE_LEN];
        self.state.stores.keys.random.fill(&mut nonce).map_err(failed)?;
        let mut sealed = data.to_vec();
        let aad = Aad::from(bound_to(stream, id));
        let unique = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(unique, aad, &mut sealed).map_err(failed)?;
        let data = [&nonce[..], &sealed].concat().into();
        Ok(Sealed { key: key_id.to_string().into(), data })
    }

    async fn key_for(
        &self,
        store: &StoreEntry,
        subject: &str,
    ) -> Result<(Uuid, Arc<LessSafeKey>), AppendEventsError> {
        let (keys, subject) = (&self.state.stores.keys, digest(store.id, subject));
        if let Some(found) = keys.subject(&subject) {
            return Ok(found);
        }
        let _making = keys.making.lock().await;
        if let Some(found) = keys.subject(&subject) {
            return Ok(found);
        }
        let failed = || AppendEventsError::Unavailable("no key can be made".to_owned());
        let mut key = [0; KEY_LEN];
        keys.random.fill(&mut key).map_err(|_| failed())?;
        let value = [&[VALUE_KEY_V1][..], self.clock.uuid_v4().as_bytes(), &key].concat();
        let record = Record { key: record_key(&subject), value: Some(value.into()) };
        // Durable and applied before anything is encrypted with it.
        self.keys_log.append(&self.journal, &[record], self.clock.now_ms(), &[]).await?;
        keys.subject(&subject).ok_or_else(failed)
    }
}

impl Broker {
    /// Deletes the key of a subject: what was encrypted for it in this store is unreadable from now on, for everybody. Says
    /// whether there was a key. On return the deletion is durable and the key's bytes are off the disk.
    ///
    /// # Errors
    /// [`ShredError`].
    pub async fn shred_subject(
        &self,
        _caller: &Caller,
        store: &Arc<str>,
        subject: &str,
    ) -> Result<bool, ShredError> {
        let inner = &*self.inner;
        let entry = inner.state.stores.by_name(store);
        let entry = entry.ok_or_else(|| ShredError::UnknownStore(Arc::clone(store)))?;
        let keys = &inner.state.stores.keys;
        let subject = digest(entry.id, subject);
        let _making = keys.making.lock().await;
        let existed = keys.subject(&subject).is_some();
        if existed {
            let record = Record { key: record_key(&subject), value: None };
            let appended = inner.keys_log.append(&inner.journal, &[record], inner.clock.now_ms(), &[]).await;
            appended.map_err(|error| ShredError::Unavailable(error.to_string()))?;
        }
        inner.rewrite_all(KEYS_LOG).await.map_err(ShredError::StillOnDisk)?;
        Ok(existed)
    }
}

impl Inner {
    /// Has everything rewritten that a log holds now, asking what is to be kept. An error names the first segment that had to
    /// stay; the others are rewritten all the same.
    pub(super) async fn rewrite_all(&self, log: LogId) -> Result<(), String> {
        let Some(facts) = self.journal.log(log) else { return Ok(()) };
        let end = facts.offsets.end;
        for _ in 0..ROLL_TRIES {
            let extents = self.journal.extents(log);
            let here = || extents.iter().filter(|extent| extent.offsets.start < end);
            if here().all(|extent| extent.sealed) {
                // A segment that was closed meanwhile may hold more.
                let end = here().map(|extent| extent.offsets.end).max().unwrap_or(end);
                return self.rewrite_below(log, end).await.map_err(|left| left.to_string());
            }
            if let Some(reason) = self.journal.stopped() {
                return Err(reason);
            }
            self.journal.roll();
            tokio::time::sleep(ROLL_INTERVAL).await;
        }
        Err("the disk has no room for another segment".to_owned())
    }

    async fn rewrite_below(&self, log: LogId, end: u64) -> Result<(), NotRewritten> {
        let (mut from, mut rewritten) = (0, Ok(()));
        while let Err(left) = self.journal.rewrite_within(log, from..end).await {
            from = left.offsets.end;
            rewritten = rewritten.and(Err(left));
        }
        rewritten
    }
}
