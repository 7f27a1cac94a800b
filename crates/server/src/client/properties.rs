//! The file behind `--command-config`: client properties, one `key = value` a line.
//!
//! The form is that of Java's properties files, with quotes around a value allowed, as in TOML. The keys are
//! those of librdkafka. Keys that only the Java clients know are refused with the key to use instead, because
//! ignoring one (a trust store, say) would be worse than an error.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::nearest;

/// Java-only keys, and what to write instead.
const JAVA_ONLY: &[(&str, &str)] = &[
    ("sasl.jaas.config", "use \"sasl.username\" and \"sasl.password\""),
    ("sasl.login.callback.handler.class", "it names a Java class; remove it"),
    ("sasl.client.callback.handler.class", "it names a Java class; remove it"),
    ("ssl.truststore.location", "use \"ssl.ca.location\" with a PEM file"),
    ("ssl.truststore.password", "a PEM file needs none; remove it"),
    ("ssl.truststore.type", "use \"ssl.ca.location\" with a PEM file"),
    ("ssl.truststore.certificates", "use \"ssl.ca.pem\""),
    ("ssl.keystore.type", "\"ssl.keystore.location\" is always PKCS#12; remove it"),
    ("key.serializer", "it names a Java class; remove it"),
    ("value.serializer", "it names a Java class; remove it"),
    ("key.deserializer", "it names a Java class; remove it"),
    ("value.deserializer", "it names a Java class; remove it"),
    ("buffer.memory", "use \"queue.buffering.max.kbytes\""),
    ("max.block.ms", "commands wait as long as they need to; remove it"),
    ("max.poll.records", "commands read record by record; remove it"),
    ("default.api.timeout.ms", "use \"socket.timeout.ms\""),
];

/// Properties that users set, to find the one that was meant.
const KNOWN: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "batch.num.messages",
    "batch.size",
    "bootstrap.servers",
    "broker.address.family",
    "check.crcs",
    "client.id",
    "client.rack",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "debug",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "enable.ssl.certificate.verification",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "max.in.flight",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "partition.assignment.strategy",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "transactional.id",
];

/// Reads and checks a properties file.
///
/// # Errors
/// Names the file, the line and the key that is malformed, unknown, or not supported by this build.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, String>> {
    let place = || format!("command config {}", path.display());
    let text = std::fs::read_to_string(path).with_context(place)?;
    parse(&text).with_context(place)
}

fn parse(text: &str) -> Result<BTreeMap<String, String>> {
    let mut properties = BTreeMap::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let (key, value) = parse_line(line).with_context(|| format!("line {number}"))?;
        check(&key, &value).with_context(|| format!("line {number}"))?;
        properties.insert(key, value);
    }
    Ok(properties)
}

fn parse_line(line: &str) -> Result<(String, String)> {
    let Some((key, value)) = line.split_once(['=', ':']) else {
        bail!("\"{line}\" is not a property; write key=value");
    };
    let (key, value) = (key.trim().trim_matches('"'), value.trim());
    let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    Ok((key.to_owned(), unquoted.to_owned()))
}

/// Asks the client library whether it knows the property and takes the value.
fn check(key: &str, value: &str) -> Result<()> {
    if let Some((_, instead)) = JAVA_ONLY.iter().find(|(java, _)| *java == key) {
        bail!("\"{key}\" is a property of the Java clients; {instead}");
    }
    let mut config = ClientConfig::new();
    config.set(key, value);
    let Err(error) = config.create_native_config() else { return check_security(key, value) };
    let KafkaError::ClientConfig(_, reason, ..) = &error else { bail!("property \"{key}\": {error}") };
    if reason.starts_with("No such configuration property") {
        bail!("\"{key}\" is not a known client property{}", nearest::hint(key, KNOWN.iter().copied()));
    }
    if reason.contains("not supported in this build") || reason.contains("not available at build time") {
        bail!("\"{key}\" is not supported: this build of annals has no TLS; {}", last_clause(reason));
    }
    bail!("\"{key}\": {reason}")
}

/// The library finds out only when it connects that a build without TLS cannot do what these ask for.
fn check_security(key: &str, value: &str) -> Result<()> {
    let upper = value.to_ascii_uppercase();
    let needs_tls = match key {
        "security.protocol" => matches!(upper.as_str(), "SSL" | "SASL_SSL"),
        "sasl.mechanism" | "sasl.mechanisms" => upper != "PLAIN",
        _ => false,
    };
    if needs_tls && !builds_tls() {
        bail!(
            "\"{key}={value}\" is not supported: this build of annals has no TLS, SCRAM or Kerberos; \
             use PLAINTEXT or SASL_PLAINTEXT with PLAIN, or a TLS proxy"
        );
    }
    Ok(())
}

fn builds_tls() -> bool {
    let mut config = ClientConfig::new();
    config.set("ssl.ca.location", "probe");
    config.create_native_config().is_ok()
}

fn last_clause(reason: &str) -> &str {
    reason.rsplit_once(": ").map_or(reason, |(_, tail)| tail)
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn message(text: &str) -> String {
        parse(text).map_or_else(|error| format!("{error:#}"), |_| String::new())
    }

    #[test]
    fn java_and_toml_spellings_are_read() {
        let text = "# comment\n! another\n\nacks = all\nclient.id: \"me\"\nlinger.ms=5\n";
        let properties = parse(text).unwrap();
        assert_eq!(properties["acks"], "all");
        assert_eq!(properties["client.id"], "me");
        assert_eq!(properties["linger.ms"], "5");
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        assert_eq!(
            message("acks=1\nlingr.ms=5"),
            "line 2: \"lingr.ms\" is not a known client property; did you mean \"linger.ms\"?"
        );
    }

    #[test]
    fn java_only_keys_name_the_replacement() {
        let text = message("sasl.jaas.config=org.apache.Something required;");
        assert!(text.contains("Java clients") && text.contains("sasl.username"), "{text}");
    }

    #[test]
    fn tls_is_refused_where_it_is_not_built_in() {
        assert!(message("ssl.ca.location=/tmp/ca.pem").contains("has no TLS"));
        assert!(message("security.protocol=SASL_SSL").contains("has no TLS"));
        assert!(message("sasl.mechanism=SCRAM-SHA-256").contains("SCRAM"));
        assert_eq!(message("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=a"), "");
    }

    #[test]
    fn malformed_lines_and_values_are_named() {
        assert!(message("just words").starts_with("line 1: \"just words\" is not a property"));
        assert!(message("acks=many").contains("acks"));
    }
}
