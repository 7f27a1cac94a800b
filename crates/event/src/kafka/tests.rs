//! The binding against the specification's own example, against broken records, and against itself.

use bytes::Bytes;

use super::{DecodeError, Header, Message, decode, encode, encode_structured};
use crate::{Event, InvalidEvent, Time, Value};

const EXAMPLE: [(&str, &str); 6] = [
    ("ce_specversion", "1.0"),
    ("ce_type", "com.example.someevent"),
    ("ce_source", "/mycontext/subcontext"),
    ("ce_id", "1234-1234-1234"),
    ("ce_time", "2018-04-05T03:56:24Z"),
    ("content-type", "application/avro"),
];

fn header(name: &str, value: &str) -> Header {
    Header::new(name.to_owned(), value.to_owned())
}

fn message(headers: &[(&str, &str)], value: Option<&'static [u8]>) -> Message {
    let headers = headers.iter().map(|(name, value)| header(name, value)).collect();
    Message { key: None, headers, value: value.map(Bytes::from_static) }
}

/// The example of section 3.2.5 with one header more.
fn example_with(name: &str, value: &str) -> Message {
    let mut message = message(&EXAMPLE, Some(b"\x00avro"));
    message.headers.push(header(name, value));
    message
}

#[test]
fn the_specifications_binary_example() {
    let message = message(&EXAMPLE, Some(b"\x00avro")).with_key("mykey");
    let event = decode(&message).unwrap();
    assert_eq!((event.id(), event.source()), ("1234-1234-1234", "/mycontext/subcontext"));
    assert_eq!(
        (event.type_name(), event.data_content_type()),
        ("com.example.someevent", Some("application/avro"))
    );
    assert_eq!(event.time().map(Time::as_str), Some("2018-04-05T03:56:24Z"));
    assert_eq!(event.data().map(|data| &data[..]), Some(&b"\x00avro"[..]));
    assert_eq!((event.partition_key(), event.extensions().len()), (None, 0));

    let mut written = encode(&event);
    written.headers.sort_by_key(|header| EXAMPLE.iter().position(|(name, _)| *name == header.name));
    assert_eq!(written.with_key("mykey"), message);
}

#[test]
fn the_specifications_structured_example() {
    let value =
        br#"{"specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext/subcontext",
        "id" : "1234-1234-1234", "time" : "2018-04-05T03:56:24Z", "datacontenttype" : "application/xml",
        "data" : "<much wow=\"xml\"/>"}"#;
    for content_type in [
        "application/cloudevents+json; charset=UTF-8",
        "application/cloudevents+json",
        "Application/CloudEvents+JSON;charset=utf-8",
    ] {
        let event = decode(&message(&[("content-type", content_type)], Some(value))).unwrap();
        assert_eq!((event.id(), event.data_content_type()), ("1234-1234-1234", Some("application/xml")));
        assert_eq!(decode(&encode_structured(&event)).unwrap(), event);
    }
}

#[test]
fn no_data_is_no_value() {
    let event = decode(&message(&EXAMPLE, None)).unwrap();
    assert_eq!(event.data(), None);
    assert_eq!(encode(&event).value, None);
    assert!(encode_structured(&event).value.is_some());
    let empty = decode(&message(&EXAMPLE, Some(b""))).unwrap();
    assert_eq!(encode(&empty).value, Some(Bytes::new()));
}

#[test]
fn the_last_of_repeated_headers_counts_and_one_without_value_does_not() {
    let mut message = example_with("ce_id", "second");
    message.headers.push(header("content-type", "text/plain"));
    message.headers.push(Header { name: "ce_id".into(), value: None });
    message.headers.push(Header { name: "content-type".into(), value: None });
    let event = decode(&message).unwrap();
    assert_eq!((event.id(), event.data_content_type()), ("second", Some("text/plain")));
}

#[test]
fn headers_of_the_application_are_left_alone() {
    let event = decode(&example_with("traceparent", "00-other")).unwrap();
    assert_eq!(event.extensions().len(), 0);
}

#[test]
fn content_type_wins_over_an_attribute_of_that_name() {
    let event = decode(&example_with("ce_datacontenttype", "text/plain")).unwrap();
    assert_eq!(event.data_content_type(), Some("application/avro"));
    let mut alone = example_with("ce_datacontenttype", "text/plain");
    alone.headers.retain(|header| header.name != "content-type");
    assert_eq!(decode(&alone).unwrap().data_content_type(), Some("text/plain"));
}

#[test]
fn extensions_of_others_that_bear_our_names_travel_unchanged() {
    let mut message = example_with("ce_schemaversion", "2024-05");
    message.headers.push(header("ce_traceparent", "broken"));
    message.headers.push(header("ce_tracestate", "a=1"));
    message.headers.push(header("ce_correlationid", ""));
    let event = decode(&message).unwrap();
    assert_eq!((event.schema_version(), event.trace_parent(), event.trace_state()), (None, None, None));
    assert_eq!(
        (event.correlation_id(), event.extension("traceparent")),
        (None, Some(&Value::from("broken")))
    );
    assert_eq!(decode(&encode(&event)).unwrap(), event);
    let clock = annals_clock::Clock::manual(0, 1).0;
    let next = Event::builder("/", "Answered").caused_by(&event).build(&clock).unwrap();
    assert_eq!((next.correlation_id(), next.extension("traceparent")), (Some(event.id()), None));
}

#[test]
fn broken_records_are_refused_with_the_reason() {
    let plain = message(&[("content-type", "text/plain"), ("x", "y")], Some(b"hello"));
    assert!(matches!(decode(&plain), Err(DecodeError::NotAnEvent)));
    assert!(matches!(decode(&Message::default()), Err(DecodeError::NotAnEvent)));
    let half = message(&EXAMPLE[..2], None);
    assert!(matches!(decode(&half), Err(DecodeError::Invalid(InvalidEvent::Missing { attribute: "id" }))));
    let mut latin = example_with("x", "y");
    latin.headers.push(Header::new("ce_subject".into(), &b"\xe9"[..]));
    assert!(matches!(decode(&latin), Err(DecodeError::NotUtf8 { header }) if header == "ce_subject"));
    let avro = message(&[("content-type", "application/cloudevents+avro")], Some(b"x"));
    assert!(matches!(decode(&avro), Err(DecodeError::Format { .. })));
    let batch = message(&[("content-type", "application/cloudevents-batch+json")], Some(b"[]"));
    assert!(matches!(decode(&batch), Err(DecodeError::Format { .. })));
    let empty = message(&[("content-type", "application/cloudevents+json")], None);
    assert!(matches!(decode(&empty), Err(DecodeError::NoValue)));
    for (name, value) in
        [("ce_", "x"), ("ce_data", "x"), ("ce_Upper", "x"), ("ce_specversion", "2.0"), ("ce_time", "now")]
    {
        assert!(matches!(decode(&example_with(name, value)), Err(DecodeError::Invalid(_))), "{name}");
    }
}

#[test]
fn an_event_is_told_from_other_records() {
    assert!(message(&EXAMPLE, None).is_event());
    assert!(message(&[("content-type", "application/cloudevents+avro")], None).is_event());
    assert!(!message(&EXAMPLE[..3], None).is_event());
    assert!(!message(&[("content-type", "application/json")], None).is_event());
}

#[test]
fn what_another_library_writes_is_read() {
    // Written by cloudevents 2.2.0 for Python, in binary mode.
    let headers = [
        ("ce_type", "com.shop.order.placed"),
        ("ce_source", "/shop"),
        ("ce_id", "1"),
        ("ce_time", "2026-01-02T03:04:05.000678+02:00"),
        ("content-type", "application/json"),
        ("ce_partitionkey", "k"),
        ("ce_subject", "ü"),
        ("ce_specversion", "1.0"),
    ];
    let event = decode(&message(&headers, Some(b"{\"a\": 1}")).with_key("k")).unwrap();
    assert_eq!((event.subject(), event.partition_key()), (Some("ü"), Some("k")));
    assert_eq!(event.time().map(Time::unix_ms), Some(1_767_315_845_000));
}
