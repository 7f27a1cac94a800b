//! The format against the specification's own examples, against broken input, and against itself.

use bytes::Bytes;

use super::{DecodeError, decode, encode};
use crate::{Event, InvalidEvent, Time, Value};

/// The example events of the JSON event format 1.0.2, section 3.2, without their payload.
fn example(id: &str, rest: &str) -> String {
    format!(
        r#"{{
            "specversion" : "1.0",
            "type" : "com.example.someevent",
            "source" : "/mycontext",
            "subject": null,
            "id" : "{id}",
            "time" : "2018-04-05T17:31:00Z",
            "comexampleextension1" : "value",
            "comexampleothervalue" : 5,
            "unsetextension": null,
            {rest}
        }}"#
    )
}

fn decoded(id: &str, rest: &str) -> Event {
    let event = decode(example(id, rest).as_bytes()).expect(rest);
    assert_eq!((event.id(), event.source(), event.type_name()), (id, "/mycontext", "com.example.someevent"));
    assert_eq!((event.subject(), event.time().map(Time::unix_ms)), (None, Some(1_522_949_460_000)));
    assert_eq!(event.extension("comexampleextension1"), Some(&Value::from("value")));
    assert_eq!(event.extension("comexampleothervalue"), Some(&Value::Integer(5)));
    assert_eq!(event.extensions().len(), 2);
    event
}

fn refused(rest: &str) -> DecodeError {
    decode(example("1", rest).as_bytes()).expect_err(rest)
}

fn data(event: &Event) -> Option<&str> {
    event.data().map(|data| std::str::from_utf8(data).unwrap())
}

#[test]
fn example_with_binary_data() {
    let rest = r#""datacontenttype" : "application/vnd.apache.thrift.binary", "data_base64" : "AP/+""#;
    let event = decoded("A234-1234-1234", rest);
    assert_eq!(event.data(), Some(&Bytes::from_static(&[0x00, 0xff, 0xfe])));
    assert_eq!(decode(encode(&event).as_bytes()).unwrap(), event);
}

#[test]
fn example_with_xml_in_a_string() {
    let event =
        decoded("B234-1234-1234", r#""datacontenttype" : "application/xml", "data" : "<much wow=\"xml\"/>""#);
    assert_eq!(data(&event), Some("<much wow=\"xml\"/>"));
    assert!(encode(&event).ends_with(r#""data":"<much wow=\"xml\"/>"}"#));
}

#[test]
fn example_with_a_json_object() {
    let rest = r#""datacontenttype" : "application/json", "data" : { "appinfoA" : "abc", "appinfoB" : 123, "appinfoC" : true }"#;
    let event = decoded("C234-1234-1234", rest);
    assert_eq!(data(&event), Some(r#"{ "appinfoA" : "abc", "appinfoB" : 123, "appinfoC" : true }"#));
    assert_eq!(decode(encode(&event).as_bytes()).unwrap(), event);
}

#[test]
fn example_with_a_json_string_and_an_implied_media_type() {
    let event = decoded("D234-1234-1234", r#""data" : "I'm just a string""#);
    assert_eq!(event.data_content_type(), Some("application/json"));
    assert_eq!(data(&event), Some("\"I'm just a string\""));
}

#[test]
fn the_whole_event_is_written_as_specified() {
    let text = r#"{"specversion":"1.0","id":"A234-1234-1234","source":"https://github.com/cloudevents/spec/pull","type":"com.github.pull_request.opened","subject":"123","time":"2018-04-05T17:31:00Z","datacontenttype":"text/xml","comexampleextension1":"value","comexampleothervalue":5,"comexampletruth":true,"data":"<much wow=\"xml\"/>"}"#;
    assert_eq!(encode(&decode(text.as_bytes()).unwrap()), text);
}

#[test]
fn no_payload_a_null_payload_and_an_empty_payload_differ() {
    let none = decoded("1", r#""datacontenttype": "application/json""#);
    let null = decoded("1", r#""data": null"#);
    let empty = decoded("1", r#""datacontenttype": "text/plain", "data": """#);
    assert_eq!((data(&none), data(&null), data(&empty)), (None, Some("null"), Some("")));
    for event in [none, null, empty] {
        assert_eq!(decode(encode(&event).as_bytes()).unwrap(), event);
    }
    assert_eq!(data(&decoded("1", r#""data_base64": null"#)), None);
}

#[test]
fn numbers_in_the_data_keep_their_digits() {
    let event = decoded("1", r#""data": [1.10, 12345678901234567890123, 1e400]"#);
    assert_eq!(data(&event), Some("[1.10, 12345678901234567890123, 1e400]"));
    assert!(encode(&event).ends_with(r#""data":[1.10, 12345678901234567890123, 1e400]}"#));
}

#[test]
fn data_that_is_not_what_it_is_declared_to_be_travels_as_base64() {
    let clock = annals_clock::Clock::manual(0, 1).0;
    let cases: [(&str, &[u8]); 4] = [
        ("application/json", b"{not json"),
        ("text/plain", b"\xff\xfe"),
        ("text/plain; charset=utf-16", b"a"),
        ("application/json", b""),
    ];
    for (content_type, bytes) in cases {
        let event =
            Event::builder("/", "Sent").data(content_type, Bytes::from_static(bytes)).build(&clock).unwrap();
        let text = encode(&event);
        assert!(text.contains("data_base64"), "{text}");
        assert_eq!(decode(text.as_bytes()).unwrap(), event);
    }
}

#[test]
fn broken_members_are_named() {
    assert!(matches!(refused(r#""id": "2""#), DecodeError::Repeated { member } if member == "id"));
    assert!(matches!(refused(r#""data": 1, "\u0064ata": 2"#), DecodeError::Repeated { .. }));
    assert!(matches!(refused(r#""data": 1, "data_base64": "AA==""#), DecodeError::TwoPayloads));
    assert!(matches!(refused(r#""data_base64": "AA""#), DecodeError::Base64));
    assert!(matches!(refused(r#""data_base64": 5"#), DecodeError::Base64));
    for value in ["{}", "[1]", "1.5", "5.0", "2147483648", "1e2"] {
        let error = refused(&format!("\"ext\": {value}"));
        assert!(
            matches!(error, DecodeError::AttributeType { ref attribute, .. } if attribute == "ext"),
            "{error}"
        );
    }
    assert!(matches!(
        refused(r#""datacontenttype": "text/xml", "data": {}"#),
        DecodeError::DataNotAString { .. }
    ));
    let charset = refused(r#""datacontenttype": "text/plain; charset=latin1", "data": "é""#);
    assert!(matches!(charset, DecodeError::Charset { .. }));
    assert!(matches!(refused(r#""dataschema": 5"#), DecodeError::Invalid(InvalidEvent::NotAString { .. })));
    assert!(matches!(refused(r#""camelCase": 5"#), DecodeError::Invalid(InvalidEvent::Name { .. })));
    assert!(matches!(refused(r#""ext": "\u0000""#), DecodeError::Invalid(InvalidEvent::Character { .. })));
    assert!(matches!(refused(r#""ext": "\ud800""#), DecodeError::AttributeType { .. }));
}

#[test]
fn what_is_no_object_is_refused() {
    for text in ["", "[]", "null", "1", "{", "{}x", "\u{feff}{}", "{\"a\":}"] {
        assert!(matches!(decode(text.as_bytes()), Err(DecodeError::Syntax(_))), "{text}");
    }
    assert!(matches!(decode(b"\xff"), Err(DecodeError::Syntax(_))));
    assert!(matches!(
        decode(b"{}"),
        Err(DecodeError::Invalid(InvalidEvent::Missing { attribute: "specversion" }))
    ));
}

#[test]
fn each_required_attribute_is_missed_by_name() {
    for attribute in ["specversion", "id", "source", "type"] {
        let text = example("1", "\"x\": 1").replace(&format!("\"{attribute}\""), "\"y\"");
        let missing = decode(text.as_bytes());
        assert!(
            matches!(missing, Err(DecodeError::Invalid(InvalidEvent::Missing { attribute: found })) if found == attribute),
            "{attribute}: {missing:?}"
        );
    }
    let old = example("1", "\"x\": 1").replace("\"1.0\"", "\"0.3\"");
    assert!(matches!(decode(old.as_bytes()), Err(DecodeError::Invalid(InvalidEvent::SpecVersion { .. }))));
}

#[test]
fn an_object_with_too_many_members_is_refused_early() {
    let many: Vec<String> = (0..1_000).map(|n| format!("\"x{n}\":null")).collect();
    assert!(matches!(refused(&many.join(",")), DecodeError::Syntax(_)));
    let many: Vec<String> = (0..200).map(|n| format!("\"x{n}\":1")).collect();
    assert!(matches!(refused(&many.join(",")), DecodeError::Invalid(InvalidEvent::TooManyExtensions { .. })));
}

#[test]
fn deep_nesting_is_carried_without_recursion() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let event = decoded("1", &format!("\"data\": {deep}"));
    assert_eq!(data(&event).map(str::len), Some(200_000));
    assert_eq!(decode(encode(&event).as_bytes()).unwrap(), event);
    assert!(matches!(refused(&format!("\"ext\": {deep}")), DecodeError::AttributeType { .. }));
}
