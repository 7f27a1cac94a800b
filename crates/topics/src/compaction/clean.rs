//! What becomes of one batch.

use super::OffsetMap;
use super::rewrite::{Survey, rebuild};
use crate::batch::{Batch, BatchError, BatchHeader, BuildError, ExpandLimits, Frame};
use crate::{ErrorKind, Offset, TimestampMs};

/// What a pass goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanRules {
    /// The time of the pass.
    pub now_ms: TimestampMs,
    /// `delete.retention.ms`: how long tombstones stay once what they delete is gone.
    pub delete_retention_ms: i64,
    /// Tombstones stay, and are not dated: before them there is something that could not be cleaned, where what they delete may
    /// still be.
    pub keep_tombstones: bool,
    /// How far compressed records may expand.
    pub expand: ExpandLimits,
}

/// What to do with a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cleaned {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// This takes its place, at the same offsets.
    Replace(Batch),
}

/// Why a batch was not cleaned. Keep it, report it, and go on with the next.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum CleanError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] BatchError),
    /// What is left of it cannot be written.
    #[error(transparent)]
    Unwritable(#[from] BuildError),
}

impl CleanError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreadable(error) => error.kind(),
            Self::Unwritable(error) => error.kind(),
        }
    }
}

/// Cleans one batch of a compacted topic.
///
/// `is_producer_tail` says whether the batch is the last of its producer; see
/// [`crate::partition::Partition::producer_tails`].
///
/// # Errors
/// [`CleanError`].
pub fn clean(
    batch: &Batch,
    map: &OffsetMap,
    rules: &CleanRules,
    is_producer_tail: impl Fn(&BatchHeader) -> bool,
) -> Result<Cleaned, CleanError> {
    let header = &batch.header;
    if header.attributes.is_control() || header.base_offset >= map.complete_to() {
        return Ok(Cleaned::Keep);
    }
    let is_tail = header.has_producer() && is_producer_tail(header);
    if header.record_count == 0 {
        return Ok(if is_tail { Cleaned::Keep } else { Cleaned::Drop });
    }
    let body = batch.expanded_body(&rules.expand)?;
    let is_dated = header.attributes.has_delete_horizon();
    let tombstones_expired = is_dated && header.base_timestamp <= rules.now_ms && !rules.keep_tombstones;
    let survey = Survey::of(header, &body, |offset, frame| {
        offset >= map.complete_to() || survives(offset, frame, map, tombstones_expired)
    })?;
    if survey.kept_count == 0 && is_tail {
        return Ok(Cleaned::Replace(batch.emptied()));
    }
    let horizon = delete_horizon(header, &survey, map, rules);
    replace(batch, &body, &survey, horizon)
}

/// Cleans one batch of a keyed log of our own: `keep` says of each record, by offset, key and whether it has a value,
/// whether it stays.
///
/// # Errors
/// [`CleanError`].
pub fn retain(
    batch: &Batch,
    expand: &ExpandLimits,
    mut keep: impl FnMut(Offset, Option<&[u8]>, bool) -> bool,
) -> Result<Cleaned, CleanError> {
    let body = batch.expanded_body(expand)?;
    let keep = |offset, frame: &Frame<'_>| keep(offset, frame.key, frame.value.is_some());
    let survey = Survey::of(&batch.header, &body, keep)?;
    replace(batch, &body, &survey, None)
}

fn replace(
    batch: &Batch,
    body: &[u8],
    survey: &Survey,
    horizon: Option<TimestampMs>,
) -> Result<Cleaned, CleanError> {
    if survey.kept_count == 0 {
        return Ok(Cleaned::Drop);
    }
    if survey.kept_count == survey.kept.len() && horizon.is_none() {
        return Ok(Cleaned::Keep);
    }
    Ok(Cleaned::Replace(rebuild(batch, body, survey, horizon)?))
}

/// Whether the record is the latest of its key, and no tombstone that has stayed long enough.
fn survives(offset: Offset, frame: &Frame<'_>, map: &OffsetMap, tombstones_expired: bool) -> bool {
    let Some(key) = frame.key else { return false };
    let is_latest = map.latest(key).is_none_or(|latest| offset >= latest);
    is_latest && (frame.value.is_some() || !tombstones_expired)
}

/// The time from which the batch's tombstones may go, if this pass is to set it: it has removed all that they delete.
fn delete_horizon(
    header: &BatchHeader,
    survey: &Survey,
    map: &OffsetMap,
    rules: &CleanRules,
) -> Option<TimestampMs> {
    let covered = header.next_offset() <= map.complete_to();
    let undated = survey.kept_tombstone && !header.attributes.has_delete_horizon();
    (covered && undated && !rules.keep_tombstones)
        .then(|| rules.now_ms.saturating_add(rules.delete_retention_ms))
}
