//! Between the wire's values and messages and the broker's.
//!
//! Both ways without loss: the kinds of values correspond one to one, and the texts of properties are shared, not copied.
//! On the way out a message carries its history as `x-death` and RabbitMQ's `x-first-death-…`. On the way in those are
//! headers like others: the broker's count begins anew with each publish, as in RabbitMQ 4.
//!
//! Source: RabbitMQ's documentation of dead lettering, sender-selected distribution (`CC`, `BCC`), streams
//! (`x-stream-offset`) and poison messages (`x-delivery-count`).

use std::sync::Arc;

use annals_broker::api::queues::properties::{expiration_ms, take_keys};
use annals_broker::api::queues::publish::NewMessage;
use annals_broker::api::queues::{
    Deaths, Headers, Message, Properties as Stored, Text as Name, Value as StoredValue,
};
use bytes::{Bytes, BytesMut};

use super::Deliverable;
use crate::channel::effect::Publish;
use crate::reply::{Exception, precondition_failed, syntax_error};
use crate::wire::properties::{PERSISTENT, Properties};
use crate::wire::table::Table;
use crate::wire::text::Text;
use crate::wire::value::Value;

/// The wire's name, shared.
pub(crate) fn name(text: &Text) -> Name {
    Name::from(text.bytes().clone())
}

/// The wire's table as the broker keeps it.
pub(crate) fn headers(table: &Table) -> Headers {
    Headers(table.entries().map(|(key, value)| (name(&key), value_from_wire(&value))).collect())
}

/// The broker's headers as the wire has them.
fn table(headers: &Headers) -> Table {
    Table::from_pairs(headers.iter().map(|(name, value)| (name.as_bytes(), value_to_wire(value))))
}

/// The wire's value as the broker keeps it.
pub(super) fn value_from_wire(value: &Value) -> StoredValue {
    match value {
        Value::Bool(truth) => StoredValue::Bool(*truth),
        Value::I8(number) => StoredValue::I8(*number),
        Value::U8(number) => StoredValue::U8(*number),
        Value::I16(number) => StoredValue::I16(*number),
        Value::U16(number) => StoredValue::U16(*number),
        Value::I32(number) => StoredValue::I32(*number),
        Value::U32(number) => StoredValue::U32(*number),
        Value::I64(number) => StoredValue::I64(*number),
        Value::F32(number) => StoredValue::F32(*number),
        Value::F64(number) => StoredValue::F64(*number),
        Value::Decimal(scale, unscaled) => StoredValue::Decimal { scale: *scale, unscaled: *unscaled },
        Value::LongString(bytes) => StoredValue::Text(bytes.clone().into()),
        Value::Array(_) => {
            let elements = value.elements().unwrap_or_default();
            StoredValue::List(elements.iter().map(value_from_wire).collect())
        }
        Value::Timestamp(seconds) => StoredValue::Timestamp(*seconds),
        Value::Table(inner) => StoredValue::Table(headers(inner)),
        Value::Bytes(bytes) => StoredValue::Binary(bytes.clone()),
        Value::Void => StoredValue::Null,
    }
}

/// The broker's value as the wire has it. What only other protocols know becomes what comes closest.
pub(super) fn value_to_wire(value: &StoredValue) -> Value {
    match value {
        StoredValue::Null => Value::Void,
        StoredValue::Bool(truth) => Value::Bool(*truth),
        StoredValue::I8(number) => Value::I8(*number),
        StoredValue::U8(number) => Value::U8(*number),
        StoredValue::I16(number) => Value::I16(*number),
        StoredValue::U16(number) => Value::U16(*number),
        StoredValue::I32(number) => Value::I32(*number),
        StoredValue::U32(number) => Value::U32(*number),
        StoredValue::I64(number) => Value::I64(*number),
        StoredValue::U64(number) => Value::I64(i64::try_from(*number).unwrap_or(i64::MAX)),
        StoredValue::F32(number) => Value::F32(*number),
        StoredValue::F64(number) => Value::F64(*number),
        StoredValue::Decimal { scale, unscaled } => Value::Decimal(*scale, *unscaled),
        StoredValue::Text(text) => Value::LongString(text.bytes().clone()),
        StoredValue::Binary(bytes) => Value::Bytes(bytes.clone()),
        StoredValue::Timestamp(seconds) => Value::Timestamp(*seconds),
        StoredValue::TimestampMs(ms) => Value::Timestamp(u64::try_from(ms / 1000).unwrap_or(0)),
        StoredValue::List(values) => Value::array(values.iter().map(value_to_wire)),
        StoredValue::Table(inner) => Value::Table(table(inner)),
    }
}

/// The message of a publish.
pub(super) fn message(publish: &Publish) -> Result<NewMessage, Exception> {
    let bytes = &publish.content.properties;
    let read = Properties::read(bytes).map_err(|error| syntax_error(error.to_string()))?;
    let mut message = Message {
        exchange: name(&publish.exchange),
        routing_key: name(&publish.routing_key),
        body: publish.content.body.clone(),
        persistent: read.is_persistent(),
        priority: read.priority.unwrap_or(0),
        ttl_ms: read.expiration.and_then(|text| expiration_ms(text).ok()),
        ..Message::default()
    };
    let mut more_keys = Vec::new();
    if let Some(mut properties) = properties(&read, bytes, publish) {
        more_keys =
            take_keys(&mut properties.headers).map_err(|error| precondition_failed(error.to_string()))?;
        message.properties = Some(Box::new(properties));
    }
    Ok(NewMessage { message, more_keys })
}

/// What a message carries; `None` if there is nothing but its delivery mode, which the message says itself.
fn properties(read: &Properties<'_>, bytes: &Bytes, publish: &Publish) -> Option<Stored> {
    let plain = Properties { delivery_mode: read.delivery_mode, ..Properties::default() };
    if *read == plain && matches!(read.delivery_mode, None | Some(2)) {
        return None;
    }
    let share = |text: Option<&[u8]>| text.map(|text| Name::from(bytes.slice_ref(text)));
    let headers = headers(&read.headers_of(bytes));
    Some(Stored {
        content_type: share(read.content_type),
        content_encoding: share(read.content_encoding),
        empty_headers: read.headers.is_some() && headers.is_empty(),
        headers,
        delivery_mode: read.delivery_mode,
        priority: read.priority,
        correlation_id: share(read.correlation_id),
        reply_to: publish.reply_to.as_ref().map(name).or_else(|| share(read.reply_to)),
        expiration: share(read.expiration),
        message_id: share(read.message_id),
        timestamp: read.timestamp,
        kind: share(read.kind),
        user_id: share(read.user_id),
        app_id: share(read.app_id),
        cluster_id: share(read.cluster_id),
        subject: None,
    })
}

/// A message of the broker's on its way to a client.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(super) message: Arc<Message>,
    pub(super) redelivered: bool,
    /// How often it came back, where that is counted.
    pub(super) delivery_count: u32,
    /// Its place, in a stream.
    pub(super) stream_offset: Option<u64>,
}

impl Deliverable for Outgoing {
    fn exchange(&self) -> &[u8] {
        self.message.exchange.as_bytes()
    }

    fn routing_key(&self) -> &[u8] {
        self.message.routing_key.as_bytes()
    }

    fn body(&self) -> &Bytes {
        &self.message.body
    }

    fn redelivered(&self) -> bool {
        self.redelivered
    }

    fn put_properties(&self, out: &mut BytesMut) {
        let Some(stored) = &self.message.properties else { return self.put_plain(out) };
        let table = self.headers(&stored.headers);
        let properties = Properties {
            content_type: bytes_of(&stored.content_type),
            content_encoding: bytes_of(&stored.content_encoding),
            headers: (stored.empty_headers || !table.is_empty()).then(|| &table.as_bytes()[..]),
            delivery_mode: stored.delivery_mode,
            priority: stored.priority,
            correlation_id: bytes_of(&stored.correlation_id),
            reply_to: bytes_of(&stored.reply_to),
            expiration: bytes_of(&stored.expiration),
            message_id: bytes_of(&stored.message_id),
            timestamp: stored.timestamp,
            kind: bytes_of(&stored.kind),
            user_id: bytes_of(&stored.user_id),
            app_id: bytes_of(&stored.app_id),
            cluster_id: bytes_of(&stored.cluster_id),
        };
        properties.write(out);
    }
}

fn bytes_of(text: &Option<Name>) -> Option<&[u8]> {
    text.as_ref().map(Name::as_bytes)
}

impl Outgoing {
    /// The properties of a message that carries nothing of its own.
    fn put_plain(&self, out: &mut BytesMut) {
        let table = self.headers(&Headers::new());
        let properties = Properties {
            headers: (!table.is_empty()).then(|| &table.as_bytes()[..]),
            delivery_mode: self.message.persistent.then_some(PERSISTENT),
            ..Properties::default()
        };
        properties.write(out);
    }

    /// The message's own headers, its history, and how often it came back.
    fn headers(&self, own: &Headers) -> Table {
        let mut added = Vec::new();
        if let Some(deaths) = &self.message.deaths {
            add_deaths(deaths, &mut added);
        }
        if self.delivery_count > 0 {
            added.push(("x-delivery-count", Value::I64(self.delivery_count.into())));
        }
        if let Some(offset) = self.stream_offset {
            added.push(("x-stream-offset", Value::I64(i64::try_from(offset).unwrap_or(i64::MAX))));
        }
        if added.is_empty() {
            return table(own);
        }
        let changes: Vec<_> = added.into_iter().map(|(name, value)| (name, Some(value))).collect();
        table(own).with(&changes)
    }
}

/// The history as RabbitMQ writes it.
fn add_deaths(deaths: &Deaths, headers: &mut Vec<(&'static str, Value)>) {
    let text = |name: &Name| Value::LongString(name.bytes().clone());
    let entries = deaths.entries.iter().map(|death| {
        let keys = Value::array(death.routing_keys.iter().map(text));
        let mut fields = vec![
            ("count", Value::I64(i64::try_from(death.count).unwrap_or(i64::MAX))),
            ("reason", Value::string(death.reason.as_str())),
            ("queue", text(&death.queue)),
            ("time", Value::Timestamp(u64::try_from(death.time_ms / 1000).unwrap_or(0))),
            ("exchange", text(&death.exchange)),
            ("routing-keys", keys),
        ];
        let expiration = death.original_expiration.as_ref();
        fields.extend(expiration.map(|expiration| ("original-expiration", text(expiration))));
        Value::Table(Table::from_entries(fields))
    });
    headers.push(("x-death", Value::array(entries)));
    let (queue, reason, exchange) = &deaths.first;
    headers.push(("x-first-death-exchange", text(exchange)));
    headers.push(("x-first-death-queue", text(queue)));
    headers.push(("x-first-death-reason", Value::string(reason.as_str())));
    if let Some(last) = deaths.entries.first() {
        headers.push(("x-last-death-exchange", text(&last.exchange)));
        headers.push(("x-last-death-queue", text(&last.queue)));
        headers.push(("x-last-death-reason", Value::string(last.reason.as_str())));
    }
}

#[cfg(test)]
mod tests {
    use annals_broker::api::queues::{Death, DeathReason};

    use super::*;
    use crate::wire::outbound::Content;

    fn publish(properties: &Properties<'_>) -> Publish {
        let mut bytes = BytesMut::new();
        properties.write(&mut bytes);
        Publish {
            number: None,
            mandatory: false,
            exchange: "x".into(),
            routing_key: "k".into(),
            content: Content { properties: bytes.freeze(), body: "body".into() },
            reply_to: None,
        }
    }

    fn written(message: Message, delivery_count: u32) -> Bytes {
        let outgoing =
            Outgoing { message: Arc::new(message), redelivered: false, delivery_count, stream_offset: None };
        let mut out = BytesMut::new();
        outgoing.put_properties(&mut out);
        out.freeze()
    }

    fn headers_in(bytes: &Bytes) -> Table {
        Properties::read(bytes).expect("well formed").headers_of(bytes)
    }

    #[test]
    fn properties_go_in_and_come_out_to_the_byte() {
        let inner =
            Table::from_entries([("a", Value::array([Value::Void, Value::I8(-1), Value::Bool(true)]))]);
        let headers = Table::from_entries([
            ("k", Value::I32(1)),
            ("k", Value::string("again")),
            ("t", Value::Table(inner)),
            ("T", Value::Timestamp(5)),
            ("D", Value::Decimal(2, -7)),
            ("x", Value::Bytes(Bytes::from_static(b"\xff"))),
            ("d", Value::F64(0.5)),
        ]);
        let none = Table::default();
        let empty = Properties { headers: Some(none.as_bytes()), ..Properties::default() };
        let all = Properties {
            content_type: Some(b"text/plain"),
            headers: Some(headers.as_bytes()),
            delivery_mode: Some(2),
            priority: Some(7),
            correlation_id: Some(b"\xff\x00"),
            reply_to: Some(b"r"),
            expiration: Some(b"60000"),
            timestamp: Some(9),
            cluster_id: Some(b"c"),
            ..Properties::default()
        };
        for properties in
            [all, empty, Properties::default(), Properties { delivery_mode: Some(2), ..Default::default() }]
        {
            let publish = publish(&properties);
            let new = message(&publish).expect("well formed");
            assert_eq!(written(new.message, 0), publish.content.properties);
        }
        let message = message(&publish(&all)).expect("well formed").message;
        assert!(message.persistent);
        assert_eq!((message.priority, message.ttl_ms), (7, Some(60_000)));
    }

    #[test]
    fn the_body_and_the_texts_are_shared() {
        let publish = publish(&Properties { reply_to: Some(b"address"), ..Default::default() });
        let message = message(&publish).expect("well formed").message;
        assert_eq!(message.body.as_ptr(), publish.content.body.as_ptr());
        let reply_to = message.properties.and_then(|properties| properties.reply_to).expect("there");
        let within = publish.content.properties.as_ptr_range();
        assert!(within.contains(&reply_to.as_bytes().as_ptr()));
    }

    #[test]
    fn further_keys_are_found_and_blind_ones_hidden() {
        let keys = |keys: &[&str]| Value::array(keys.iter().map(|key| Value::string(key)));
        let headers =
            Table::from_entries([("CC", keys(&["a", "b"])), ("BCC", keys(&["c"])), ("h", Value::Void)]);
        let new = message(&publish(&Properties { headers: Some(headers.as_bytes()), ..Default::default() }));
        let new = new.expect("well formed");
        assert_eq!(new.more_keys, ["a", "b", "c"].map(Name::from));
        let seen = headers_in(&written(new.message, 0));
        assert!(seen.get("CC").is_some() && seen.get("BCC").is_none() && seen.get("h").is_some());
        let headers = Table::from_entries([("CC", Value::I32(1))]);
        let wrong =
            message(&publish(&Properties { headers: Some(headers.as_bytes()), ..Default::default() }));
        assert_eq!(
            wrong.expect_err("not a list").to_string(),
            "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",signedint}"
        );
    }

    #[test]
    fn history_and_counts_become_headers() {
        let death = Death {
            queue: "q".into(),
            reason: DeathReason::Expired,
            count: 2,
            exchange: "x".into(),
            routing_keys: vec!["k".into()],
            time_ms: 5_000,
            original_expiration: Some("100".into()),
        };
        let message = Message { deaths: Some(Box::new(Deaths::record(None, death))), ..Message::default() };
        let headers = headers_in(&written(message, 3));
        assert_eq!(headers.get("x-delivery-count"), Some(Value::I64(3)));
        assert_eq!(headers.get_string("x-first-death-reason").as_deref(), Some("expired"));
        assert_eq!(headers.get_string("x-first-death-queue").as_deref(), Some("q"));
        let deaths = headers.get("x-death").and_then(|deaths| deaths.elements()).expect("a list");
        let [Value::Table(death)] = &deaths[..] else { panic!("one table") };
        assert_eq!(death.get("count"), Some(Value::I64(2)));
        assert_eq!(death.get("time"), Some(Value::Timestamp(5)));
        assert_eq!(death.get_string("original-expiration").as_deref(), Some("100"));
    }
}
