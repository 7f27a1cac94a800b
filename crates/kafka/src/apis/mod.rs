//! The APIs that are served: one file each, and the table of them all.
//!
//! A request is looked up in [`APIS`], its bytes are checked against the API's [`Shape`], and only then is it decoded.
//! Most APIs are an [`Api`]: decoded request in, response out. Two are not: Produce is answered when its records
//! are durable, while later requests go on; Fetch sends stored bytes without copying them.

mod admin;
pub(crate) mod api_versions;
pub(crate) mod fetch;
mod groups;
mod init_producer_id;
mod list_offsets;
mod metadata;
pub(crate) mod names;
mod operations;
mod outcome;
pub(crate) mod produce;
mod values;

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;

use annals_broker::api::Caller;
use annals_broker::{Broker, ProtocolMetrics};
use annals_clock::Clock;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};
use tokio::sync::{Semaphore, watch};

use crate::close::Close;
use crate::memory::Memory;
use crate::rope::Rope;
use crate::server::turns;
use crate::shape::{self, Shape};
use crate::{Address, Options};

use fetch::{Rotation, Sessions};
use outcome::Outcome;

/// What an API knows beside its request.
pub(crate) struct Context {
    pub(crate) broker: Broker,
    pub(crate) clock: Clock,
    /// Who asks; its client id is the one of the present request.
    pub(crate) caller: Caller,
    pub(crate) options: Arc<Options>,
    /// The address that clients reach this server under.
    pub(crate) advertised: Address,
    pub(crate) sessions: Arc<Sessions>,
    /// The order in which this connection asks for partitions.
    pub(crate) rotation: Rotation,
    /// Memory for records that are being sent.
    pub(crate) answer_memory: Memory,
    /// One for each request of this connection that may wait for its answer to be written; taken while it does.
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) metrics: ProtocolMetrics,
    /// Whether the server is ending.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Context {
    /// Waits until all earlier requests of this connection are answered and the answers written.
    pub(crate) async fn earlier_written(&self) {
        let all = u32::try_from(turns(&self.options)).unwrap_or(u32::MAX);
        // Requests are begun one after another: nobody else takes any meanwhile.
        drop(self.turns.acquire_many(all).await);
    }

    /// Waits for `answer`, but not beyond the end of the server: `None` if that comes first.
    pub(crate) async fn unless_stopping<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            // Without its sender, the server has ended.
            _ = stopping.wait_for(|&stopping| stopping) => None,
        }
    }
}

/// One API that is answered from its decoded request alone, one request after another.
pub(crate) trait Api {
    /// Its number in the protocol.
    const KEY: ApiKey;
    /// The versions that are served.
    const VERSIONS: RangeInclusive<i16>;
    /// The fields of its request, to be checked before it is decoded.
    const SHAPE: Shape;
    /// What is asked.
    type Request: Message;
    /// What is answered.
    type Response: Encodable + HeaderVersion + Outcome + Send;

    /// Decodes a body that fits the shape. An API with a version that the codec does not know does that one itself.
    ///
    /// # Errors
    /// What is wrong, for people.
    fn decode(body: Bytes, version: i16) -> Result<Self::Request, String> {
        decode(body, version)
    }

    /// Encodes a request as a client does, for tests.
    #[cfg(test)]
    fn encode(request: &Self::Request, version: i16) -> Result<Bytes, String> {
        tests::encode(request, version)
    }

    /// Answers. `version` is one of [`Api::VERSIONS`]; errors are answers too.
    fn handle(
        context: &Context,
        version: i16,
        request: Self::Request,
    ) -> impl Future<Output = Self::Response> + Send;
}

/// A request as the decoder gives it. In tests it can be encoded too, so that tests can be clients.
#[cfg(not(test))]
pub(crate) trait Message: Decodable + Send {}
#[cfg(not(test))]
impl<T: Decodable + Send> Message for T {}
#[cfg(test)]
pub(crate) trait Message: Decodable + Encodable + Default + Send {}
#[cfg(test)]
impl<T: Decodable + Encodable + Default + Send> Message for T {}

/// One request, its body checked against its API's shape.
pub(crate) struct Call {
    pub(crate) api: &'static Entry,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) body: Bytes,
}

/// The answer to a request.
pub(crate) struct Answered {
    /// Its bytes, frame length included.
    pub(crate) rope: Rope,
    /// The error that the request counts as; 0 for none.
    pub(crate) error_code: i16,
}

/// An answer on its way.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Answered, Close>> + Send + 'a>>;

/// One row of the table of APIs.
pub(crate) struct Entry {
    pub(crate) key: ApiKey,
    pub(crate) name: &'static str,
    /// The first and the last version that are announced.
    pub(crate) versions: (i16, i16),
    /// The first version that is served. It differs from the first that is announced for Produce alone.
    pub(crate) served_from: i16,
    pub(crate) shape: Shape,
    pub(crate) serve: Serve,
    /// Whether a checked body can be decoded; for tests and fuzzing.
    pub(crate) decodes: fn(&Call) -> Result<(), Close>,
    #[cfg(test)]
    client: tests::Client,
}

/// How an API is served.
pub(crate) enum Serve {
    /// By its [`Api::handle`], or by something alike.
    Answer(for<'a> fn(&'a Context, Call) -> Answer<'a>),
    /// In two phases.
    Produce,
}

/// All APIs, by key.
pub(crate) static APIS: &[Entry] = &[
    produce::ENTRY,
    fetch::ENTRY,
    Entry::of::<list_offsets::ListOffsets>(),
    Entry::of::<metadata::Metadata>(),
    Entry::of::<groups::offset_commit::OffsetCommit>(),
    Entry::of::<groups::offset_fetch::OffsetFetch>(),
    Entry::of::<groups::find_coordinator::FindCoordinator>(),
    Entry::of::<groups::join_group::JoinGroup>(),
    Entry::of::<groups::heartbeat::Heartbeat>(),
    Entry::of::<groups::leave_group::LeaveGroup>(),
    Entry::of::<groups::sync_group::SyncGroup>(),
    Entry::of::<groups::describe_groups::DescribeGroups>(),
    Entry::of::<groups::list_groups::ListGroups>(),
    Entry::of::<api_versions::ApiVersions>(),
    Entry::of::<admin::create_topics::CreateTopics>(),
    Entry::of::<admin::delete_topics::DeleteTopics>(),
    Entry::of::<admin::delete_records::DeleteRecords>(),
    Entry::of::<init_producer_id::InitProducerId>(),
    Entry::of::<admin::offset_for_leader_epoch::OffsetForLeaderEpoch>(),
    Entry::of::<admin::describe_configs::DescribeConfigs>(),
    Entry::of::<admin::alter_configs::AlterConfigs>(),
    Entry::of::<admin::alter_replica_log_dirs::AlterReplicaLogDirs>(),
    Entry::of::<admin::describe_log_dirs::DescribeLogDirs>(),
    Entry::of::<admin::create_partitions::CreatePartitions>(),
    Entry::of::<groups::delete_groups::DeleteGroups>(),
    Entry::of::<admin::elect_leaders::ElectLeaders>(),
    Entry::of::<admin::incremental_alter_configs::IncrementalAlterConfigs>(),
    Entry::of::<admin::alter_partition_reassignments::AlterPartitionReassignments>(),
    Entry::of::<admin::list_partition_reassignments::ListPartitionReassignments>(),
    Entry::of::<groups::offset_delete::OffsetDelete>(),
    Entry::of::<admin::describe_quorum::DescribeQuorum>(),
    Entry::of::<admin::describe_cluster::DescribeCluster>(),
    Entry::of::<admin::describe_producers::DescribeProducers>(),
    Entry::of::<admin::list_config_resources::ListConfigResources>(),
    Entry::of::<admin::describe_topic_partitions::DescribeTopicPartitions>(),
];

/// The API with this key.
pub(crate) fn find(key: i16) -> Option<&'static Entry> {
    APIS.iter().find(|api| api.key as i16 == key)
}

impl Entry {
    pub(crate) const fn of<A: Api>() -> Self {
        let mut entry = Self::new::<A::Request>(A::KEY, A::VERSIONS, A::SHAPE, Serve::Answer(answer::<A>));
        entry.decodes = decodes_by::<A>;
        #[cfg(test)]
        {
            entry.client = tests::Client::of_api::<A>();
        }
        entry
    }

    pub(crate) const fn new<T: Message>(
        key: ApiKey,
        versions: RangeInclusive<i16>,
        shape: Shape,
        serve: Serve,
    ) -> Self {
        let (first, last) = (*versions.start(), *versions.end());
        Self {
            key,
            name: names::name(key),
            versions: (first, last),
            served_from: first,
            shape,
            serve,
            decodes: decodes::<T>,
            #[cfg(test)]
            client: tests::Client::of::<T>(),
        }
    }

    /// Announces versions that are not served, down to this one.
    pub(crate) const fn announced_from(mut self, version: i16) -> Self {
        self.versions.0 = version;
        self
    }

    pub(crate) fn serves(&self, version: i16) -> bool {
        (self.served_from..=self.versions.1).contains(&version)
    }

    pub(crate) fn is_flexible(&self, version: i16) -> bool {
        version >= self.shape.flexible_from
    }
}

impl Call {
    /// Decodes the body.
    pub(crate) fn decode<T: Decodable>(&self) -> Result<T, Close> {
        decode(self.body.clone(), self.version).map_err(|reason| self.undecodable(reason))
    }

    /// Decodes the body as this API does.
    fn decode_by<A: Api>(&self) -> Result<A::Request, Close> {
        A::decode(self.body.clone(), self.version).map_err(|reason| self.undecodable(reason))
    }

    fn undecodable(&self, reason: String) -> Close {
        Close::Undecodable { api: self.api.key, version: self.version, reason }
    }

    /// Lets the request's bytes go: what remains is enough to answer.
    pub(crate) fn into_answered(self) -> Self {
        Self { body: Bytes::new(), ..self }
    }

    /// Encodes a response with its frame length and header.
    pub(crate) fn encode<T: Encodable + HeaderVersion + Outcome>(
        &self,
        response: &T,
    ) -> Result<Answered, Close> {
        let rope = encode(self.api.key, self.version, self.correlation_id, response)?;
        Ok(Answered { rope, error_code: response.error_code() })
    }

    /// Checks the body against the API's shape; returns about how much memory the decoded request takes.
    pub(crate) fn check(&self) -> Result<usize, Close> {
        let malformed = |source| Close::Malformed { api: self.api.key, version: self.version, source };
        let walked = shape::check(&self.api.shape, self.version, &self.body).map_err(malformed)?;
        Ok(walked.decoded)
    }
}

fn decode<T: Decodable>(mut body: Bytes, version: i16) -> Result<T, String> {
    T::decode(&mut body, version).map_err(|error| error.to_string())
}

fn decodes<T: Decodable>(call: &Call) -> Result<(), Close> {
    call.decode::<T>().map(drop)
}

fn decodes_by<A: Api>(call: &Call) -> Result<(), Close> {
    call.decode_by::<A>().map(drop)
}

fn answer<A: Api>(context: &Context, call: Call) -> Answer<'_> {
    Box::pin(async move {
        let request = call.decode_by::<A>()?;
        let response = A::handle(context, call.version, request).await;
        call.encode(&response)
    })
}

/// Room for a small response.
const RESPONSE_BYTES: usize = 256;

pub(crate) fn encode<T: Encodable + HeaderVersion>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &T,
) -> Result<Rope, Close> {
    let mut frame = BytesMut::with_capacity(RESPONSE_BYTES);
    put_head(&mut frame, correlation_id, T::header_version(version) > 0);
    let encoded = response.encode(&mut frame, version);
    encoded.map_err(|error| Close::Unencodable { api, version, reason: error.to_string() })?;
    let size = frame.len() - size_of::<i32>();
    patch_size(&mut frame, size);
    Ok(frame.freeze().into())
}

/// Puts a place for the frame's size and the response header.
pub(crate) fn put_head(frame: &mut BytesMut, correlation_id: i32, flexible: bool) {
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    if flexible {
        frame.put_u8(0);
    }
}

/// Writes the frame's size into the place that [`put_head`] left.
pub(crate) fn patch_size(frame: &mut [u8], size: usize) {
    // No response comes near two gigabytes: those of Fetch are limited, the others list what is in memory.
    let size = i32::try_from(size).unwrap_or(i32::MAX);
    frame[..size_of::<i32>()].copy_from_slice(&size.to_be_bytes());
}

#[cfg(test)]
mod tests;
