//! The arguments of queues and exchanges: what RabbitMQ's `x-…` mean to the broker, and what is wrong with them.
//!
//! What an argument says is read once, here, and handed on as options; the table itself is kept as it came, to be shown and
//! compared. Reasons are written as RabbitMQ writes them, which is as Erlang writes terms.
//!
//! `x-queue-type` takes `classic` and `quorum`, which are the same here, but for the delivery limit that quorum queues have
//! unless told otherwise, and `stream`, which is a log. Arguments that only concern how RabbitMQ stores or replicates are
//! accepted and mean nothing.
//!
//! Exchanges take three arguments of our own: `x-annals-topic` names a topic that gets what passes the exchange,
//! `x-annals-source-topic` one whose records pass it, and `x-annals-source-offset` says from where it is read, as
//! `x-stream-offset` does.
//!
//! Source: RabbitMQ's documentation of queues, TTL, length limits, dead lettering, priorities, quorum queues and streams.

use super::{
    DeadLetter, ExchangeKind, Headers, LogStart, Overflow, QueueOptions, StreamOptions, Text, TopicSource,
    Value,
};

/// How often a message of a quorum queue may come back, unless the queue says otherwise.
const QUORUM_DELIVERY_LIMIT: u32 = 20;

/// The longest time to live of messages and queues, in milliseconds: ten years, as in RabbitMQ.
pub const EXPIRY_MS_MAX: u64 = 10 * 365 * 24 * 60 * 60 * 1000;

/// The type of an exchange that holds messages back.
pub(super) const DELAYED: &str = "x-delayed-message";

/// An argument that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// It has a value that it cannot have.
    #[error("invalid arg '{name}': {reason}")]
    Value {
        /// Its name.
        name: String,
        /// What is wrong with it, as RabbitMQ writes it.
        reason: String,
    },
    /// Queues of other types have it.
    #[error("invalid arg '{name}' of queue type {kind}")]
    NotOfType {
        /// Its name.
        name: String,
        /// The type, as RabbitMQ names it in its errors.
        kind: &'static str,
    },
}

impl ArgumentError {
    fn value(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Value { name: name.into(), reason: reason.into() }
    }
}

/// An exchange of a type that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// There is no such type.
    #[error("unknown exchange type '{0}'")]
    Unknown(String),
    /// An exchange that holds messages back has to say what it is otherwise.
    #[error("Invalid argument, 'x-delayed-type' must be an existing exchange type")]
    DelayedType,
}

/// Arguments that are compared when a queue is declared again.
pub(super) const COMPARED: [&str; 13] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-single-active-consumer",
    "x-queue-type",
    "x-delivery-limit",
    "x-max-age",
];

/// Arguments of streams only.
const OF_STREAMS: [&str; 3] = ["x-max-age", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes"];

/// Arguments of every queue that is no stream.
const NOT_OF_STREAMS: [&str; 11] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-dead-letter-strategy",
];

/// What `x-queue-type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum QueueType {
    #[default]
    Classic,
    Quorum,
    Stream,
}

impl QueueType {
    /// As RabbitMQ names it in its errors.
    fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
            Self::Stream => "rabbit_stream_queue",
        }
    }
}

/// Reads the arguments of a queue.
///
/// # Errors
/// [`ArgumentError`] for the first that cannot be accepted.
pub fn queue_options(arguments: &Headers) -> Result<QueueOptions, ArgumentError> {
    let mut options = QueueOptions::default();
    let mut dead_letter: Option<Text> = None;
    let mut routing_key: Option<Text> = None;
    let mut age_ms_max: Option<u64> = None;
    let kind = kind_of(arguments)?;
    for (name, value) in arguments {
        let set = match &*name.as_str() {
            "x-expires" => expiry(value, 1).map(|ms| options.expires_ms = Some(ms)),
            "x-message-ttl" => expiry(value, 0).map(|ms| options.ttl_ms = Some(ms)),
            "x-max-length" => natural(value).map(|count| options.length_max = Some(count)),
            "x-max-length-bytes" => natural(value).map(|bytes| options.bytes_max = Some(bytes)),
            "x-max-priority" => priority(value).map(|priority| options.priority_max = priority),
            "x-overflow" => overflow(value).map(|overflow| options.overflow = overflow),
            "x-dead-letter-exchange" => text(value).map(|exchange| dead_letter = Some(exchange)),
            "x-dead-letter-routing-key" => text(value).map(|key| routing_key = Some(key)),
            "x-single-active-consumer" => truth(value).map(|single| options.single_active_consumer = single),
            "x-delivery-limit" => limit(value).map(|limit| options.delivery_limit = limit),
            "x-max-age" => age(value).map(|ms| age_ms_max = Some(ms)),
            "x-stream-max-segment-size-bytes" => natural(value).map(drop),
            "x-queue-mode" => queue_mode(value),
            "x-queue-version" => queue_version(value),
            "x-dead-letter-strategy" => dead_letter_strategy(value),
            _ => Ok(()),
        };
        set.map_err(|reason| ArgumentError::value(name.to_string(), reason))?;
    }
    if routing_key.is_some() && dead_letter.is_none() {
        return Err(ArgumentError::value("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
    }
    if kind == QueueType::Stream {
        let stream = StreamOptions { age_ms_max, bytes_max: options.bytes_max, adopts: false };
        return Ok(QueueOptions { stream: Some(stream), ..QueueOptions::default() });
    }
    options.dead_letter = dead_letter.map(|exchange| DeadLetter { exchange, routing_key });
    if kind == QueueType::Quorum && arguments.get("x-delivery-limit").is_none() {
        options.delivery_limit = Some(QUORUM_DELIVERY_LIMIT);
    }
    Ok(options)
}

/// How long a queue and its use last, as it is declared.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it is of one connection.
    pub exclusive: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
}

/// The property that a queue cannot have by its type, as RabbitMQ calls it: quorum queues and streams are shared, durable,
/// and stay.
pub fn impossible_property(arguments: &Headers, lifetime: Lifetime) -> Option<&'static str> {
    named_by_clients(arguments)?;
    let properties = [
        (lifetime.auto_delete, "auto-delete"),
        (lifetime.exclusive, "exclusive-owner"),
        (!lifetime.durable, "non-durable"),
    ];
    properties.into_iter().find_map(|(is_set, property)| is_set.then_some(property))
}

/// The type of a queue whose name the server cannot choose, as RabbitMQ calls it. `None` if it can.
pub fn named_by_clients(arguments: &Headers) -> Option<&'static str> {
    declared_type(arguments).ok().filter(|kind| *kind != QueueType::Classic).map(QueueType::module)
}

/// Reads the priority of a consumer, and checks its other arguments.
///
/// # Errors
/// [`ArgumentError`] for the first that cannot be accepted.
pub fn consumer_priority(arguments: &Headers) -> Result<i32, ArgumentError> {
    let mut priority = 0;
    for (name, value) in arguments {
        let set = match &*name.as_str() {
            "x-priority" => integer(value).map(|number| priority = number),
            "x-cancel-on-ha-failover" => truth(value).map(drop),
            _ => Ok(()),
        };
        set.map_err(|reason| ArgumentError::value(name.to_string(), reason))?;
    }
    let bounded = priority.clamp(i32::MIN.into(), i32::MAX.into());
    Ok(i32::try_from(bounded).unwrap_or(0))
}

/// Checks what a binding to an exchange of the type `headers` says about how to match.
///
/// # Errors
/// What is wrong with it, as RabbitMQ writes it.
pub fn check_match(arguments: &Headers) -> Result<(), String> {
    let Some(value) = arguments.get("x-match") else { return Ok(()) };
    match value.as_text().map(Text::as_str).as_deref() {
        Some("all" | "any" | "all-with-x" | "any-with-x") => Ok(()),
        Some(other) => Err(format!(
            "Invalid x-match field value <<\"{other}\">>; expected all, any, all-with-x, or any-with-x"
        )),
        None => {
            let (kind, value) = (type_name(value), super::difference::shown(value));
            Err(format!("Invalid x-match field type {kind} (value {value}); expected longstr"))
        }
    }
}

/// The type of a queue. Arguments that only queues of other types have are refused.
fn kind_of(arguments: &Headers) -> Result<QueueType, ArgumentError> {
    let kind = declared_type(arguments).map_err(|reason| ArgumentError::value("x-queue-type", reason))?;
    let foreign = if kind == QueueType::Stream { &NOT_OF_STREAMS[..] } else { &OF_STREAMS };
    match arguments.iter().find(|(name, _)| foreign.iter().any(|foreign| name == foreign)) {
        Some((name, _)) => Err(ArgumentError::NotOfType { name: name.to_string(), kind: kind.module() }),
        None => Ok(kind),
    }
}

fn declared_type(arguments: &Headers) -> Result<QueueType, String> {
    arguments.get("x-queue-type").map_or(Ok(QueueType::Classic), queue_type)
}

/// The topics that an exchange is joined to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joined {
    /// The topic that gets what passes the exchange.
    pub topic: Option<Text>,
    /// The topic whose records pass the exchange.
    pub source: Option<TopicSource>,
    /// From where that is read.
    pub start: LogStart,
}

/// Reads which topics an exchange is joined to.
///
/// # Errors
/// [`ArgumentError`] for the first argument that cannot be accepted.
pub fn joined(arguments: &Headers, now_ms: i64) -> Result<Joined, ArgumentError> {
    let topic = |name: &str| match arguments.get(name) {
        None => Ok(None),
        Some(value) => text(value).map(Some).map_err(|reason| ArgumentError::value(name, reason)),
    };
    let source = topic("x-annals-source-topic")?.map(|topic| TopicSource { topic, id: 0 });
    let start = match arguments.get("x-annals-source-offset") {
        None => LogStart::Next,
        Some(value) => log_start(value, now_ms)
            .map_err(|reason| ArgumentError::value("x-annals-source-offset", reason))?,
    };
    Ok(Joined { topic: topic("x-annals-topic")?, source, start })
}

/// Reads where in a log to begin (`x-stream-offset`).
///
/// # Errors
/// What is wrong with the value, as RabbitMQ writes it.
pub fn log_start(value: &Value, now_ms: i64) -> Result<LogStart, String> {
    let text = value.as_text().map(Text::as_str);
    match (value, text.as_deref()) {
        (_, Some("first")) => Ok(LogStart::First),
        (_, Some("last")) => Ok(LogStart::Last),
        (_, Some("next")) => Ok(LogStart::Next),
        (_, Some(_)) => Ok(LogStart::Timestamp(now_ms.saturating_sub_unsigned(age(value)?))),
        (Value::Timestamp(seconds), _) => {
            let ms = i64::try_from(*seconds).unwrap_or(i64::MAX).saturating_mul(1000);
            Ok(LogStart::Timestamp(ms))
        }
        _ => match integer_of(value) {
            Some(offset) => Ok(LogStart::Offset(u64::try_from(offset).unwrap_or(0))),
            None => Err(format!("{{invalid_offset_arg,{}}}", type_name(value))),
        },
    }
}

/// Finds the kind of an exchange by the name of its type, and whether it holds messages back.
///
/// # Errors
/// [`KindError`] if there is no such type.
pub fn exchange_kind(kind: &str, arguments: &Headers) -> Result<(ExchangeKind, bool), KindError> {
    if kind != DELAYED {
        let unknown = || KindError::Unknown(kind.to_owned());
        return ExchangeKind::parse(kind).map(|kind| (kind, false)).ok_or_else(unknown);
    }
    let inner = arguments.get("x-delayed-type").and_then(Value::as_text);
    let inner = inner.and_then(|inner| ExchangeKind::parse(&inner.as_str()));
    inner.map(|inner| (inner, true)).ok_or(KindError::DelayedType)
}

/// The alternate exchange that arguments name.
pub fn alternate(arguments: &Headers) -> Option<Text> {
    arguments.get("alternate-exchange").and_then(Value::as_text).map(Text::detached)
}

fn unacceptable(value: &Value) -> String {
    format!("{{unacceptable_type,{}}}", type_name(value))
}

fn integer(value: &Value) -> Result<i64, String> {
    integer_of(value).ok_or_else(|| format!("\"expected integer, got {}\"", type_name(value)))
}

fn natural(value: &Value) -> Result<u64, String> {
    let number = integer(value)?;
    u64::try_from(number).map_err(|_| format!("{{value_negative,{number}}}"))
}

fn expiry(value: &Value, min: i64) -> Result<u64, String> {
    let number = integer(value)?;
    if (0..min).contains(&number) {
        return Err("{value_zero,0}".to_owned());
    }
    let ms = natural(value)?;
    if ms > EXPIRY_MS_MAX { Err(format!("{{value_too_large,{ms}}}")) } else { Ok(ms) }
}

fn priority(value: &Value) -> Result<u8, String> {
    let number = natural(value)?;
    u8::try_from(number).map_err(|_| format!("{{max_value_exceeded,{number}}}"))
}

/// A negative limit is none.
fn limit(value: &Value) -> Result<Option<u32>, String> {
    let number = integer(value)?;
    Ok((number >= 0).then(|| u32::try_from(number).unwrap_or(u32::MAX)))
}

fn text(value: &Value) -> Result<Text, String> {
    value.as_text().map(Text::detached).ok_or_else(|| unacceptable(value))
}

fn truth(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        other => Err(unacceptable(other)),
    }
}

fn overflow(value: &Value) -> Result<Overflow, String> {
    match value.as_text().map(Text::as_str).as_deref() {
        Some("drop-head") => Ok(Overflow::DropHead),
        Some("reject-publish") => Ok(Overflow::RejectPublish),
        Some("reject-publish-dlx") => Ok(Overflow::DeadLetter),
        Some(_) => Err("invalid_overflow".to_owned()),
        None => Err(unacceptable(value)),
    }
}

/// An age as RabbitMQ writes it: a number and a unit of `Y`, `M`, `D`, `h`, `m`, `s`.
fn age(value: &Value) -> Result<u64, String> {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let Some(text) = value.as_text().map(Text::as_str) else { return Err(unacceptable(value)) };
    let bad = || "invalid_max_age".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    let unit_ms = match unit {
        "Y" => 365 * DAY,
        "M" => 30 * DAY,
        "D" => DAY,
        "h" => 60 * 60 * 1000,
        "m" => 60 * 1000,
        "s" => 1000,
        _ => return Err(bad()),
    };
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse::<u64>().ok().filter(|_| is_number).ok_or_else(bad)?;
    number.checked_mul(unit_ms).filter(|ms| i64::try_from(*ms).is_ok()).ok_or_else(bad)
}

fn queue_type(value: &Value) -> Result<QueueType, String> {
    match value.as_text().map(Text::as_str).as_deref() {
        Some("classic") => Ok(QueueType::Classic),
        Some("quorum") => Ok(QueueType::Quorum),
        Some("stream") => Ok(QueueType::Stream),
        Some(other) => Err(format!("\"unsupported queue type '{other}'\"")),
        None => Err(unacceptable(value)),
    }
}

fn queue_version(value: &Value) -> Result<(), String> {
    match integer(value)? {
        1 | 2 => Ok(()),
        other => Err(format!("\"unsupported queue version '{other}'\"")),
    }
}

fn dead_letter_strategy(value: &Value) -> Result<(), String> {
    match value.as_text().map(Text::as_str).as_deref() {
        Some("at-most-once" | "at-least-once") => Ok(()),
        Some(_) => Err("invalid_dlx_strategy".to_owned()),
        None => Err(unacceptable(value)),
    }
}

fn queue_mode(value: &Value) -> Result<(), String> {
    match value.as_text().map(Text::as_str).as_deref() {
        Some("default" | "lazy") => Ok(()),
        Some(other) => Err(format!("\"unsupported queue mode '{other}'\"")),
        None => Err(unacceptable(value)),
    }
}

/// The number, if it is one without a fraction. Times are none here.
pub(super) fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Timestamp(_) | Value::TimestampMs(_) => None,
        value => value.as_i64(),
    }
}

/// What RabbitMQ calls the type of a value.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "void",
        Value::Bool(_) => "bool",
        Value::I8(_) => "byte",
        Value::U8(_) => "unsignedbyte",
        Value::I16(_) => "short",
        Value::U16(_) => "unsignedshort",
        Value::I32(_) => "signedint",
        Value::U32(_) => "unsignedint",
        Value::I64(_) | Value::U64(_) => "long",
        Value::F32(_) => "float",
        Value::F64(_) => "double",
        Value::Decimal { .. } => "decimal",
        Value::Text(_) => "longstr",
        Value::Binary(_) => "binary",
        Value::Timestamp(_) | Value::TimestampMs(_) => "timestamp",
        Value::List(_) => "array",
        Value::Table(_) => "table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[(&str, Value)]) -> Result<QueueOptions, String> {
        queue_options(&arguments.iter().cloned().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_become_options() {
        let options = read(&[
            ("x-message-ttl", Value::I32(0)),
            ("x-expires", Value::I64(60_000)),
            ("x-max-length", Value::U8(3)),
            ("x-overflow", Value::from("reject-publish-dlx")),
            ("x-dead-letter-exchange", Value::from("dlx")),
            ("x-dead-letter-routing-key", Value::from("k")),
            ("x-max-priority", Value::I32(10)),
            ("x-single-active-consumer", Value::Bool(true)),
            ("x-delivery-limit", Value::I32(5)),
            ("something-else", Value::Null),
        ]);
        let dead_letter = Some(DeadLetter { exchange: "dlx".into(), routing_key: Some("k".into()) });
        let expected = QueueOptions {
            ttl_ms: Some(0),
            expires_ms: Some(60_000),
            length_max: Some(3),
            overflow: Overflow::DeadLetter,
            dead_letter,
            priority_max: 10,
            single_active_consumer: true,
            delivery_limit: Some(5),
            ..QueueOptions::default()
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn quorum_queues_have_a_delivery_limit() {
        let quorum = ("x-queue-type", Value::from("quorum"));
        let limit = |arguments: &[(&str, Value)]| read(arguments).map(|options| options.delivery_limit);
        assert_eq!(limit(std::slice::from_ref(&quorum)), Ok(Some(20)));
        assert_eq!(limit(&[quorum, ("x-delivery-limit", Value::I32(-1))]), Ok(None));
        assert_eq!(limit(&[("x-queue-type", Value::from("classic"))]), Ok(None));
    }

    #[test]
    fn reasons_are_written_as_rabbitmq_writes_them() {
        let reason = |name: &str, value: Value| {
            let error = read(&[(name, value)]).expect_err("invalid");
            let start = format!("invalid arg '{name}': ");
            error.strip_prefix(&start).expect("the beginning").to_owned()
        };
        assert_eq!(reason("x-message-ttl", Value::I32(-1)), "{value_negative,-1}");
        assert_eq!(reason("x-message-ttl", Value::from("1")), "\"expected integer, got longstr\"");
        assert_eq!(reason("x-message-ttl", Value::I64(315_360_000_001)), "{value_too_large,315360000001}");
        assert_eq!(reason("x-queue-version", Value::I32(3)), "\"unsupported queue version '3'\"");
        assert_eq!(reason("x-dead-letter-strategy", Value::from("x")), "invalid_dlx_strategy");
        assert_eq!(reason("x-expires", Value::I32(0)), "{value_zero,0}");
        assert_eq!(reason("x-max-priority", Value::I32(256)), "{max_value_exceeded,256}");
        assert_eq!(reason("x-overflow", Value::from("x")), "invalid_overflow");
        assert_eq!(reason("x-queue-type", Value::from("x")), "\"unsupported queue type 'x'\"");
        assert_eq!(reason("x-queue-mode", Value::from("x")), "\"unsupported queue mode 'x'\"");
        assert_eq!(reason("x-single-active-consumer", Value::I32(1)), "{unacceptable_type,signedint}");
        assert_eq!(reason("x-dead-letter-exchange", Value::I32(1)), "{unacceptable_type,signedint}");
        assert_eq!(reason("x-dead-letter-routing-key", Value::from("k")), "routing_key_but_no_dlx_defined");
    }

    #[test]
    fn a_consumer_has_a_priority() {
        let read = |value: Value| {
            let arguments = [("x-priority", value)].into_iter().collect();
            consumer_priority(&arguments).map_err(|error| error.to_string())
        };
        assert_eq!(read(Value::I32(-7)), Ok(-7));
        assert_eq!(read(Value::I64(1 << 40)), Ok(i32::MAX));
        let text = "invalid arg 'x-priority': \"expected integer, got longstr\"";
        assert_eq!(read(Value::from("high")), Err(text.to_owned()));
    }

    #[test]
    fn quorum_queues_and_streams_are_shared_durable_and_named() {
        let typed = |kind: &str| [("x-queue-type", Value::from(kind))].into_iter().collect::<Headers>();
        let lasting = Lifetime { durable: true, exclusive: false, auto_delete: false };
        for kind in ["quorum", "stream"] {
            let property = |lifetime| impossible_property(&typed(kind), lifetime);
            assert_eq!(property(lasting), None);
            assert_eq!(property(Lifetime { durable: false, ..lasting }), Some("non-durable"));
            assert_eq!(property(Lifetime { exclusive: true, ..lasting }), Some("exclusive-owner"));
            assert_eq!(property(Lifetime { auto_delete: true, ..lasting }), Some("auto-delete"));
        }
        let short = Lifetime { durable: false, exclusive: true, auto_delete: true };
        assert_eq!(impossible_property(&typed("classic"), short), None);
        assert_eq!(impossible_property(&Headers::default(), short), None);
        assert_eq!(named_by_clients(&typed("quorum")), Some("rabbit_quorum_queue"));
        assert_eq!(named_by_clients(&typed("stream")), Some("rabbit_stream_queue"));
        assert_eq!(named_by_clients(&Headers::default()), None);
    }

    #[test]
    fn a_binding_says_how_to_match() {
        let check = |value: Value| check_match(&[("x-match", value)].into_iter().collect());
        assert_eq!(check(Value::from("any-with-x")), Ok(()));
        let text = "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x";
        assert_eq!(check(Value::from("some")), Err(text.to_owned()));
        let text = "Invalid x-match field type signedint (value 1); expected longstr";
        assert_eq!(check(Value::I32(1)), Err(text.to_owned()));
    }

    #[test]
    fn a_stream_has_arguments_of_its_own() {
        let stream = ("x-queue-type", Value::from("stream"));
        let options = read(&[
            stream.clone(),
            ("x-max-age", Value::from("7D")),
            ("x-max-length-bytes", Value::I64(20_000_000_000)),
            ("x-stream-max-segment-size-bytes", Value::I32(100_000_000)),
            ("x-initial-cluster-size", Value::I32(3)),
        ]);
        let limits =
            StreamOptions { age_ms_max: Some(604_800_000), bytes_max: Some(20_000_000_000), adopts: false };
        assert_eq!(options, Ok(QueueOptions { stream: Some(limits), ..QueueOptions::default() }));
        let text = |arguments: &[(&str, Value)]| read(arguments).expect_err("invalid");
        assert_eq!(
            text(&[stream, ("x-message-ttl", Value::I32(1))]),
            "invalid arg 'x-message-ttl' of queue type rabbit_stream_queue"
        );
        assert_eq!(
            text(&[("x-max-age", Value::from("1h"))]),
            "invalid arg 'x-max-age' of queue type rabbit_classic_queue"
        );
    }

    #[test]
    fn ages_and_offsets_are_read_as_rabbitmq_reads_them() {
        let ages = [
            ("3s", Some(3000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("1M", Some(2_592_000_000)),
            ("1Y", Some(31_536_000_000)),
        ];
        for (text, ms) in ages {
            assert_eq!(age(&Value::from(text)).ok(), ms, "{text:?}");
        }
        for text in ["", "h", "1", "-1h", "+1h", "1d", "9999999999999Y"] {
            assert_eq!(age(&Value::from(text)), Err("invalid_max_age".to_owned()), "{text:?}");
        }
        let start = |value: Value| log_start(&value, 10_000_000);
        assert_eq!(start(Value::from("first")), Ok(LogStart::First));
        assert_eq!(start(Value::from("last")), Ok(LogStart::Last));
        assert_eq!(start(Value::from("next")), Ok(LogStart::Next));
        assert_eq!(start(Value::I64(77)), Ok(LogStart::Offset(77)));
        assert_eq!(start(Value::Timestamp(5)), Ok(LogStart::Timestamp(5000)));
        assert_eq!(start(Value::from("1h")), Ok(LogStart::Timestamp(6_400_000)));
        assert_eq!(start(Value::from("soon")), Err("invalid_max_age".to_owned()));
        assert_eq!(start(Value::Bool(true)), Err("{invalid_offset_arg,bool}".to_owned()));
    }

    #[test]
    fn an_exchange_names_the_topics_that_it_is_joined_to() {
        let read = |arguments: &[(&str, Value)]| joined(&arguments.iter().cloned().collect(), 0);
        let both = read(&[
            ("x-annals-topic", Value::from("out")),
            ("x-annals-source-topic", Value::from("in")),
            ("x-annals-source-offset", Value::from("first")),
        ]);
        let source = Some(TopicSource { topic: "in".into(), id: 0 });
        assert_eq!(both, Ok(Joined { topic: Some("out".into()), source, start: LogStart::First }));
        assert_eq!(read(&[]), Ok(Joined::default()));
        let wrong = read(&[("x-annals-topic", Value::I32(1))]).expect_err("no text").to_string();
        assert_eq!(wrong, "invalid arg 'x-annals-topic': {unacceptable_type,signedint}");
    }

    #[test]
    fn a_delayed_exchange_is_one_of_another_type() {
        let kind = |kind: &str, inner: &str| {
            exchange_kind(kind, &[("x-delayed-type", Value::from(inner))].into_iter().collect())
        };
        assert_eq!(kind("topic", "whatever"), Ok((ExchangeKind::Topic, false)));
        assert_eq!(kind("x-delayed-message", "direct"), Ok((ExchangeKind::Direct, true)));
        assert_eq!(kind("x-delayed-message", "strange"), Err(KindError::DelayedType));
        assert_eq!(kind("strange", ""), Err(KindError::Unknown("strange".to_owned())));
    }
}
