//! Arguments, headers and properties as JSON, and back.
//!
//! Source: RabbitMQ's management API: whole numbers become 64-bit ones, texts texts; what JSON cannot say (times, bytes) is
//! shown as a number or as text.

use annals_broker::api::queues::{Deaths, Headers, Message, Properties, Text, Value};
use serde_json::{Map, Number, Value as Json, json};

use super::error::ApiError;

/// How deep tables and lists may lie in each other.
const DEPTH_MAX: usize = 16;

/// A table as an object. Of a name that comes twice, the last value is shown.
pub(super) fn to_json(table: &Headers) -> Json {
    Json::Object(table.iter().map(|(name, value)| (name.to_string(), value_to_json(value))).collect())
}

fn value_to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::F32(number) => json!(number),
        Value::F64(number) => json!(number),
        Value::Decimal { scale, unscaled } => json!(f64::from(*unscaled) / 10_f64.powi((*scale).into())),
        Value::Text(text) => json!(text.as_str()),
        Value::Binary(bytes) => json!(String::from_utf8_lossy(bytes)),
        Value::Timestamp(seconds) | Value::U64(seconds) => json!(seconds),
        Value::List(values) => values.iter().map(value_to_json).collect(),
        Value::Table(table) => to_json(table),
        number => number.as_i64().map_or(Json::Null, |number| json!(number)),
    }
}

/// An object as a table. Nothing at all is a table without entries.
///
/// # Errors
/// If it is something else, or too deep.
pub(super) fn from_json(value: &Json) -> Result<Headers, ApiError> {
    match value {
        Json::Null => Ok(Headers::new()),
        // Some clients write an empty table as an empty list, which Erlang cannot tell apart.
        Json::Array(list) if list.is_empty() => Ok(Headers::new()),
        Json::Object(object) => table_from_json(object, 0),
        _ => Err(ApiError::bad_request("arguments have to be an object")),
    }
}

fn table_from_json(object: &Map<String, Json>, depth: usize) -> Result<Headers, ApiError> {
    let entries = object.iter().map(|(name, value)| {
        if name.len() > 255 {
            return Err(ApiError::bad_request("a name has more than 255 bytes"));
        }
        Ok((Text::from(name.as_str()), value_from_json(value, depth + 1)?))
    });
    entries.collect::<Result<Vec<_>, _>>().map(Headers)
}

fn value_from_json(value: &Json, depth: usize) -> Result<Value, ApiError> {
    if depth > DEPTH_MAX {
        return Err(ApiError::bad_request("tables lie too deep in each other"));
    }
    Ok(match value {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => number_from_json(number),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(list) => {
            let values = list.iter().map(|value| value_from_json(value, depth + 1));
            Value::List(values.collect::<Result<_, _>>()?)
        }
        Json::Object(object) => Value::Table(table_from_json(object, depth)?),
    })
}

fn number_from_json(number: &Number) -> Value {
    number.as_i64().map_or_else(|| Value::F64(number.as_f64().unwrap_or(f64::NAN)), Value::I64)
}

/// What a message carries beside its body, with the history of its deaths among the headers. Without any, RabbitMQ
/// writes an empty list.
pub(super) fn properties_to_json(message: &Message) -> Json {
    let none = Properties::default();
    let properties = message.properties.as_deref().unwrap_or(&none);
    let texts = [
        ("content_type", &properties.content_type),
        ("content_encoding", &properties.content_encoding),
        ("correlation_id", &properties.correlation_id),
        ("reply_to", &properties.reply_to),
        ("expiration", &properties.expiration),
        ("message_id", &properties.message_id),
        ("type", &properties.kind),
        ("user_id", &properties.user_id),
        ("app_id", &properties.app_id),
        ("cluster_id", &properties.cluster_id),
    ];
    let mut object: Map<String, Json> = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?.as_str()))))
        .collect();
    let numbers = [
        ("delivery_mode", properties.delivery_mode.map(u64::from)),
        ("priority", properties.priority.map(u64::from)),
        ("timestamp", properties.timestamp),
    ];
    object.extend(numbers.into_iter().filter_map(|(name, number)| Some((name.to_owned(), json!(number?)))));
    let mut headers = to_json(&properties.headers);
    if let (Some(deaths), Json::Object(headers)) = (&message.deaths, &mut headers) {
        add_deaths(deaths, headers);
    }
    if headers.as_object().is_some_and(|headers| !headers.is_empty()) {
        object.insert("headers".to_owned(), headers);
    }
    if object.is_empty() { json!([]) } else { Json::Object(object) }
}

/// The history of dead-lettering as RabbitMQ's headers `x-death` and `x-first-death-…`.
fn add_deaths(deaths: &Deaths, headers: &mut Map<String, Json>) {
    let entries = deaths.entries.iter().map(|death| {
        let keys: Vec<_> = death.routing_keys.iter().map(Text::as_str).collect();
        let mut entry = json!({
            "count": death.count,
            "reason": death.reason.as_str(),
            "queue": death.queue.as_str(),
            "time": death.time_ms / 1000,
            "exchange": death.exchange.as_str(),
            "routing-keys": keys,
        });
        if let Some(expiration) = &death.original_expiration {
            entry["original-expiration"] = json!(expiration.as_str());
        }
        entry
    });
    headers.insert("x-death".to_owned(), entries.collect());
    let (queue, reason, exchange) = &deaths.first;
    headers.insert("x-first-death-queue".to_owned(), json!(queue.as_str()));
    headers.insert("x-first-death-reason".to_owned(), json!(reason.as_str()));
    headers.insert("x-first-death-exchange".to_owned(), json!(exchange.as_str()));
}

/// The properties of a message to be published.
///
/// # Errors
/// If one is of the wrong kind.
pub(super) fn properties_from_json(given: &Json) -> Result<Properties, ApiError> {
    let empty = Map::new();
    let object = match given {
        Json::Object(object) => object,
        Json::Null => &empty,
        Json::Array(list) if list.is_empty() => &empty,
        _ => return Err(ApiError::bad_request("properties have to be an object")),
    };
    let text = |name: &'static str| match object.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if text.len() <= 255 => Ok(Some(Text::from(text.as_str()))),
        Some(_) => Err(ApiError::bad_request(json!(["not_string", name]))),
    };
    let headers = from_json(object.get("headers").unwrap_or(&Json::Null))?;
    let empty_headers = object.get("headers").is_some_and(Json::is_object) && headers.is_empty();
    Ok(Properties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers,
        empty_headers,
        delivery_mode: small(object, "delivery_mode")?,
        priority: small(object, "priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: number(object, "timestamp")?,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
        subject: None,
    })
}

/// A number, which may be written as text.
fn number(object: &Map<String, Json>, name: &'static str) -> Result<Option<u64>, ApiError> {
    let number = match object.get(name) {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    };
    number.map(Some).ok_or_else(|| ApiError::bad_request(json!(["not_int", name])))
}

fn small(object: &Map<String, Json>, name: &'static str) -> Result<Option<u8>, ApiError> {
    let number = number(object, name)?;
    let small = number.map(u8::try_from).transpose();
    small.map_err(|_| ApiError::bad_request(json!(["not_int", name])))
}

/// A truth value, which may be written as text.
///
/// # Errors
/// If it is neither.
pub(super) fn truth(object: &Json, name: &'static str, otherwise: bool) -> Result<bool, ApiError> {
    match &object[name] {
        Json::Null => Ok(otherwise),
        Json::Bool(truth) => Ok(*truth),
        Json::String(text) if text == "true" => Ok(true),
        Json::String(text) if text == "false" => Ok(false),
        _ => Err(ApiError::bad_request(json!(["not_boolean", name]))),
    }
}

#[cfg(test)]
mod tests {
    use annals_broker::api::queues::{Death, DeathReason};

    use super::*;

    #[test]
    fn arguments_come_back_as_they_went() {
        let given =
            json!({"x-max-length": 10, "f": 0.5, "t": "x", "b": true, "l": [1, {"d": null}], "o": {}});
        let table = from_json(&given).unwrap();
        assert_eq!(table.get("x-max-length"), Some(&Value::I64(10)));
        assert_eq!(to_json(&table), given);
        assert_eq!(from_json(&json!([])).unwrap(), Headers::new());
        assert!(from_json(&json!([1])).is_err() && from_json(&json!("x")).is_err());
        let deep = (0..DEPTH_MAX + 1).fold(json!({}), |inner, _| json!({ "in": inner }));
        assert!(from_json(&deep).is_err());
    }

    #[test]
    fn properties_are_checked_and_come_back() {
        let given = json!({
            "content_type": "text/plain", "delivery_mode": "2", "timestamp": 5, "headers": {"h": 1}, "type": "t",
        });
        let properties = properties_from_json(&given).unwrap();
        assert_eq!((properties.delivery_mode, properties.timestamp), (Some(2), Some(5)));
        let message = Message { properties: Some(Box::new(properties)), ..Message::default() };
        let expected = json!({
            "content_type": "text/plain", "delivery_mode": 2, "timestamp": 5, "headers": {"h": 1}, "type": "t",
        });
        assert_eq!(properties_to_json(&message), expected);
        assert_eq!(properties_to_json(&Message::default()), json!([]));
        let refused = properties_from_json(&json!({"delivery_mode": "x"})).unwrap_err();
        assert_eq!(refused, ApiError::bad_request(json!(["not_int", "delivery_mode"])));
        assert!(properties_from_json(&json!({"priority": 256})).is_err());
        assert!(properties_from_json(&json!({"reply_to": 1})).is_err());
    }

    #[test]
    fn the_history_of_a_dead_letter_is_among_its_headers() {
        let death = Death {
            queue: "q".into(),
            reason: DeathReason::Rejected,
            count: 2,
            exchange: "x".into(),
            routing_keys: vec!["k".into()],
            time_ms: 5_000,
            original_expiration: None,
        };
        let message = Message { deaths: Some(Box::new(Deaths::record(None, death))), ..Message::default() };
        let expected = json!({"headers": {
            "x-death": [{
                "count": 2, "reason": "rejected", "queue": "q", "time": 5, "exchange": "x", "routing-keys": ["k"],
            }],
            "x-first-death-queue": "q", "x-first-death-reason": "rejected", "x-first-death-exchange": "x",
        }});
        assert_eq!(properties_to_json(&message), expected);
    }
}
