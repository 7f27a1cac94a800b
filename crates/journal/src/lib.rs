//! The one log.
//!
//! Problem: topics, queues, event stores and processors each need a durable, ordered log, and an operation that spans
//! several of them must be there whole after a crash or not at all. A file for each log would cost a sync for each;
//! so all share one journal, one writer and one `fdatasync` for everything that waits.
//!
//! - A *log* is an ordered sequence of entries with offsets, named by a [`LogId`]. 100,000 logs are cheap.
//! - A *group* ([`Group`]) holds entries for any number of logs and is atomic.
//! - The [`Machine`] is the owner of the state that the logs describe. It sees each entry once it is durable, in order;
//!   after a restart it reads the logs and applies the same entries the same way.
//!
//! Invariants, each tested with injected faults:
//! 1. What was acknowledged with [`Durability::Sync`] is there after any crash.
//! 2. A group is there whole or not at all.
//! 3. Damage is reported with its place and never truncated; everything undamaged stays readable.
//! 4. After a failed sync nothing is acknowledged any more.
//!
//! The bytes on disk are described in `docs/format.md`.
//!
//! ```
//! use std::sync::Arc;
//! use annals_clock::Clock;
//! use annals_journal::{DiskFiles, Group, Idle, Journal, LogId, Options, Payload, Purpose};
//!
//! # let directory = tempfile::tempdir()?;
//! let files = Arc::new(DiskFiles::open(directory.path())?);
//! let opened = Journal::open(Options::default(), files, Clock::system(), Arc::new(Idle))?;
//! let journal = opened.start(Arc::new(Idle))?;
//!
//! let mut group = Group::new();
//! group.push(LogId(1), 0, 1, 1_700_000_000_000, Payload::new("order placed".into()));
//! group.push(LogId(2), 0, 1, 1_700_000_000_000, Payload::new("payment requested".into()));
//! let permit = futures(journal.admit(group.stored_len(), Purpose::Data))?;
//! journal.submit(permit, group).wait()?;
//!
//! assert_eq!(journal.read(LogId(2), 0..u64::MAX, 1024)?.pieces.concat(), b"payment requested");
//! journal.close();
//! # fn futures<T>(f: impl Future<Output = T>) -> T {
//! #     tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(f)
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod durable;
mod entry;
mod error;
mod files;
mod frame;
mod id;
mod index;
mod journal;
mod machine;
mod options;
mod piece;
mod read;
mod recover;
mod segment;
mod shared;
mod space;
mod upkeep;
mod verify;
mod writer;

pub use entry::{Durability, Entry, EntryHeader, EntryKind, Group, HEAD_LEN_MAX, Payload};
pub use error::{AppendError, Damage, ErrorKind, NotRewritten, OpenError, ReadError};
pub use files::disk::DiskFiles;
#[cfg(feature = "testing")]
pub use files::fault::FaultFiles;
pub use files::lock::DataLock;
pub use files::{File, Files, OpenMode, write_atomically};
pub use id::{LogId, Sequence};
pub use journal::{CLOSED, Disk, FORMAT, Journal, Opened, Permit, Ticket};
pub use machine::{Idle, Keep, Machine, Observer, Replay};
pub use options::{GROUP_BYTES_MAX, Options};
pub use read::{EntryRead, ExtentFacts, Limit, LogFacts, Read, ReadPlan};
pub use recover::Cut;
pub use space::Purpose;
pub use verify::{LogReport, Notice, Report, SegmentReport, verify};
