//! The log of a store, as events.

use annals_eventstore::Position;
use annals_eventstore::record::{RecordedEvent, Records};
use annals_journal::{EntryRead, Journal, LogId, ReadError};
use annals_topics::batch::Batch;

/// Bytes of the log that are read at once.
pub(in crate::eventstore) const READ_BYTES: usize = 1 << 20;
/// Positions that lie so close are read together.
const NEAR: u64 = 16;
/// Bytes that are read at once where positions lie close: little enough to come from the page cache, with what lies between.
const NEAR_BYTES: usize = 32 << 10;

/// Reads a store's log.
pub(in crate::eventstore) struct LogReader<'a> {
    journal: &'a Journal,
    log: LogId,
    /// Passes over what is damaged instead of stopping there.
    around_damage: bool,
}

/// A stretch of a log.
pub(in crate::eventstore) struct Stretch {
    /// The events that are there.
    pub(in crate::eventstore) events: Vec<RecordedEvent>,
    /// Where it ends: the position to go on from.
    pub(in crate::eventstore) next: u64,
}

impl<'a> LogReader<'a> {
    pub(in crate::eventstore) fn new(journal: &'a Journal, log: LogId) -> Self {
        Self { journal, log, around_damage: false }
    }

    pub(in crate::eventstore) fn around_damage(self) -> Self {
        Self { around_damage: true, ..self }
    }

    /// The first position that the log may hold.
    pub(in crate::eventstore) fn start(&self) -> u64 {
        self.journal.log(self.log).map_or(0, |facts| facts.offsets.start)
    }

    /// The events from position `from` up to `end`, about `bytes` of them, at least one batch.
    pub(in crate::eventstore) fn read(
        &self,
        from: u64,
        end: u64,
        bytes: usize,
    ) -> Result<Stretch, ReadError> {
        let entries = match self.journal.entries(self.log, from, bytes) {
            Err(ReadError::Damaged(damage)) if self.around_damage => {
                tracing::error!(%damage, "events of a store are lost");
                let next = damage.offsets.as_ref().map_or(from + 1, |lost| lost.end.max(from + 1));
                return Ok(Stretch { events: Vec::new(), next: next.min(end) });
            }
            entries => entries?,
        };
        let mut stretch = Stretch { events: Vec::new(), next: end };
        for entry in &entries {
            if entry.header.base_offset >= end {
                return Ok(Stretch { next: end, ..stretch });
            }
            let events = events_of(entry)?.into_iter();
            stretch.events.extend(events.filter(|event| (from..end).contains(&event.position().0)));
            stretch.next = entry.header.end_offset().min(end);
        }
        Ok(stretch)
    }

    /// The events at these positions, which rise or fall. `take` is given each, and says `false` when it has enough. What
    /// was scavenged is not there.
    pub(in crate::eventstore) fn pick(
        &self,
        positions: &[u64],
        mut take: impl FnMut(RecordedEvent) -> bool,
    ) -> Result<(), ReadError> {
        let mut near: Option<Stretch> = None;
        let mut near_from = 0;
        for (index, &position) in positions.iter().enumerate() {
            let is_read = near.as_ref().is_some_and(|stretch| (near_from..stretch.next).contains(&position));
            if !is_read {
                let (from, bytes) = match positions.get(index + 1) {
                    Some(next) if next.abs_diff(position) <= NEAR => {
                        let from = if *next > position { position } else { next.saturating_sub(NEAR) };
                        (from, NEAR_BYTES)
                    }
                    _ => (position, 1),
                };
                let from = if bytes > 1 { from.max(self.start()) } else { from };
                let mut stretch = self.read(from, u64::MAX, bytes)?;
                if !(from..stretch.next).contains(&position) {
                    stretch = self.read(position, u64::MAX, 1)?;
                    near_from = position;
                } else {
                    near_from = from;
                }
                near = Some(stretch);
            }
            let events = near.as_ref().map_or(&[][..], |stretch| &stretch.events);
            let at = events.binary_search_by_key(&Position(position), RecordedEvent::position);
            if let Ok(at) = at
                && !take(events[at].clone())
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The events of one batch.
fn events_of(entry: &EntryRead) -> Result<Vec<RecordedEvent>, ReadError> {
    let damaged = |what: String| {
        ReadError::Damaged(annals_journal::Damage {
            file: entry.header.log.to_string(),
            bytes: 0..0,
            log: Some(entry.header.log),
            offsets: Some(entry.header.base_offset..entry.header.end_offset()),
            what,
            data_lost: true,
        })
    };
    let batch = Batch::parse(entry.payload.clone()).map_err(|error| damaged(error.to_string()))?;
    let (base, time) = (Position(batch.header.base_offset.cast_unsigned()), batch.header.base_timestamp);
    let count = batch.header.record_count.cast_unsigned();
    let records = Records::new(batch.body, base, time, count);
    records.collect::<Result<_, _>>().map_err(|error| damaged(error.to_string()))
}
