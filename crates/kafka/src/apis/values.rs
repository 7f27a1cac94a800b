//! Values between the wire and the broker: names, ids, times, epochs.

use std::sync::Arc;
use std::time::Duration;

use annals_broker::api::topics::{Isolation, TopicRef};
use annals_clock::Uuid;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::Context;

/// The error code for success.
pub(crate) const NO_ERROR: i16 = 0;

/// The epoch of every partition's leader: there is one node, and it never changes.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// This server's node, as clients see it.
pub(crate) fn node(context: &Context) -> BrokerId {
    BrokerId(context.options.node_id)
}

/// A text for the wire.
pub(crate) fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A text from the wire, to be shared.
pub(crate) fn shared(text: &str) -> Arc<str> {
    text.into()
}

/// A topic by its id where it has one, else by its name: which of them a request carries depends on its version.
pub(crate) fn topic_ref(name: &TopicName, id: Uuid) -> TopicRef {
    if id.is_nil() { TopicRef::Name(shared(name)) } else { TopicRef::Id(id) }
}

/// A number of milliseconds; negative ones mean none.
pub(crate) fn millis(milliseconds: i32) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

/// An error's text for the wire.
pub(crate) fn message(error: &impl ToString) -> Option<StrBytes> {
    Some(StrBytes::from_string(error.to_string()))
}

/// 1 is read committed; anything else reads all.
pub(crate) fn isolation(level: i8) -> Isolation {
    if level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted }
}

/// Checks the leader epoch that a client knows; -1 is for clients that do not know any (KIP-320).
pub(crate) fn check_leader_epoch(epoch: i32) -> Result<(), ResponseError> {
    if epoch > LEADER_EPOCH { Err(ResponseError::UnknownLeaderEpoch) } else { Ok(()) }
}

/// The error code of a result.
pub(crate) fn code<T, E>(result: &Result<T, E>, error_code: impl Fn(&E) -> ResponseError) -> i16 {
    result.as_ref().map_or_else(|error| error_code(error).code(), |_| NO_ERROR)
}
