//! Why a request has no reply, and why nobody responds.

use std::time::Duration;

use super::failure::Failure;
use super::transport::TransportError;
use super::{BODY_BYTES_MAX, SUBJECT_BYTES_MAX, TEXT_BYTES_MAX};
use crate::ErrorKind;

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// A subject that cannot be.
    #[error("a subject has 1 to {SUBJECT_BYTES_MAX} bytes and does not start with `amq.`: {subject:?}")]
    Subject {
        /// The subject, as far as it is worth showing.
        subject: String,
    },
    /// The body is too large.
    #[error("a body of {bytes} bytes is too large: {BODY_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A content type or the name of a header is too long.
    #[error("content types and names of headers have at most {TEXT_BYTES_MAX} bytes: {text:?}")]
    TooLong {
        /// It, as far as it is worth showing.
        text: String,
    },
    /// No reply before the deadline. The work may have been done, or may be under way; what has not begun will not.
    #[error("no reply from {subject:?} within {} ms", deadline.as_millis())]
    Deadline {
        /// The subject.
        subject: String,
        /// How long the requester wanted to wait.
        deadline: Duration,
    },
    /// There is no queue for the subject: nobody ever responded to it. Nothing was done.
    #[error("nobody responds to {subject:?}: start a responder, or declare the queue")]
    NoResponder {
        /// The subject.
        subject: String,
    },
    /// The queue of the subject is full. Nothing was done.
    #[error("{subject:?} takes no more requests now")]
    Refused {
        /// The subject.
        subject: String,
    },
    /// The responder says why not.
    #[error("{subject:?} failed: {failure}")]
    Failed {
        /// The subject.
        subject: String,
        /// What the responder says.
        failure: Failure,
    },
    /// The queues cannot be reached, so that nothing was asked.
    #[error("the request to {subject:?} was not sent: {reason}")]
    Unavailable {
        /// The subject.
        subject: String,
        /// Why.
        reason: TransportError,
    },
    /// The connection ended before the reply came. The work may have been done.
    #[error("the reply of {subject:?} was lost: {reason}")]
    Interrupted {
        /// The subject.
        subject: String,
        /// Why.
        reason: TransportError,
    },
}

impl RequestError {
    /// What to do about it. Before a retry after [`RequestError::Deadline`] or [`RequestError::Interrupted`] think of work that
    /// was done all the same.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Subject { .. } | Self::TooLarge { .. } | Self::TooLong { .. } => ErrorKind::Input,
            Self::Deadline { .. } | Self::Refused { .. } | Self::Interrupted { .. } => ErrorKind::Retry,
            Self::NoResponder { .. } | Self::Unavailable { .. } => ErrorKind::Unavailable,
            Self::Failed { failure, .. } => failure.kind,
        }
    }
}

/// Why a responder did not start.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RespondError {
    /// A subject that cannot be.
    #[error("a subject has 1 to {SUBJECT_BYTES_MAX} bytes and does not start with `amq.`: {subject:?}")]
    Subject {
        /// The subject, as far as it is worth showing.
        subject: String,
    },
    /// The queue cannot be made or consumed.
    #[error("{subject:?} cannot be served: {reason}")]
    Unavailable {
        /// The subject.
        subject: String,
        /// Why.
        reason: TransportError,
    },
}

impl RespondError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Subject { .. } => ErrorKind::Input,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
        }
    }
}
