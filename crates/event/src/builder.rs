//! Putting an event together.

use annals_clock::{Clock, TimestampMs};
use bytes::Bytes;

use crate::parts::{Parts, SPEC_VERSION, name};
use crate::{Event, InvalidEvent, Time, TraceParent, Value};

/// Collects an event's attributes; [`Builder::build`] checks them all.
///
/// What is set explicitly wins over what [`Builder::caused_by`] carries along, whichever comes first.
///
/// ```
/// use annals_clock::Clock;
/// use annals_event::{Event, InvalidEvent};
///
/// let refused = Event::builder("/shop/orders", "OrderPlaced").data_schema("order.json").build(&Clock::system());
/// assert!(matches!(refused, Err(InvalidEvent::DataSchema { .. })));
/// ```
#[derive(Debug, Clone)]
#[must_use = "an event is made by build"]
pub struct Builder {
    parts: Parts,
    /// The first thing that went wrong with an extension, reported by `build`.
    failure: Option<InvalidEvent>,
}

impl Builder {
    pub(crate) fn new(source: String, type_name: String) -> Self {
        let spec_version = Some(SPEC_VERSION.to_owned());
        let (source, type_name) = (Some(source), Some(type_name));
        Self { parts: Parts { spec_version, source, type_name, ..Parts::default() }, failure: None }
    }

    /// Sets the id. Without it the event gets a UUID of version 7.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.parts.id = Some(id.into());
        self
    }

    /// Sets what the event happened to, within its source.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.parts.subject = Some(subject.into());
        self
    }

    /// Sets when it happened. Without it the event gets the clock's time at [`Builder::build`].
    pub fn time(mut self, time: &Time) -> Self {
        self.parts.time = Some(time.to_string());
        self
    }

    /// Sets when it happened, in milliseconds since the Unix epoch.
    pub fn time_ms(self, unix_ms: TimestampMs) -> Self {
        self.time(&Time::from_unix_ms(unix_ms))
    }

    /// Sets the data and its media type.
    pub fn data(mut self, content_type: impl Into<String>, data: impl Into<Bytes>) -> Self {
        self.parts.data_content_type = Some(content_type.into());
        self.parts.data = Some(data.into());
        self
    }

    /// Sets the media type of the data, where there is no data, or other data than this says.
    pub fn data_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.parts.data_content_type = Some(content_type.into());
        self
    }

    /// Sets the data to a JSON value, of the media type `application/json`.
    pub fn json(self, value: &serde_json::Value) -> Self {
        self.data("application/json", value.to_string())
    }

    /// Sets the URI of the schema that the data follows.
    pub fn data_schema(mut self, uri: impl Into<String>) -> Self {
        self.parts.data_schema = Some(uri.into());
        self
    }

    /// Sets the version of the data's schema, from 1.
    pub fn schema_version(self, version: u32) -> Self {
        match i32::try_from(version) {
            Ok(version) => self.extension(name::SCHEMA_VERSION, version),
            Err(_) => self.fail(InvalidEvent::SchemaVersion { value: version.to_string() }),
        }
    }

    /// Sets the id that everything caused by one action shares.
    pub fn correlation_id(self, id: impl Into<String>) -> Self {
        self.extension(name::CORRELATION_ID, id.into())
    }

    /// Sets the id of the event that caused this one. [`Builder::caused_by`] does it and more.
    pub fn causation_id(self, id: impl Into<String>) -> Self {
        self.extension(name::CAUSATION_ID, id.into())
    }

    /// Sets the W3C trace context.
    pub fn trace_parent(self, parent: TraceParent) -> Self {
        self.extension(name::TRACE_PARENT, parent.to_string())
    }

    /// Sets what tracing systems keep beside the trace context. Needs a [`Builder::trace_parent`].
    pub fn trace_state(self, state: impl Into<String>) -> Self {
        self.extension(name::TRACE_STATE, state.into())
    }

    /// Sets the key that decides the Kafka partition.
    pub fn partition_key(self, key: impl Into<String>) -> Self {
        self.extension(name::PARTITION_KEY, key.into())
    }

    /// Sets an extension attribute. Its name may hold a-z and 0-9; 20 characters are the advised maximum.
    ///
    /// Core attributes have methods of their own and are refused here, as `specversion` is, which is always "1.0".
    pub fn extension(mut self, name: &str, value: impl Into<Value>) -> Self {
        if Parts::is_core(name) {
            return self.fail(InvalidEvent::CoreName { name: name.to_owned() });
        }
        match self.parts.set(name, value.into()) {
            Ok(()) => self,
            Err(failure) => self.fail(failure),
        }
    }

    /// Ties this event to the one that caused it.
    ///
    /// Its causation id is the id of `parent`. Its correlation id is that of `parent`, or the id of `parent` if that
    /// began the chain. Its trace context is the one that `parent` carries, if that can be read.
    pub fn caused_by(mut self, parent: &Event) -> Self {
        self.carry(name::CAUSATION_ID, parent.id());
        self.carry(name::CORRELATION_ID, parent.correlation_id().unwrap_or(parent.id()));
        if self.parts.extensions.contains_key(name::TRACE_PARENT) {
            return self;
        }
        if let Some(trace_parent) = parent.trace_parent() {
            self.carry(name::TRACE_PARENT, &trace_parent.to_string());
        }
        if let Some(trace_state) = parent.trace_state() {
            self.carry(name::TRACE_STATE, trace_state);
        }
        self
    }

    /// Checks the event and makes it, taking from `clock` the id and the time if they are not set.
    ///
    /// # Errors
    /// The first rule of CloudEvents 1.0, of W3C Trace Context or of [`crate::limits`] that it breaks.
    pub fn build(mut self, clock: &Clock) -> Result<Event, InvalidEvent> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        self.parts.check_well_known()?;
        self.parts.id.get_or_insert_with(|| clock.uuid_v7().to_string());
        self.parts.time.get_or_insert_with(|| Time::from_unix_ms(clock.now_ms()).to_string());
        self.parts.into_event()
    }

    /// Sets an extension unless it is set.
    fn carry(&mut self, name: &str, value: &str) {
        if !self.parts.extensions.contains_key(name)
            && let Err(failure) = self.parts.set(name, value.into())
        {
            self.failure.get_or_insert(failure);
        }
    }

    fn fail(mut self, failure: InvalidEvent) -> Self {
        self.failure.get_or_insert(failure);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TraceError;
    use crate::limits::{ATTRIBUTES_BYTES_MAX, EXTENSIONS_MAX};

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01";

    fn clock() -> Clock {
        Clock::manual(1_522_949_460_000, 7).0
    }

    fn placed() -> Builder {
        Event::builder("/shop/orders", "OrderPlaced")
    }

    #[test]
    fn id_and_time_come_from_the_clock() {
        let event = placed().build(&clock()).unwrap();
        assert_eq!(event.time().map(Time::as_str), Some("2018-04-05T17:31:00.000Z"));
        let id: annals_clock::Uuid = event.id().parse().unwrap();
        assert_eq!(id.get_version_num(), 7);
    }

    #[test]
    fn each_broken_rule_is_named() {
        let event = placed;
        let refused = |builder: Builder| builder.build(&clock()).expect_err("refused");
        assert_eq!(refused(event().id("")), InvalidEvent::Empty { attribute: "id" });
        assert_eq!(refused(Event::builder("", "OrderPlaced")), InvalidEvent::Empty { attribute: "source" });
        assert_eq!(refused(Event::builder("/", "")), InvalidEvent::Empty { attribute: "type" });
        assert_eq!(refused(event().subject("")), InvalidEvent::Empty { attribute: "subject" });
        assert!(matches!(refused(Event::builder("a b", "OrderPlaced")), InvalidEvent::Source { .. }));
        assert!(matches!(refused(event().id("a\nb")), InvalidEvent::Character { code: 10, position: 1, .. }));
        assert!(matches!(refused(event().data("json", "1")), InvalidEvent::DataContentType { .. }));
        assert!(matches!(refused(event().data_schema("/x")), InvalidEvent::DataSchema { .. }));
        assert!(matches!(refused(event().extension("no_good", 1)), InvalidEvent::Name { .. }));
        assert!(matches!(refused(event().extension("type", "x")), InvalidEvent::CoreName { .. }));
        assert_eq!(refused(event().extension("data", "x")), InvalidEvent::ReservedName);
        assert!(matches!(refused(event().schema_version(0)), InvalidEvent::SchemaVersion { .. }));
        assert!(matches!(refused(event().schema_version(u32::MAX)), InvalidEvent::SchemaVersion { .. }));
        assert!(matches!(
            refused(event().extension("schemaversion", "1.2")),
            InvalidEvent::SchemaVersion { .. }
        ));
        assert_eq!(
            refused(event().correlation_id("")),
            InvalidEvent::Identifier { attribute: "correlationid" }
        );
        assert_eq!(
            refused(event().extension("causationid", 5)),
            InvalidEvent::Identifier { attribute: "causationid" }
        );
        assert_eq!(refused(event().trace_state("a=1")), InvalidEvent::Trace(TraceError::StateAlone));
        assert_eq!(refused(event().extension("traceparent", "x")), InvalidEvent::Trace(TraceError::Parent));
    }

    #[test]
    fn the_first_mistake_is_the_one_reported() {
        let refused = placed().extension("BAD", 1).schema_version(0).build(&clock());
        assert!(matches!(refused, Err(InvalidEvent::Name { .. })));
    }

    #[test]
    fn attributes_are_bounded_in_number_and_size() {
        let full = (0..EXTENSIONS_MAX).fold(placed(), |builder, n| builder.extension(&format!("x{n}"), "v"));
        assert!(full.clone().build(&clock()).is_ok());
        assert!(full.clone().extension("x0", "again").build(&clock()).is_ok());
        let refused = full.extension("more", "v").build(&clock());
        assert_eq!(refused, Err(InvalidEvent::TooManyExtensions { max: EXTENSIONS_MAX }));
        let refused = placed().subject("s".repeat(ATTRIBUTES_BYTES_MAX)).build(&clock());
        assert!(matches!(refused, Err(InvalidEvent::TooLarge { .. })));
        assert!(placed().subject("s".repeat(ATTRIBUTES_BYTES_MAX - 200)).build(&clock()).is_ok());
    }

    #[test]
    fn a_chain_shares_its_correlation_and_names_its_cause() {
        let clock = clock();
        let first = placed().id("order-123").trace_parent(PARENT.parse().unwrap()).trace_state("a=1");
        let first = first.build(&clock).unwrap();
        let second = Event::builder("/p", "PaymentProcessed")
            .id("payment-789")
            .caused_by(&first)
            .build(&clock)
            .unwrap();
        let third = Event::builder("/s", "ShippingScheduled").caused_by(&second).build(&clock).unwrap();
        assert_eq!((second.correlation_id(), second.causation_id()), (Some("order-123"), Some("order-123")));
        assert_eq!((third.correlation_id(), third.causation_id()), (Some("order-123"), Some("payment-789")));
        assert_eq!(third.trace_parent(), Some(PARENT.parse().unwrap()));
        assert_eq!(third.trace_state(), Some("a=1"));
    }

    #[test]
    fn what_is_set_explicitly_wins_over_the_parent() {
        let clock = clock();
        let own: TraceParent = "00-11111111111111111111111111111111-2222222222222222-00".parse().unwrap();
        let parent = placed().trace_parent(PARENT.parse().unwrap()).trace_state("a=1").build(&clock).unwrap();
        let before = placed().correlation_id("txn-abc-123").trace_parent(own).caused_by(&parent);
        let after = placed().caused_by(&parent).correlation_id("txn-abc-123").trace_parent(own);
        for event in [before.build(&clock).unwrap(), after.build(&clock).unwrap()] {
            assert_eq!(event.correlation_id(), Some("txn-abc-123"));
            assert_eq!(event.causation_id(), Some(parent.id()));
            assert_eq!(event.trace_parent(), Some(own));
        }
    }
}
