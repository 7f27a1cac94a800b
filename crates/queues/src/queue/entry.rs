//! The entries of a queue's state log: what was settled, what came back how often, what else has to outlive a restart.
//!
//! An entry is a version, 1, and operations until its end; numbers are LEB128. Settled offsets are ranges, each as the
//! distance from the end of the one before and its length. An entry that begins with operation 6 is a snapshot: it holds
//! all of the state, and what came before does not count any more. Numbers are persisted: never change or reuse one.
//!
//! | operation | then |
//! |---|---|
//! | 1 settled | lane, number of ranges, each distance and length |
//! | 2 returned | lane, offset, how often |
//! | 3 deferred | lane, offset, 1 or 0 |
//! | 4 seen | identity (16 bytes), when it is forgotten, ms (zigzag) |
//! | 5 group | name, optional state (bytes) |
//! | 6 snapshot | nothing |
//! | 7 limited | nothing: there are messages with a time to live of their own |
//! | 8 shares | nothing: there are messages whose bodies lie in a log that queues share |
//! | 9 move | number, optional exchange and key, rate, wanted, moved, when it began (zigzag), state |
//! | 10 moved | number of a move, how many messages it has moved |

use bytes::Bytes;

use super::moves::Movement;
use super::ranges::RangeSet;
use crate::codec::{DecodeError, Reader, Writer};
use crate::{Text, TimestampMs};

const VERSION: u8 = 1;

/// One operation of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Settled { lane: u16, ranges: RangeSet },
    Returned { lane: u16, offset: u64, count: u32 },
    Deferred { lane: u16, offset: u64, is: bool },
    Seen { identity: [u8; 16], until_ms: TimestampMs },
    Group { name: Text, state: Option<Bytes> },
    Snapshot,
    Limited,
    Shares,
    Move(Movement),
    Moved { number: u64, moved: u64 },
}

/// Writes one entry.
#[derive(Debug)]
pub(crate) struct EntryWriter(Writer);

impl EntryWriter {
    pub(crate) fn new() -> Self {
        Self(Writer::start(VERSION))
    }

    pub(crate) fn put(&mut self, operation: &Operation) {
        let out = &mut self.0;
        match operation {
            Operation::Settled { lane, ranges } => {
                out.byte(1).number((*lane).into()).number(ranges.range_count() as u64);
                let mut last = 0;
                for range in ranges.iter() {
                    out.number(range.start - last).number(range.end - range.start);
                    last = range.end;
                }
            }
            Operation::Returned { lane, offset, count } => {
                out.byte(2).number((*lane).into()).number(*offset).number((*count).into());
            }
            Operation::Deferred { lane, offset, is } => {
                out.byte(3).number((*lane).into()).number(*offset).bool(*is);
            }
            Operation::Seen { identity, until_ms } => {
                out.byte(4).raw(identity).signed(*until_ms);
            }
            Operation::Group { name, state } => {
                out.byte(5).text(name).optional(state.as_ref(), |out, state| {
                    out.blob(state);
                });
            }
            Operation::Snapshot => {
                out.byte(6);
            }
            Operation::Limited => {
                out.byte(7);
            }
            Operation::Shares => {
                out.byte(8);
            }
            Operation::Move(movement) => {
                movement.write(out.byte(9));
            }
            Operation::Moved { number, moved } => {
                out.byte(10).number(*number).number(*moved);
            }
        }
    }

    pub(crate) fn finish(mut self) -> Bytes {
        self.0.finish()
    }
}

/// Reads one entry.
pub(crate) fn read(entry: Bytes) -> Result<Vec<Operation>, DecodeError> {
    let mut input = Reader::start(entry, "queue state", VERSION)?;
    let mut operations = Vec::new();
    while !input.is_empty() {
        operations.push(operation(&mut input)?);
    }
    Ok(operations)
}

fn operation(input: &mut Reader) -> Result<Operation, DecodeError> {
    const WHAT: &str = "queue state";
    Ok(match input.byte(WHAT)? {
        1 => Operation::Settled { lane: input.narrow(WHAT)?, ranges: ranges(input)? },
        2 => Operation::Returned {
            lane: input.narrow(WHAT)?,
            offset: input.number(WHAT)?,
            count: input.narrow(WHAT)?,
        },
        3 => Operation::Deferred {
            lane: input.narrow(WHAT)?,
            offset: input.number(WHAT)?,
            is: input.bool(WHAT)?,
        },
        4 => {
            let identity = input.raw(16, WHAT)?;
            let identity = *identity.first_chunk().ok_or(DecodeError::Malformed { what: WHAT })?;
            Operation::Seen { identity, until_ms: input.signed(WHAT)? }
        }
        5 => Operation::Group {
            name: input.text(WHAT)?,
            state: input.optional(WHAT, |input| input.blob(WHAT))?,
        },
        6 => Operation::Snapshot,
        7 => Operation::Limited,
        8 => Operation::Shares,
        9 => Operation::Move(Movement::read(input)?),
        10 => Operation::Moved { number: input.number(WHAT)?, moved: input.number(WHAT)? },
        _ => return Err(DecodeError::Malformed { what: WHAT }),
    })
}

fn ranges(input: &mut Reader) -> Result<RangeSet, DecodeError> {
    const WHAT: &str = "settled ranges";
    let bad = DecodeError::Malformed { what: WHAT };
    let mut ranges = RangeSet::default();
    let mut last: u64 = 0;
    for _ in 0..input.count(WHAT, 2)? {
        let start = last.checked_add(input.number(WHAT)?).ok_or_else(|| bad.clone())?;
        last = start.checked_add(input.number(WHAT)?).ok_or_else(|| bad.clone())?;
        ranges.insert(start..last);
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::super::MoveState;
    use super::*;

    fn movement(state: MoveState) -> Movement {
        let target = Some(("x".into(), "k".into()));
        Movement { number: 3, target, rate: 50, wanted: 300, moved: 7, started_ms: -1, state }
    }

    #[test]
    fn operations_come_back_as_they_were() {
        let mut settled = RangeSet::default();
        for range in [3..9, 20..21, 1_000_000..2_000_000] {
            settled.insert(range);
        }
        let operations = [
            Operation::Snapshot,
            Operation::Settled { lane: 256, ranges: settled },
            Operation::Returned { lane: 0, offset: 7, count: 3 },
            Operation::Deferred { lane: 1, offset: 8, is: true },
            Operation::Seen { identity: [7; 16], until_ms: -4 },
            Operation::Group { name: "g".into(), state: Some(Bytes::from_static(b"s")) },
            Operation::Group { name: "h".into(), state: None },
            Operation::Limited,
            Operation::Shares,
            Operation::Move(movement(MoveState::Running)),
            Operation::Move(movement(MoveState::Unroutable { exchange: "x".into(), routing_key: "".into() })),
            Operation::Moved { number: 3, moved: 1 << 40 },
        ];
        let mut writer = EntryWriter::new();
        operations.iter().for_each(|operation| writer.put(operation));
        let entry = writer.finish();
        assert_eq!(read(entry.clone()).unwrap(), operations);
        for end in 0..entry.len() {
            if let Ok(fewer) = read(entry.slice(..end)) {
                assert!(operations.starts_with(&fewer), "cut at {end}");
            }
        }
    }

    #[test]
    fn a_million_in_order_take_a_few_bytes() {
        let mut ranges = RangeSet::default();
        ranges.insert(5_000_000..6_000_000);
        let mut writer = EntryWriter::new();
        writer.put(&Operation::Settled { lane: 0, ranges });
        let entry = writer.finish();
        assert!(entry.len() <= 12, "{} bytes", entry.len());
    }
}
