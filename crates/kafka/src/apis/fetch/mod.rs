//! Fetch: records out of partitions, waiting for them where there are none.
//!
//! A client that polls often opens a session ([`session`]), so that neither side repeats what has not changed. The
//! records of the answer are the stored bytes, shared and not copied ([`encode`]); much that is on the disk is read while it is
//! sent ([`stream`]). They are counted against the memory for answers: where that is used up, what was read is dropped again, and less is read anew when there is room
//! ([`memory`]). A connection has one answer with records at a
//! time, after all of its earlier answers are written.

mod encode;
mod memory;
mod rotation;
mod session;
mod stream;

use std::ops::RangeInclusive;
use std::time::Duration;

use annals_broker::api::fetch::{FetchRequest as Query, FetchResult, Fetched};
use annals_broker::api::topics::Isolation;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, FetchRequest};

use crate::errors;
use crate::shape::{INT32, Kind, Shape, array, int8, int32, int64, string, structure, uuid};
use crate::trace;

use super::outcome::first;
use super::values::{NO_ERROR, check_leader_epoch, isolation, millis};
use super::{Answer, Answered, Call, Context, Entry, Serve};

use encode::Head;
use memory::{Reader, read};
pub(crate) use rotation::Rotation;
pub(crate) use session::Sessions;
use session::{Turn, Wanted};

const VERSIONS: RangeInclusive<i16> = 4..=18;

const PARTITION: Kind = Kind::Struct(&[
    int32("Partition"),
    int32("CurrentLeaderEpoch").since(9),
    int64("FetchOffset"),
    int32("LastFetchedEpoch").since(12),
    int64("LogStartOffset").since(5),
    int32("PartitionMaxBytes"),
    uuid("ReplicaDirectoryId").since(17).tagged(0),
    int64("HighWatermark").since(18).tagged(1),
]);
const TOPIC: Kind =
    Kind::Struct(&[string("Topic").until(12), uuid("TopicId").since(13), array("Partitions", &PARTITION)]);
const FORGOTTEN: Kind =
    Kind::Struct(&[string("Topic").until(12), uuid("TopicId").since(13), array("Partitions", &INT32)]);

const SHAPE: Shape = Shape {
    flexible_from: 12,
    fields: &[
        int32("ReplicaId").until(14),
        int32("MaxWaitMs"),
        int32("MinBytes"),
        int32("MaxBytes"),
        int8("IsolationLevel"),
        int32("SessionId").since(7),
        int32("SessionEpoch").since(7),
        array("Topics", &TOPIC),
        array("ForgottenTopicsData", &FORGOTTEN).since(7),
        string("RackId").since(11),
        string("ClusterId").since(12).tagged(0),
        structure("ReplicaState", &[int32("ReplicaId"), int64("ReplicaEpoch")]).since(15).tagged(1),
    ],
};

pub(crate) const ENTRY: Entry =
    Entry::new::<FetchRequest>(ApiKey::Fetch, VERSIONS, SHAPE, Serve::Answer(answer));

/// What was read of one partition, or the error to tell of it.
type Outcome = Result<Fetched, ResponseError>;

fn answer(context: &Context, call: Call) -> Answer<'_> {
    Box::pin(async move {
        let request: FetchRequest = call.decode()?;
        trace::topics(request.topics.len());
        Ok(respond(context, &call.into_answered(), request).await)
    })
}

async fn respond(context: &Context, call: &Call, request: FetchRequest) -> Answered {
    let (version, correlation_id) = (call.version, call.correlation_id);
    let limits = Limits::new(&request, context);
    let isolation = limits.isolation;
    let head = Head { version, correlation_id, error_code: NO_ERROR, session_id: 0, isolation };
    let turn = match context.sessions.begin(&request, version) {
        Ok(turn) => turn,
        Err(error) => {
            let error_code = error.code();
            let rope =
                encode::response(&Head { error_code, ..head }, &[], &Reader::new(context, isolation, false));
            return Answered { rope, error_code };
        }
    };
    let reader = Reader::new(context, isolation, context.rotation.goes_on(&turn.wanted));
    // A client that does not read its answers has no records prepared.
    context.earlier_written().await;
    let (outcomes, share) = read(context, limits, &turn.wanted).await;
    let told = context.sessions.finish(&turn, &outcomes);
    let head = Head { session_id: turn.session_id, ..head };
    let mut rope = encode::response(&head, &select(&turn, &outcomes, &told), &reader);
    if let Some(share) = share {
        rope.hold(share);
    }
    let errors = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    Answered { rope, error_code: first(errors.map(ResponseError::code)) }
}

/// The partitions that the answer tells of.
fn select<'a>(turn: &'a Turn, outcomes: &'a [Outcome], told: &[bool]) -> Vec<(&'a Wanted, &'a Outcome)> {
    let all = turn.wanted.iter().zip(outcomes).zip(told);
    all.filter(|(_, told)| **told).map(|(partition, _)| partition).collect()
}

/// How much to read, and how long to wait for it.
#[derive(Clone, Copy)]
struct Limits {
    max_wait: Duration,
    min_bytes: usize,
    max_bytes: usize,
    isolation: Isolation,
    /// Whether this was read before, and not sent.
    again: bool,
}

impl Limits {
    fn new(request: &FetchRequest, context: &Context) -> Self {
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(context.options.fetch_bytes_max);
        Self {
            max_wait: millis(request.max_wait_ms),
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
            max_bytes,
            isolation: isolation(request.isolation_level),
            again: false,
        }
    }
}

async fn read_once(context: &Context, limits: Limits, wanted: &[Wanted]) -> Vec<Outcome> {
    let refusals: Vec<_> =
        wanted.iter().map(|wanted| check_leader_epoch(wanted.leader_epoch).err()).collect();
    let query = |max_wait| {
        let allowed = wanted.iter().zip(&refusals).filter(|(_, refusal)| refusal.is_none());
        Query {
            max_wait,
            min_bytes: limits.min_bytes,
            max_bytes: limits.max_bytes,
            isolation: limits.isolation,
            stored: !limits.again,
            partitions: allowed.map(|(wanted, _)| wanted.query()).collect(),
        }
    };
    let waits = refusals.iter().all(Option::is_none);
    let result = if limits.again {
        context.broker.fetch_again(&context.caller, query(Duration::ZERO)).await
    } else {
        fetch(context, query, if waits { limits.max_wait } else { Duration::ZERO }).await
    };
    let mut results = result.partitions.into_iter();
    let outcome = |refusal: Option<ResponseError>| match refusal {
        Some(error) => Err(error),
        None => match results.next() {
            Some(result) => result.map_err(|error| errors::fetch(&error)),
            None => Err(ResponseError::UnknownServerError),
        },
    };
    refusals.into_iter().map(outcome).collect()
}

/// Waits for records as asked, but not beyond the end of the server: then it takes what is there.
async fn fetch(context: &Context, query: impl Fn(Duration) -> Query, max_wait: Duration) -> FetchResult {
    let fetching = context.broker.fetch(&context.caller, query(max_wait));
    match context.unless_stopping(fetching).await {
        Some(result) => result,
        None => context.broker.fetch(&context.caller, query(Duration::ZERO)).await,
    }
}
