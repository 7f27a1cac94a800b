//! The engine in the hands of a caller that has a log in memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use annals_clock::Clock;
use annals_event::Event as CloudEvent;
use annals_eventstore::append::{Append, Guard, NewEvent, Prepared, StreamWrite};
use annals_eventstore::index::{Builder, Direction, Index, Loaded, MemoryTable, Table as _};
use annals_eventstore::lookup::Lookup;
use annals_eventstore::metadata::{METADATA_TYPE, StreamMetadata, TOMBSTONE_TYPE};
use annals_eventstore::query::{Condition, Query};
use annals_eventstore::record::{RecordedEvent, Records};
use annals_eventstore::store::{Decision, Options, Refused, Store};
use annals_eventstore::{Expected, Position, Revision, StreamName, StreamState, Terms};

use super::simple::{Ask, Did, Event, Simple};

pub(crate) struct Driver {
    seed: [u8; 16],
    store: Mutex<Store>,
    index: Index,
    table: Arc<MemoryTable>,
    log: Vec<RecordedEvent>,
    clock: Clock,
}

impl Driver {
    pub(crate) fn new(seed: u64) -> Self {
        let clock = Clock::manual(1_700_000_000_000, seed).0;
        let mut key = [0; 16];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let store = Mutex::new(Store::new(Terms::new(key), Options::default()));
        let table = Arc::new(MemoryTable::default());
        Self { seed: key, store, index: Index::new(Arc::clone(&table) as _), table, log: Vec::new(), clock }
    }

    /// What the first index holds.
    pub(crate) fn entries_in_index(&self) -> usize {
        let mut count = 0;
        let count_all = &mut |_: &[u8], _: &[u8]| {
            count += 1;
            true
        };
        self.table.scan(&[0], &[u8::MAX], count_all).unwrap();
        count
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    fn lookup(&self) -> Lookup<'_> {
        Lookup::new(&self.store, &self.index)
    }

    pub(crate) fn next(&self) -> u64 {
        self.lock().next().0
    }

    pub(crate) fn durable(&self) -> u64 {
        self.lock().applied().0
    }

    pub(crate) fn append(&mut self, ask: &Ask) -> Result<Decision, Refused> {
        let writes = ask.writes.iter().map(|(stream, expected, events)| StreamWrite {
            stream: name(stream),
            expected: *expected,
            events: events.iter().map(|event| self.new_event(event)).collect(),
        });
        let guard =
            |(stream, expected): &(String, Expected)| Guard { stream: name(stream), expected: *expected };
        let condition = |(query, after): &(Query, Option<u64>)| Condition {
            query: query.clone(),
            after: after.map(Position),
        };
        let append = Append {
            writes: writes.collect(),
            guards: ask.guards.iter().map(guard).collect(),
            conditions: ask.conditions.iter().map(condition).collect(),
        };
        let terms = *self.lock().terms();
        self.decide(append.prepare(&terms).unwrap())
    }

    fn new_event(&self, event: &Event) -> NewEvent {
        let built = CloudEvent::builder("/test", &event.kind).id(&event.id).build(&self.clock).unwrap();
        let tags = event.tags.iter().map(|tag| tag.as_str().into()).collect();
        NewEvent { event: built, tags, sealed: None }
    }

    /// As a caller does it: what is only in the index is looked up there, and the decision asked for again.
    fn decide(&mut self, prepared: Prepared) -> Result<Decision, Refused> {
        let mut verified = Position(0);
        let decision = loop {
            let decided = self.lock().decide(&prepared, verified, self.clock.now_ms());
            let Err(Refused::Unverified { below }) = decided else { break decided? };
            for (index, (query, from)) in prepared.conditions().enumerate() {
                let range = from.max(verified).0..below.0;
                if let [position] = self.index.find(query, &range, 1, Direction::Forward).unwrap()[..] {
                    return Err(Refused::ConditionFailed { index, position: Position(position) });
                }
            }
            verified = below;
        };
        if !decision.repeated {
            let count = prepared.event_count() as u32;
            let body = prepared.finish(&decision.first_revisions);
            let records = Records::new(body.into(), decision.first, decision.recorded_ms, count);
            self.log.extend(records.map(Result::unwrap));
            assert_eq!(self.log.len() as u64, decision.end.0);
        }
        Ok(decision)
    }

    fn system_event(&self, kind: &str, data: &str) -> CloudEvent {
        let builder = CloudEvent::builder("/test", kind).data("application/json", data.to_owned());
        builder.build(&self.clock).unwrap()
    }

    pub(crate) fn tombstone(
        &mut self,
        stream: &str,
        expected: Expected,
        model: &mut Simple,
    ) -> Result<Decision, Refused> {
        let terms = *self.lock().terms();
        let event = self.system_event(TOMBSTONE_TYPE, "{}");
        let decision = self.decide(Prepared::tombstone(&name(stream), expected, &event, &terms))?;
        model.push(stream, plain(&event), Did::Tombstone);
        Ok(decision)
    }

    pub(crate) fn delete(&mut self, stream: &str, model: &mut Simple) -> Result<Decision, Refused> {
        let metadata = StreamMetadata::default().deleting();
        let (decision, event) = self.write_metadata(stream, metadata)?;
        model.push(&format!("$${stream}"), plain(&event), Did::Delete(stream.to_owned()));
        Ok(decision)
    }

    pub(crate) fn describe(
        &mut self,
        stream: &str,
        choice: u64,
        model: &mut Simple,
    ) -> Result<Decision, Refused> {
        let first = match choice {
            1 => model.next_revision(stream).saturating_sub(1),
            3 => model.next_revision(stream) + 3,
            _ => 0,
        };
        let max_count = (choice == 2).then_some(2);
        let truncate_before = (first > 0).then_some(Revision(first));
        let metadata = StreamMetadata { max_count, truncate_before, ..StreamMetadata::default() };
        let (decision, event) = self.write_metadata(stream, metadata)?;
        let did = Did::Describe { stream: stream.to_owned(), first, max_count };
        model.push(&format!("$${stream}"), plain(&event), did);
        Ok(decision)
    }

    fn write_metadata(
        &mut self,
        stream: &str,
        metadata: StreamMetadata,
    ) -> Result<(Decision, CloudEvent), Refused> {
        let terms = *self.lock().terms();
        let event = self.system_event(METADATA_TYPE, &metadata.to_json());
        let about = (&name(stream), Expected::Any);
        let decision = self.decide(Prepared::metadata(about, Expected::Any, metadata, &event, &terms))?;
        Ok((decision, event))
    }

    /// Some more of what was decided is durable.
    pub(crate) fn make_durable(&mut self, count: usize, _: &mut Simple) {
        let mut store = self.lock();
        let end = (store.applied().0 as usize).saturating_add(count).min(self.log.len());
        store.apply_to(Position(end as u64));
    }

    pub(crate) fn flush(&mut self) {
        let flush = self.lock().flush();
        self.index.write(&flush, self.seed).unwrap();
        self.lock().indexed_to(flush.end());
    }

    /// Only what is durable survives; the index may be lost too.
    pub(crate) fn crash(&mut self, model: &mut Simple, index: u64) {
        let durable = self.durable();
        self.log.truncate(durable as usize);
        model.forget_from(durable);
        match index {
            0 => self.index = Index::new(Arc::new(MemoryTable::default())),
            1 => self.build(),
            _ => {}
        }
        let loaded = self.index.load(self.seed, Options::default(), Position(durable)).unwrap();
        let mut store = match loaded {
            Loaded::Store(store) => *store,
            Loaded::Nothing => Store::new(Terms::new(self.seed), Options::default()),
        };
        let indexed = store.next().0 as usize;
        self.log[..indexed].iter().for_each(|event| store.remember(event));
        self.log[indexed..].iter().for_each(|event| store.recover(event));
        store.recover_end(Position(durable));
        self.store = Mutex::new(store);
    }

    /// The index is built from the log, in stages of a few events. What it says of the streams is what its builder says.
    fn build(&mut self) {
        let index = Index::new(Arc::new(MemoryTable::default()));
        let mut builder = Builder::new(Terms::new(self.seed), self.seed).with_stage_bytes(2000);
        for event in &self.log {
            if !builder.takes(event) {
                builder.write(&index).unwrap();
            }
            builder.add(event);
        }
        builder.skip_to(Position(self.log.len() as u64));
        let built = builder.store(Options::default());
        let end = builder.finish(&index).unwrap();
        let Loaded::Store(loaded) = index.load(self.seed, Options::default(), end).unwrap() else {
            panic!("the index that was built is not found");
        };
        for event in &self.log {
            let stream = event.stream();
            assert_eq!(loaded.stream(stream), built.stream(stream), "{stream}");
            assert_eq!(loaded.metadata(stream), built.metadata(stream), "{stream}");
            assert_eq!(loaded.truncated_before(stream), built.truncated_before(stream), "{stream}");
        }
        self.index = index;
    }

    pub(crate) fn find(
        &self,
        query: &Query,
        range: Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Vec<u64> {
        let query = query.prepare(self.lock().terms()).unwrap();
        self.lookup().find(&query, range, limit, direction).unwrap()
    }

    pub(crate) fn stream(
        &self,
        stream: &str,
        revisions: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Vec<(u64, u64)> {
        let places = self.lookup().stream(stream, revisions, limit, direction).unwrap();
        for (revision, position) in &places {
            let event = &self.log[*position as usize];
            assert_eq!((event.stream(), event.revision().0), (stream, *revision));
        }
        places
    }

    pub(crate) fn revision_at(&self, stream: &str, position: u64) -> u64 {
        self.lookup().revision_at(stream, Position(position)).unwrap().0
    }

    pub(crate) fn state(&self, stream: &str) -> StreamState {
        self.lock().stream(stream)
    }

    pub(crate) fn first_visible(&self, stream: &str) -> u64 {
        self.lock().visible(stream, self.clock.now_ms()).first.0
    }
}

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).unwrap()
}

fn plain(event: &CloudEvent) -> Event {
    Event { id: event.id().to_owned(), kind: event.type_name().to_owned(), tags: Vec::new() }
}
