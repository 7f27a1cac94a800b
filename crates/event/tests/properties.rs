//! Properties of the envelope through its public interface: what is written is read back, and no input does harm.

#![expect(clippy::expect_used, reason = "a strategy that makes an invalid event is a mistake in this test")]

use annals_clock::Clock;
use annals_event::kafka::{Header, Message};
use annals_event::{Event, Time, TraceParent, Value, json, kafka};
use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// Text that an attribute may hold.
fn text() -> impl Strategy<Value = String> {
    "[ -~à-ÿ日本語😀\"\\\\]{1,24}"
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text().prop_map(Value::from)
    ]
}

/// Payloads with media types that fit them, and with ones that do not.
fn payload() -> impl Strategy<Value = Option<(String, Vec<u8>)>> {
    let content_type = prop_oneof![
        Just("application/json"),
        Just("application/vnd.shop.order+json; charset=utf-8"),
        Just("text/plain"),
        Just("application/xml"),
        Just("text/plain; charset=iso-8859-1"),
        Just("application/octet-stream"),
    ];
    let data = prop_oneof![
        vec(any::<u8>(), 0..64),
        text().prop_map(String::into_bytes),
        (any::<i64>(), text())
            .prop_map(|(number, text)| serde_json::json!({"n": number, "t": text}).to_string().into_bytes()),
    ];
    option::of((content_type.prop_map(str::to_owned), data))
}

fn trace_parent() -> impl Strategy<Value = TraceParent> {
    (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>())
        .prop_filter_map("ids of zeros", |(trace, parent, flags)| TraceParent::new(trace, parent, flags).ok())
}

prop_compose! {
    fn event()(
        id in text(),
        source in "(/[a-z0-9]{1,8}){1,3}|urn:shop:[a-z]{1,8}|https://example\\.com/[a-z]{0,8}\\?q=[0-9]",
        type_name in "com\\.shop\\.order\\.(placed|paid|shipped)(\\.v[1-9])?|OrderPlaced|MoneyDeposited",
        subject in option::of(text()),
        time_ms in 0_i64..253_402_300_799_999,
        schema_version in option::of(1_u32..=i32::MAX as u32),
        correlation_id in option::of(text()),
        trace_parent in option::of(trace_parent()),
        extensions in btree_map("x[a-z0-9]{0,19}", value(), 0..6),
        payload in payload(),
        seed in any::<u64>(),
    ) -> Event {
        let mut builder = Event::builder(source, type_name).id(id).time(&Time::from_unix_ms(time_ms));
        if let Some(subject) = subject { builder = builder.subject(subject); }
        if let Some(version) = schema_version { builder = builder.schema_version(version); }
        if let Some(id) = correlation_id { builder = builder.correlation_id(id).partition_key("k"); }
        if let Some(parent) = trace_parent { builder = builder.trace_parent(parent).trace_state("rojo=00f067aa0ba902b7"); }
        if let Some((content_type, data)) = payload { builder = builder.data(content_type, data); }
        for (name, value) in extensions { builder = builder.extension(&name, value); }
        builder.build(&Clock::manual(0, seed).0).expect("a valid event")
    }
}

/// What a format that knows only text makes of an event's extensions.
fn canonical(event: &Event) -> Vec<(String, String)> {
    event.extensions().map(|(name, value)| (name.to_owned(), value.to_string())).collect()
}

fn header() -> impl Strategy<Value = Header> {
    let name = prop_oneof![
        "ce_(specversion|id|source|type|subject|time|dataschema|datacontenttype|traceparent|[a-z]{1,3})",
        Just("content-type".to_owned()),
        ".{0,12}",
    ];
    let value = prop_oneof![
        Just(b"1.0".to_vec()),
        Just(b"application/cloudevents+json".to_vec()),
        ".{0,20}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..20),
    ];
    (name, option::of(value)).prop_map(|(name, value)| Header { name, value: value.map(Bytes::from) })
}

proptest! {
    #[test]
    fn binary_mode_keeps_everything_but_the_types_of_extensions(event in event()) {
        let read = kafka::decode(&kafka::encode(&event)).expect("own message");
        prop_assert_eq!(canonical(&read), canonical(&event));
        prop_assert_eq!(read.schema_version(), event.schema_version());
        prop_assert_eq!(read.trace_parent(), event.trace_parent());
        prop_assert_eq!(read.data(), event.data());
        prop_assert_eq!(kafka::encode(&read), kafka::encode(&event));
    }

    #[test]
    fn structured_mode_keeps_everything(event in event()) {
        let message = kafka::encode_structured(&event);
        prop_assert!(message.is_event());
        prop_assert_eq!(kafka::decode(&message).expect("own message"), event);
    }

    #[test]
    fn the_json_format_is_json(event in event()) {
        let object: serde_json::Value = serde_json::from_str(&json::encode(&event)).expect("JSON");
        prop_assert_eq!(object["id"].as_str(), Some(event.id()));
        prop_assert!(object.get("data").is_none() || object.get("data_base64").is_none());
    }

    #[test]
    fn a_child_always_builds_and_belongs_to_its_parent(parent in event()) {
        let child = Event::builder("/", "OrderPaid").caused_by(&parent).build(&Clock::manual(0, 1).0).expect("a child");
        prop_assert_eq!(child.causation_id(), Some(parent.id()));
        prop_assert_eq!(child.correlation_id(), Some(parent.correlation_id().unwrap_or(parent.id())));
        prop_assert_eq!(child.trace_parent(), parent.trace_parent());
    }

    #[test]
    fn any_record_is_read_or_refused(headers in vec(header(), 0..12), value in option::of(vec(any::<u8>(), 0..64))) {
        let message = Message { key: None, headers, value: value.map(Bytes::from) };
        if let Ok(event) = kafka::decode(&message) {
            let again = kafka::decode(&kafka::encode(&event)).expect("own message");
            prop_assert_eq!(again.id(), event.id());
        }
    }

    #[test]
    fn any_bytes_are_read_as_json_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = json::decode(&bytes);
    }

    #[test]
    fn an_event_with_a_byte_changed_is_read_or_refused(event in event(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = json::encode(&event).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(event) = json::decode(&text) {
            prop_assert_eq!(json::decode(json::encode(&event).as_bytes()).expect("own text"), event);
        }
    }
}
