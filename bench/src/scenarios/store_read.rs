//! Reading an event store, and building its index again.

use anyhow::Result;

use crate::quantity::{EVENT_CPU, EVENTS, MEDIAN_TIME, RESIDENT, TIME};
use crate::run::Run;
use crate::scenario::{Goal, Scenario};
use crate::servers::{ANNALS_SYNC, SubjectRef};
use crate::worker::{ReadBack, Reopened, Worker};

/// 10 million events.
const STREAMS: u64 = 1_000_000;
const EVENTS_EACH: u64 = 10;

const LOAD: &str = "loading a stream of 1,000 events";
const ALL: &str = "reading all";
const REBUILD: &str = "building the index of all";

/// See the module.
pub(super) struct StoreRead;

impl Scenario for StoreRead {
    fn name(&self) -> &'static str {
        "store-read"
    }

    fn about(&self) -> &'static str {
        "Loading one stream, reading all events and building the index anew, of a store with a million streams of 10 events; \
         and a start without an index."
    }

    fn method(&self) -> &'static str {
        "a store in the process of the reader, filled so that the events of a stream lie a million positions apart; those of \
         the stream that is loaded lie together, in the middle; then the process is started again without the index"
    }

    fn subjects(&self) -> Vec<SubjectRef> {
        vec![ANNALS_SYNC]
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let worker = Worker::new("read").in_directory(run.data());
        let worker = worker.with("streams", &run.count(STREAMS)).with("filled", &EVENTS_EACH);
        let read: ReadBack = worker.run()?;
        run.tell(MEDIAN_TIME, LOAD, read.stream_ms);
        run.tell(EVENTS, ALL, read.all_per_s);
        run.tell(EVENT_CPU, ALL, read.all_cpu_us);
        run.tell(EVENTS, REBUILD, read.rebuilt_per_s);
        run.tell(EVENT_CPU, REBUILD, read.rebuilt_cpu_us);
        run.tell(RESIDENT, "filling, reading and building, peak", read.resident_peak_mib);
        let reopened: Reopened = Worker::new("reopen").in_directory(run.data()).run()?;
        run.tell(TIME, "start without an index, until it is open", reopened.opened_s);
        run.tell(TIME, "start without an index, until an append is durable", reopened.appended_s);
        run.tell(TIME, "start without an index, until the index is complete", reopened.indexed_s);
        run.tell(RESIDENT, "start without an index, peak", reopened.resident_peak_mib);
        Ok(())
    }

    fn goals(&self) -> Vec<Goal> {
        vec![
            Goal::limit(ANNALS_SYNC, MEDIAN_TIME, LOAD, 2.0),
            Goal::least(ANNALS_SYNC, EVENTS, ALL, 500_000.0),
            Goal::least(ANNALS_SYNC, EVENTS, REBUILD, 500_000.0),
        ]
    }
}
