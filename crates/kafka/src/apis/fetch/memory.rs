//! Reading with a share of the memory for answers, and reading once more what was given back.
//!
//! What is in the journal's memory, and little things on the disk, are read at once; what is left there is read while the answer
//! is sent (the `stream` module).
//!
//! How many bytes there are to be read at once is known only when they are read. So a fetch reads first, then takes memory for what it
//! found; if there is too little, it drops what it has, waits for the memory, and reads again. While memory is short, an
//! answer is limited to a slice, or to one batch if that is larger: many clients that are served a little each rather
//! than few that are served much.

use std::sync::Arc;
use std::time::Duration;

use annals_broker::api::Caller;
use annals_broker::api::fetch::{FetchPartition, FetchRequest, FetchResult, Fetched};
use annals_broker::api::topics::{Isolation, TopicRef};
use annals_broker::{Broker, StoredRecords};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::close::Close;
use crate::memory::{Memory, Share};
use crate::records::{SLICE_BYTES, Source};

use super::session::Wanted;
use super::stream::Stream;
use super::{Context, Limits, Outcome, read_once};

/// Reads, with memory where records were found.
pub(super) async fn read(
    context: &Context,
    limits: Limits,
    wanted: &[Wanted],
) -> (Vec<Outcome>, Option<Share>) {
    let memory = &context.answer_memory;
    let limits = if memory.has(limits.max_bytes) { limits } else { limits.of_a_slice() };
    let outcomes = read_once(context, limits, wanted).await;
    let bytes = bytes_of(&outcomes);
    if bytes == 0 {
        return (outcomes, None);
    }
    if let Some(share) = memory.try_take(bytes) {
        return (outcomes, Some(share));
    }
    drop(outcomes);
    let limits = Limits { max_wait: Duration::ZERO, again: true, ..limits.of_a_slice() };
    let once = |max_bytes| read_once(context, Limits { max_bytes, ..limits }, wanted);
    let (outcomes, share) =
        read_counted(memory, limits.max_bytes.min(bytes), once, |read| bytes_of(read)).await;
    (outcomes, Some(share))
}

impl Limits {
    fn of_a_slice(self) -> Self {
        let max_bytes = self.max_bytes.min(SLICE_BYTES);
        Self { max_bytes, min_bytes: self.min_bytes.min(max_bytes), ..self }
    }
}

/// Takes memory and reads within it; once more with more memory if one batch alone is larger.
async fn read_counted<T, F: Future<Output = T>>(
    memory: &Memory,
    mut bytes: usize,
    read: impl Fn(usize) -> F,
    bytes_of: impl Fn(&T) -> usize,
) -> (T, Share) {
    loop {
        let mut share = memory.take(bytes).await;
        let found = read(bytes).await;
        let bytes_found = bytes_of(&found);
        if bytes_found <= bytes {
            share.shrink(bytes_found);
            return (found, share);
        }
        bytes = bytes_found;
    }
}

fn bytes_of(outcomes: &[Outcome]) -> usize {
    outcomes.iter().flatten().map(|fetched| length_of(&fetched.records)).sum()
}

fn length_of(chunks: &[Bytes]) -> usize {
    chunks.iter().map(Bytes::len).sum()
}

/// Reads again, for one answer.
#[derive(Clone)]
pub(super) struct Reader {
    broker: Broker,
    caller: Caller,
    memory: Memory,
    isolation: Isolation,
    stream: Arc<Stream>,
}

impl Reader {
    /// For an answer after which the next request `goes_on` with what follows, in the same order but for the first partition.
    pub(super) fn new(context: &Context, isolation: Isolation, goes_on: bool) -> Self {
        let (broker, caller) = (context.broker.clone(), context.caller.clone());
        let memory = context.answer_memory.clone();
        let stream = Stream::new(&memory, goes_on);
        Self { broker, caller, memory, isolation, stream }
    }

    fn again(&self, wanted: &Wanted) -> PartitionReader {
        let (topic, partition) = (wanted.topic.clone(), wanted.partition);
        PartitionReader { reader: self.clone(), topic, partition }
    }
}

/// Makes the sources of the records of an answer.
pub(super) trait Sources {
    /// For records that were read.
    fn source(&self, wanted: &Wanted) -> Arc<dyn Source>;
    /// For those that were left on the disk.
    fn stored(&self, wanted: &Wanted, stored: &StoredRecords) -> Arc<dyn Source>;
}

impl Sources for Reader {
    fn source(&self, wanted: &Wanted) -> Arc<dyn Source> {
        Arc::new(self.again(wanted))
    }

    fn stored(&self, wanted: &Wanted, stored: &StoredRecords) -> Arc<dyn Source> {
        self.stream.add(stored, self.again(wanted))
    }
}

/// Reads one partition of an answer again.
struct PartitionReader {
    reader: Reader,
    topic: TopicRef,
    partition: i32,
}

impl std::fmt::Debug for PartitionReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartitionReader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Source for PartitionReader {
    fn read(&self, offset: i64, bytes_max: usize) -> BoxFuture<'_, Result<(Vec<Bytes>, Share), Close>> {
        let once = move |max_bytes| self.read_once(offset, max_bytes);
        read_counted(&self.reader.memory, bytes_max, once, |read| length_of(read)).map(Ok).boxed()
    }
}

impl PartitionReader {
    /// Nothing, if the records are gone.
    async fn read_once(&self, offset: i64, max_bytes: usize) -> Vec<Bytes> {
        let Reader { broker, caller, isolation, .. } = &self.reader;
        let (topic, partition) = (self.topic.clone(), self.partition);
        let request = FetchRequest {
            max_wait: Duration::ZERO,
            min_bytes: 0,
            max_bytes,
            isolation: *isolation,
            stored: false,
            partitions: vec![FetchPartition { topic, partition, offset, max_bytes }],
        };
        let FetchResult { partitions } = broker.fetch_again(caller, request).await;
        let fetched = partitions.into_iter().next().and_then(Result::ok);
        fetched.map_or_else(Vec::new, |Fetched { records, .. }| records)
    }
}
