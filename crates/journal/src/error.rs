//! What can go wrong, one type an operation.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::id::LogId;

/// What a caller can do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// Try again later: the cause may pass by itself.
    Retry,
    /// The input is wrong.
    Input,
    /// Somebody else owns the thing.
    Fenced,
    /// Nothing will work until an operator acts.
    Unavailable,
    /// Data on disk is damaged.
    Corrupt,
    /// A mistake in this program.
    Bug,
}

/// A segment that a rewrite left as it is, with everything that it holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment} cannot be rewritten: {reason}")]
pub struct NotRewritten {
    /// The file.
    pub segment: String,
    /// The offsets of the log's entries in it.
    pub offsets: Range<u64>,
    /// Why.
    pub reason: String,
    /// It is damaged, so trying again does not help.
    pub is_damaged: bool,
}

impl NotRewritten {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        if self.is_damaged { ErrorKind::Corrupt } else { ErrorKind::Retry }
    }
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("data directory {} is in use by another process{}; stop it, or choose another directory", directory.display(), holder.as_deref().map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process that holds it, if it said so.
        holder: Option<String>,
    },
    /// The directory was written by a newer program.
    #[error(
        "the file FORMAT says {found:?}, this program understands up to \"annals-journal {supported}\"; use a newer \
         program, or write that into the file if it is damaged"
    )]
    Format {
        /// What the directory says.
        found: String,
        /// The newest format that this program reads.
        supported: u32,
    },
    /// A file could not be read or written.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse { .. } => ErrorKind::Fenced,
            Self::Format { .. } => ErrorKind::Input,
            Self::Io { .. } => ErrorKind::Unavailable,
        }
    }
}

/// Why an append was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk is full. Nothing was written; appends work again by themselves when space is back.
    #[error("the disk is full; free some space, or let retention do it: appends resume by themselves")]
    NoSpace,
    /// The journal stopped accepting appends.
    #[error("the journal stopped: {reason}")]
    Stopped {
        /// What happened.
        reason: String,
    },
    /// The group is larger than a segment can be.
    #[error("a group of {bytes} bytes is larger than {max}; split it")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that is taken.
        max: usize,
    },
}

impl AppendError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSpace => ErrorKind::Retry,
            Self::Stopped { .. } => ErrorKind::Unavailable,
            Self::TooLarge { .. } => ErrorKind::Input,
        }
    }
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is below the first or above the last.
    #[error("offset {offset} of {log} is outside {}..{}", available.start, available.end)]
    OutOfRange {
        /// The log.
        log: LogId,
        /// What was asked for.
        offset: u64,
        /// What there is; the end is the next offset to be written and may be asked for.
        available: Range<u64>,
    },
    /// The bytes on disk are not what was written.
    #[error("{0}")]
    Damaged(Damage),
    /// The disk failed.
    #[error("cannot read {file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
}

impl ReadError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OutOfRange { .. } => ErrorKind::Input,
            Self::Damaged(_) => ErrorKind::Corrupt,
            Self::Io { .. } => ErrorKind::Unavailable,
        }
    }
}

/// One damaged place, as exactly as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// From which byte to which.
    pub bytes: Range<u64>,
    /// The log it belongs to, if that can still be told.
    pub log: Option<LogId>,
    /// The offsets that are lost.
    pub offsets: Option<Range<u64>>,
    /// What is wrong.
    pub what: String,
    /// Whether records are lost, or only something that can be derived again.
    pub data_lost: bool,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {} at bytes {}..{}", self.what, self.file, self.bytes.start, self.bytes.end)?;
        if let Some(log) = self.log {
            write!(f, ", {log}")?;
        }
        if let Some(offsets) = &self.offsets {
            write!(f, ", offsets {}..{}", offsets.start, offsets.end)?;
        }
        Ok(())
    }
}
