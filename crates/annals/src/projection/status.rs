//! What a projection says about itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ModelError;
use crate::store::{Position, ReadError};
use crate::{DecodeError, ErrorKind};

/// What a projection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has not begun.
    #[default]
    Starting,
    /// It works through what is there.
    CatchingUp,
    /// It has seen everything and waits for more.
    Live,
    /// The database or the store is away; it tries again.
    Waiting,
    /// Somebody paused it.
    Paused,
    /// It failed at an event, and stays there until somebody resumes it.
    Stopped,
    /// A newer version has taken over.
    Superseded,
    /// Its process has ended it.
    Ended,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::CatchingUp => "catching up",
            Self::Live => "live",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Superseded => "superseded",
            Self::Ended => "ended",
        })
    }
}

/// Where a projection stands and how it does.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// Up to where its read model is complete.
    pub position: Option<Position>,
    /// Whether readers see this version.
    pub serves: bool,
    /// What keeps it from going on.
    pub error: Option<Arc<ProjectionError>>,
    /// How often it was built anew.
    pub generation: u64,
    /// What is being built anew beside it.
    pub rebuild: Option<Rebuild>,
}

/// A read model that is built anew beside the one that is read.
#[derive(Clone, Debug)]
pub struct Rebuild {
    /// Which generation it is.
    pub generation: u64,
    /// What it is doing.
    pub phase: Phase,
    /// Up to where it is complete.
    pub position: Option<Position>,
    /// What keeps it from going on.
    pub error: Option<String>,
}

impl Status {
    /// The error that does not pass by itself.
    pub(super) fn error_for_good(&self) -> Option<Arc<ProjectionError>> {
        self.error.clone().filter(|_| matches!(self.phase, Phase::Stopped | Phase::Superseded))
    }
}

/// Why a projection does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The read model could not follow.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The store did not give the events.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An event cannot be understood.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl ProjectionError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Decode(error) => error.kind(),
        }
    }

    /// The event that could not be applied.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Model(error) => error.position(),
            Self::Decode(error) => Some(error.position()),
            Self::Read(_) => None,
        }
    }

    /// Whether another version than `own` has taken over.
    pub(super) fn is_superseded(&self, own: u32) -> bool {
        matches!(self, Self::Model(ModelError::Superseded { version }) if *version != own)
    }
}

/// Why waiting for a projection has ended without it being there.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WaitError {
    /// It has stopped: with this error, or because somebody stopped it.
    #[error("the projection has stopped{}", .0.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
    Stopped(Option<Arc<ProjectionError>>),
}
