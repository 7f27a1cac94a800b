//! How a message is stored: everything but body, routing key and time, which have their own places in a record.
//!
//! The first byte is the version, 1. A number of flags follows, then what they announce, in their order.

use bytes::Bytes;

use crate::codec::{DecodeError, Reader, Writer};
use crate::message::{Death, DeathReason, Deaths};
use crate::{Message, Properties, Text, TimestampMs};

const VERSION: u8 = 1;

const PERSISTENT: u64 = 1;
const PRIORITY: u64 = 1 << 1;
const TTL: u64 = 1 << 2;
const DUE: u64 = 1 << 3;
const GROUP: u64 = 1 << 4;
const IDENTITY: u64 = 1 << 5;
const PROPERTIES: u64 = 1 << 6;
const DEATHS: u64 = 1 << 7;
const FLAGS_KNOWN: u64 = (1 << 8) - 1;

/// Flags of the properties, in the order in which they follow.
const HEADERS: u64 = 1 << 2;
const DELIVERY_MODE: u64 = 1 << 3;
const PRIORITY_AS_WRITTEN: u64 = 1 << 4;
const TIMESTAMP: u64 = 1 << 9;
const PROPERTIES_KNOWN: u64 = (1 << 15) - 1;

/// Encodes what a record's header holds of `message`.
pub fn encode(message: &Message) -> Bytes {
    let mut out = Writer::start(VERSION);
    out.number(flags(message)).text(&message.exchange);
    if message.priority > 0 {
        out.byte(message.priority);
    }
    if let Some(ttl_ms) = message.ttl_ms {
        out.number(ttl_ms);
    }
    if let Some(due_ms) = message.due_ms {
        out.signed(due_ms);
    }
    for text in [&message.group, &message.identity].into_iter().flatten() {
        out.text(text);
    }
    if let Some(properties) = &message.properties {
        put_properties(&mut out, properties);
    }
    if let Some(deaths) = &message.deaths {
        put_deaths(&mut out, deaths);
    }
    out.finish()
}

fn flags(message: &Message) -> u64 {
    let flag = |set: bool, flag: u64| if set { flag } else { 0 };
    flag(message.persistent, PERSISTENT)
        | flag(message.priority > 0, PRIORITY)
        | flag(message.ttl_ms.is_some(), TTL)
        | flag(message.due_ms.is_some(), DUE)
        | flag(message.group.is_some(), GROUP)
        | flag(message.identity.is_some(), IDENTITY)
        | flag(message.properties.is_some(), PROPERTIES)
        | flag(message.deaths.is_some(), DEATHS)
}

/// Reads a message back from the parts of its record.
///
/// # Errors
/// [`DecodeError`] if the envelope is not what [`encode`] wrote.
pub fn decode(
    envelope: Bytes,
    routing_key: Bytes,
    body: Bytes,
    published_ms: TimestampMs,
) -> Result<Message, DecodeError> {
    let mut input = Reader::start(envelope, "envelope", VERSION)?;
    let flags = input.number("flags")?;
    if flags & !FLAGS_KNOWN != 0 {
        return Err(DecodeError::Malformed { what: "flags" });
    }
    let has = |flag: u64| flags & flag != 0;
    let message = Message {
        routing_key: routing_key.into(),
        body,
        published_ms,
        persistent: has(PERSISTENT),
        exchange: input.text("exchange")?,
        priority: if has(PRIORITY) { input.byte("priority")? } else { 0 },
        ttl_ms: if has(TTL) { Some(input.number("time to live")?) } else { None },
        due_ms: if has(DUE) { Some(input.signed("due time")?) } else { None },
        group: if has(GROUP) { Some(input.text("group")?) } else { None },
        identity: if has(IDENTITY) { Some(input.text("identity")?) } else { None },
        properties: if has(PROPERTIES) { Some(Box::new(properties(&mut input)?)) } else { None },
        deaths: if has(DEATHS) { Some(Box::new(deaths(&mut input)?)) } else { None },
    };
    input.finish("envelope")?;
    Ok(message)
}

/// The texts among the properties with their flags. Headers, numbers and time stand between them.
fn texts(properties: &Properties) -> [(u64, &Option<Text>); 11] {
    [
        (1, &properties.content_type),
        (1 << 1, &properties.content_encoding),
        (1 << 5, &properties.correlation_id),
        (1 << 6, &properties.reply_to),
        (1 << 7, &properties.expiration),
        (1 << 8, &properties.message_id),
        (1 << 10, &properties.kind),
        (1 << 11, &properties.user_id),
        (1 << 12, &properties.app_id),
        (1 << 13, &properties.cluster_id),
        (1 << 14, &properties.subject),
    ]
}

fn put_properties(out: &mut Writer, properties: &Properties) {
    let mut mask = 0;
    for (flag, text) in texts(properties) {
        mask |= if text.is_some() { flag } else { 0 };
    }
    let has_headers = properties.empty_headers || !properties.headers.is_empty();
    mask |= if has_headers { HEADERS } else { 0 };
    mask |= if properties.delivery_mode.is_some() { DELIVERY_MODE } else { 0 };
    mask |= if properties.priority.is_some() { PRIORITY_AS_WRITTEN } else { 0 };
    mask |= if properties.timestamp.is_some() { TIMESTAMP } else { 0 };
    out.number(mask);
    for (_, text) in texts(properties) {
        if let Some(text) = text {
            out.text(text);
        }
    }
    if has_headers {
        out.headers(&properties.headers);
    }
    for number in [properties.delivery_mode, properties.priority].into_iter().flatten() {
        out.byte(number);
    }
    if let Some(timestamp) = properties.timestamp {
        out.number(timestamp);
    }
}

fn properties(input: &mut Reader) -> Result<Properties, DecodeError> {
    let mask = input.number("properties")?;
    if mask & !PROPERTIES_KNOWN != 0 {
        return Err(DecodeError::Malformed { what: "properties" });
    }
    let has = |flag: u64| mask & flag != 0;
    let mut text = |flag: u64| if has(flag) { input.text("property").map(Some) } else { Ok(None) };
    let mut properties = Properties {
        content_type: text(1)?,
        content_encoding: text(1 << 1)?,
        correlation_id: text(1 << 5)?,
        reply_to: text(1 << 6)?,
        expiration: text(1 << 7)?,
        message_id: text(1 << 8)?,
        kind: text(1 << 10)?,
        user_id: text(1 << 11)?,
        app_id: text(1 << 12)?,
        cluster_id: text(1 << 13)?,
        subject: text(1 << 14)?,
        headers: if has(HEADERS) { input.headers("headers")? } else { Default::default() },
        empty_headers: false,
        delivery_mode: if has(DELIVERY_MODE) { Some(input.byte("delivery mode")?) } else { None },
        priority: if has(PRIORITY_AS_WRITTEN) { Some(input.byte("priority")?) } else { None },
        timestamp: if has(TIMESTAMP) { Some(input.number("timestamp")?) } else { None },
    };
    properties.empty_headers = has(HEADERS) && properties.headers.is_empty();
    Ok(properties)
}

fn put_deaths(out: &mut Writer, deaths: &Deaths) {
    let (queue, reason, exchange) = &deaths.first;
    out.text(queue).byte(*reason as u8).text(exchange).number(deaths.entries.len() as u64);
    for death in &deaths.entries {
        out.text(&death.queue).byte(death.reason as u8).number(death.count).text(&death.exchange);
        out.number(death.routing_keys.len() as u64);
        for key in &death.routing_keys {
            out.text(key);
        }
        out.signed(death.time_ms);
        out.optional(death.original_expiration.as_ref(), |out, text| {
            out.text(text);
        });
    }
}

fn deaths(input: &mut Reader) -> Result<Deaths, DecodeError> {
    let first = (input.text("death")?, reason(input)?, input.text("death")?);
    let count = input.count("deaths", 6)?;
    let entries = (0..count).map(|_| death(input)).collect::<Result<_, _>>()?;
    Ok(Deaths { first, entries })
}

fn death(input: &mut Reader) -> Result<Death, DecodeError> {
    Ok(Death {
        queue: input.text("death")?,
        reason: reason(input)?,
        count: input.number("death")?,
        exchange: input.text("death")?,
        routing_keys: {
            let count = input.count("death", 1)?;
            (0..count).map(|_| input.text("death")).collect::<Result<_, _>>()?
        },
        time_ms: input.signed("death")?,
        original_expiration: input.optional("death", |input| input.text("death"))?,
    })
}

fn reason(input: &mut Reader) -> Result<DeathReason, DecodeError> {
    DeathReason::from_stored(input.byte("reason")?).ok_or(DecodeError::Malformed { what: "reason" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    fn full() -> Message {
        let death = Death {
            queue: "q".into(),
            reason: DeathReason::DeliveryLimit,
            count: 3,
            exchange: "x".into(),
            routing_keys: vec!["a".into(), "b".into()],
            time_ms: 1_700_000_000_000,
            original_expiration: Some("1000".into()),
        };
        let properties = Properties {
            content_type: Some("application/json".into()),
            headers: [("k", Value::I32(1))].into_iter().collect(),
            delivery_mode: Some(2),
            priority: Some(9),
            correlation_id: Some("c".into()),
            timestamp: Some(7),
            subject: Some("s".into()),
            cluster_id: Some("".into()),
            ..Properties::default()
        };
        Message {
            exchange: "orders".into(),
            routing_key: "new".into(),
            properties: Some(Box::new(properties)),
            deaths: Some(Box::new(Deaths::record(None, death))),
            body: Bytes::from_static(b"body"),
            persistent: true,
            priority: 9,
            published_ms: 42,
            ttl_ms: Some(60_000),
            due_ms: Some(50),
            group: Some("g".into()),
            identity: Some("i".into()),
        }
    }

    fn round_trip(message: &Message) -> Message {
        let (key, body) = (message.routing_key.bytes().clone(), message.body.clone());
        decode(encode(message), key, body, message.published_ms).unwrap()
    }

    #[test]
    fn messages_come_back_as_they_were() {
        assert_eq!(round_trip(&full()), full());
        assert_eq!(round_trip(&Message::default()), Message::default());
        let properties = Properties { empty_headers: true, ..Properties::default() };
        let message = Message { properties: Some(Box::new(properties)), ..Message::default() };
        assert_eq!(round_trip(&message), message);
    }

    #[test]
    fn a_plain_message_costs_three_bytes_and_its_exchange() {
        let message = Message { exchange: "ex".into(), persistent: true, ..Message::default() };
        assert_eq!(encode(&message).len(), 5);
    }

    #[test]
    fn damage_is_an_error_not_a_panic() {
        let bytes = encode(&full());
        for end in 0..bytes.len() {
            assert!(decode(bytes.slice(..end), Bytes::new(), Bytes::new(), 0).is_err(), "cut at {end}");
        }
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[place] ^= 1 << bit;
                let _ = decode(changed.into(), Bytes::new(), Bytes::new(), 0);
            }
        }
    }
}
