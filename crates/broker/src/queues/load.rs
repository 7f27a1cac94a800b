//! Reading messages that are not in memory, for queues that could go on with them.
//!
//! What was written lately is in the journal's memory; the rest is read from disk on the blocking pool, a bounded number of
//! reads at a time.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::{Journal, LogId, ReadError};
use annals_queues::Message;
use annals_queues::queue::{Need, Place};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::QueueEntry;
use super::batch::stored;
use super::bodies::resolve;
use super::logs::lane_log;
use crate::Inner;

/// Bytes of messages that are read at once.
const READ_BYTES: usize = 256 << 10;
/// Queues that are read for at the same time.
const QUEUES_MAX: usize = 16;
/// How long a disk is left alone that could not be read.
const PAUSE: Duration = Duration::from_millis(100);

/// Works until it is dropped.
pub(super) async fn run(inner: &Inner) {
    let mut reading = FuturesUnordered::new();
    loop {
        tokio::select! {
            queues = inner.queues().work.load.next(1), if reading.len() < QUEUES_MAX => {
                reading.extend(queues.into_iter().map(|queue| advance(inner, queue)));
            }
            Some(()) = reading.next(), if !reading.is_empty() => {}
        }
    }
}

async fn advance(inner: &Inner, queue: annals_queues::routing::QueueId) {
    let Some(entry) = inner.queues().entry(queue) else { return };
    let need = entry.lock().need.clone();
    if let Some(need) = need {
        load(inner, &entry, need).await;
        let mut state = entry.lock();
        state.need = None;
        entry.advance(&mut state, inner.queues());
    }
}

/// Reads what a queue needs and gives it to it.
pub(super) async fn load(inner: &Inner, entry: &QueueEntry, need: Need) {
    match need {
        Need::Range { lane, offsets } => load_range(inner, entry, lane, offsets).await,
        Need::Place(place) => {
            let message = match read_place(inner, entry, place).await {
                Ok(message) => message,
                Err(error) => return unreadable(entry, &error).await,
            };
            let is_lost = entry.lock().queue.loaded_place(place, message);
            report(entry, usize::from(is_lost));
        }
    }
}

async fn load_range(inner: &Inner, entry: &QueueEntry, lane: u16, offsets: Range<u64>) {
    let log = lane_log(entry.id(), lane);
    let from = offsets.start;
    let (end, found) = match read_messages(inner, log, offsets.clone()).await {
        Ok(read) => read,
        Err(ReadError::Damaged(damage)) => {
            tracing::error!(queue = %entry.definition().name, %damage, "messages of a queue are damaged");
            (damage.offsets.map_or(from + 1, |lost| lost.end).max(from + 1), Vec::new())
        }
        // The log was trimmed or deleted meanwhile; the queue knows by now.
        Err(ReadError::OutOfRange { .. }) => return,
        Err(error) => return unreadable(entry, &error).await,
    };
    let lost = entry.lock().queue.loaded(lane, from..end.min(offsets.end), found);
    report(entry, lost);
}

/// Reads some messages of a log, and up to where.
async fn read_messages(
    inner: &Inner,
    log: LogId,
    offsets: Range<u64>,
) -> Result<(u64, Vec<(u64, Arc<Message>)>), ReadError> {
    let (bytes, next) = read(inner, log, offsets.clone(), READ_BYTES).await?;
    if bytes.is_empty() {
        // There is nothing there any more.
        return Ok((offsets.end, Vec::new()));
    }
    Ok((next.max(offsets.start + 1), resolve(inner, stored(bytes)).await?))
}

/// The disk failed. The messages may be there still: they are read again a little later.
async fn unreadable(entry: &QueueEntry, error: &ReadError) {
    tracing::error!(queue = %entry.definition().name, %error, "cannot read messages of a queue");
    tokio::time::sleep(PAUSE).await;
}

fn report(entry: &QueueEntry, lost: usize) {
    if lost > 0 {
        tracing::error!(queue = %entry.definition().name, lost, "messages of a queue are lost: they cannot be read");
    }
}

/// Reads one message. `None` if it is not there any more: it was trimmed, or is damaged.
///
/// # Errors
/// [`ReadError::Io`]: it may be there still, and is not to be given up.
pub(super) async fn read_place(
    inner: &Inner,
    entry: &QueueEntry,
    place: Place,
) -> Result<Option<Arc<Message>>, ReadError> {
    let log = lane_log(entry.id(), place.lane);
    match read(inner, log, place.offset..place.offset + 1, 1).await {
        Ok((bytes, _)) => {
            let found = stored(bytes).into_iter().filter(|(offset, _)| *offset == place.offset).collect();
            Ok(resolve(inner, found).await?.pop().map(|(_, message)| message))
        }
        Err(error @ ReadError::Io { .. }) => Err(error),
        Err(error @ (ReadError::Damaged(_) | ReadError::OutOfRange { .. })) => {
            tracing::error!(queue = %entry.definition().name, %error, "cannot read a message of a queue");
            Ok(None)
        }
    }
}

/// Reads stored batches, and where to go on.
pub(super) async fn read(
    inner: &Inner,
    log: LogId,
    offsets: Range<u64>,
    bytes_max: usize,
) -> Result<(Bytes, u64), ReadError> {
    if let Some(read) = inner.journal.read_cached(log, offsets.clone(), bytes_max)?
        && read.bytes > 0
    {
        return Ok((join(read.pieces), read.next_offset));
    }
    let journal: Journal = inner.journal.clone();
    let _turn = inner.disk_reads.acquire().await;
    let read = tokio::task::spawn_blocking(move || journal.read(log, offsets, bytes_max)).await;
    let read =
        read.map_err(|error| ReadError::Io { file: log.to_string(), source: std::io::Error::other(error) })??;
    Ok((join(read.pieces), read.next_offset))
}

pub(super) fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
    joined.freeze()
}
