//! Records on their way to the journal, with what happens when they have arrived or failed.

use std::sync::Arc;

use super::error::{CommitError, DeleteGroupError, DeleteOffsetsError, WriteError};
use super::message::{Response, TopicOffsetsDeleted, Waiter};
use super::state::StaticRejoin;
use crate::offsets::store::CommitKeys;
use crate::offsets::{Record, TopicCommitted};

/// Records that must be durable, all or none, before what depends on them is answered.
///
/// Hand it back to [`complete`](super::GroupCoordinator::complete) when they are, or when they cannot be. The writes
/// of one coordinator must reach the journal, and be completed, in the order in which they were given out.
#[derive(Debug)]
#[must_use = "whoever waits for this write is answered only when it is completed"]
pub struct Write {
    pub(super) records: Vec<Record>,
    pub(super) then: Then,
}

impl Write {
    /// What to append to the `offsets` log, in this order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}

/// What follows when a write is complete.
#[derive(Debug)]
pub(super) enum Then {
    /// Nobody waits.
    Nothing,
    /// The leader's assignment: answer the members that wait for theirs.
    Assign { group_id: Arc<str>, generation: i32 },
    /// A static member came back under a new id: answer its join.
    Rejoin { group_id: Arc<str>, rejoin: Box<StaticRejoin> },
    /// Offsets: answer the commit.
    Commit { group_id: Arc<str>, keys: CommitKeys, waiter: Waiter, outcome: Vec<TopicCommitted> },
    /// The groups are gone: answer the deletion, if somebody asked for it.
    Delete { group_ids: Vec<Arc<str>>, waiter: Option<Waiter> },
    /// Offsets are gone: answer the deletion.
    DeleteOffsets { waiter: Waiter, outcome: Vec<TopicOffsetsDeleted> },
}

pub(super) fn commit_response(outcome: Vec<TopicCommitted>, written: Result<(), WriteError>) -> Response {
    Response::Commit(written.map(|()| outcome).map_err(CommitError::NotStored))
}

pub(super) fn delete_response(written: Result<(), WriteError>) -> Response {
    Response::DeleteGroup(written.map_err(DeleteGroupError::NotStored))
}

pub(super) fn delete_offsets_response(
    outcome: Vec<TopicOffsetsDeleted>,
    written: Result<(), WriteError>,
) -> Response {
    Response::DeleteOffsets(written.map(|()| outcome).map_err(DeleteOffsetsError::NotStored))
}
