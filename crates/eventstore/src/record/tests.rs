use std::sync::Arc;

use annals_clock::Clock;
use annals_event::{Event, kafka};
use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::append::Sealed;
use crate::{Position, Revision};

fn event() -> Event {
    let (clock, _) = Clock::manual(1_700_000_000_000, 1);
    Event::builder("/bank", "MoneyDeposited")
        .subject("account-1")
        .correlation_id("c-1")
        .schema_version(2)
        .partition_key("p")
        .json(&json!({"amount": 1000}))
        .build(&clock)
        .unwrap()
}

fn write(event: &Event, tags: &[&str], sealed: Option<&Sealed>) -> RecordedEvent {
    let tags: Vec<Arc<str>> = tags.iter().map(|&tag| tag.into()).collect();
    let mut writer = RecordWriter::default();
    writer.push("account-0", event, &[], None);
    writer.push("account-1", event, &tags, sealed);
    assert_eq!((writer.count(), writer.len() > 100), (2, true));
    let body = writer.finish([7, u64::MAX].into_iter());
    let records: Vec<_> = Records::new(body.into(), Position(40), 5, 2).map(Result::unwrap).collect();
    assert_eq!((records[0].position(), records[0].revision()), (Position(40), Revision(7)));
    records[1].clone()
}

#[test]
fn an_event_comes_back_as_it_was() {
    let event = event();
    let read = write(&event, &["customer:5", "vip"], None);
    assert_eq!((read.position(), read.revision()), (Position(41), Revision(u64::MAX)));
    assert_eq!((read.stream(), read.type_name(), read.id()), ("account-1", "MoneyDeposited", event.id()));
    assert_eq!((read.recorded_ms(), read.tags().collect::<Vec<_>>()), (5, vec!["customer:5", "vip"]));
    assert_eq!(read.data().as_ref(), event.data());
    // Kafka's headers hold text: a number comes back as its digits.
    assert_eq!(read.event().unwrap(), kafka::decode(&kafka::encode(&event)).unwrap());
}

#[test]
fn headers_are_those_of_the_kafka_binding() {
    let event = event();
    let read = write(&event, &[], None);
    let expected: Vec<_> = kafka::encode(&event)
        .headers
        .into_iter()
        .map(|h| (h.name.into_bytes(), h.value.unwrap().to_vec()))
        .collect();
    let found: Vec<_> =
        read.headers().map(|(name, value)| (name.to_vec(), value.unwrap().to_vec())).collect();
    assert_eq!(found[..expected.len()], expected);
    assert_eq!(found[expected.len()].0, REVISION_HEADER.as_bytes());
    assert_eq!(found[expected.len()].1, b"18446744073709551615");
}

#[test]
fn sealed_data_is_opened_or_gone() {
    let sealed = Sealed { key: "k1".into(), data: Bytes::from_static(b"xyz") };
    let mut read = write(&event(), &[], Some(&sealed));
    assert_eq!((read.encryption_key(), read.stored_data().unwrap()), (Some("k1"), sealed.data));
    read.open(Some(Bytes::from_static(b"{}")));
    assert_eq!(read.data().unwrap(), "{}");
    read.open(None);
    assert!(read.is_shredded() && read.data().is_none());
    assert_eq!(read.event().unwrap().data(), None);
}

#[test]
fn damaged_bytes_are_errors() {
    let mut writer = RecordWriter::default();
    writer.push("account-0", &event(), &[], None);
    let body = writer.finish([7].into_iter());
    for cut in 0..body.len() {
        let records = Records::new(Bytes::copy_from_slice(&body[..cut]), Position(0), 0, 1);
        assert!(records.map(Result::unwrap_err).count() == 1, "cut at {cut}");
    }
    for at in 0..body.len() {
        let mut flipped = body.clone();
        flipped[at] ^= 0xff;
        // Whatever comes out, nothing panics.
        for record in Records::new(flipped.into(), Position(0), 0, 1).flatten() {
            let _ = (record.event(), record.tags().count(), record.stream().len());
        }
    }
}
