//! Why the storage did not do as asked, in the broker's words.

use annals_journal::AppendError;

/// Why a write was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error("the disk is full")]
    DiskFull,
    #[error("{0}")]
    Stopped(String),
}

impl From<AppendError> for Unavailable {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NoSpace => Self::DiskFull,
            AppendError::Stopped { reason } => Self::Stopped(reason),
            AppendError::TooLarge { .. } => Self::Stopped(error.to_string()),
        }
    }
}
