//! The server's settings: from a TOML file, then `ANNALS_*` environment variables, then flags.
//!
//! Every setting has one dotted name, `kafka.addr` say, which is `[kafka] addr` in the file, `ANNALS_KAFKA_ADDR` in the
//! environment and `--set kafka.addr=…` on the command line; those that most people need have a flag of their own. A name
//! that does not exist is an error that tells the nearest that does; in the environment, where others put names too, it is a
//! warning. Names under `topic_defaults` are Kafka's topic configurations.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals_broker::Options as BrokerOptions;
use annals_broker::access::{Access, DEFAULT_USER, Permission, User};
use annals_journal::Durability;
use annals_topics::batch::RecordCheck;
use annals_topics::config::Overrides;
use anyhow::{Context, Result, bail};

use crate::failure::usage;
use crate::human::{parse_bytes, parse_duration};
use crate::nearest::hint;

/// How the variables of settings begin.
const PREFIX: &str = "ANNALS_";

/// Variables that are no settings: of commands.
const COMMAND_VARIABLES: [&str; 8] =
    ["CONFIG", "LOG", "BOOTSTRAP_SERVER", "COMMAND_CONFIG", "USER", "VHOST", "SERVER", "STORE"];

/// How variables go on that are none of ours: of tests, and those that Kubernetes makes for a service with our name.
const FOREIGN_VARIABLES: [&str; 3] = ["TEST_", "SERVICE_", "PORT"];

/// Kafka connections that are served unless somebody sets another number.
const CONNECTIONS_MAX: usize = 10_000;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) broker: BrokerOptions,
    pub(crate) journal: annals_journal::Options,
    pub(crate) direct_io: bool,
    pub(crate) kafka: annals_kafka::Options,
    pub(crate) http: annals_http::Options,
    /// `None` if it is turned off.
    pub(crate) amqp: Option<annals_amqp::Options>,
    amqp_options: annals_amqp::Options,
    amqp_access: AmqpAccess,
    pub(crate) allow_remote: bool,
    pub(crate) log_filter: String,
    pub(crate) log_format: LogFormat,
    pub(crate) otlp: Otlp,
    topic_defaults: BTreeMap<String, String>,
}

/// Who may use the AMQP port, as it was written.
#[derive(Clone, Debug)]
struct AmqpAccess {
    is_on: bool,
    users: String,
    vhosts: String,
    permissions: String,
}

impl Default for AmqpAccess {
    fn default() -> Self {
        Self {
            is_on: true,
            users: "guest:guest".to_owned(),
            vhosts: "/".to_owned(),
            permissions: String::new(),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Spans of requests for an OpenTelemetry collector.
#[derive(Clone, Debug)]
pub(crate) struct Otlp {
    /// The collector. `None` exports nothing.
    pub(crate) endpoint: Option<String>,
    /// The share of the requests that get a span, from 0 to 1.
    pub(crate) sample_ratio: f64,
    /// What the collector knows this server as.
    pub(crate) service_name: String,
}

impl Default for Otlp {
    fn default() -> Self {
        Self { endpoint: None, sample_ratio: 0.01, service_name: "annals".to_owned() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let kafka = annals_kafka::Options {
            connections_max: CONNECTIONS_MAX,
            connections_per_ip_max: CONNECTIONS_MAX,
            ..annals_kafka::Options::default()
        };
        let mut broker = BrokerOptions::default();
        broker.topics.node_id = kafka.node_id;
        Self {
            data_dir: PathBuf::from("annals-data"),
            broker,
            journal: annals_journal::Options::default(),
            direct_io: true,
            kafka,
            http: annals_http::Options::default(),
            amqp: None,
            amqp_options: annals_amqp::Options::default(),
            amqp_access: AmqpAccess::default(),
            allow_remote: false,
            log_filter: "info".to_owned(),
            log_format: LogFormat::Text,
            otlp: Otlp::default(),
            topic_defaults: BTreeMap::new(),
        }
    }
}

/// One setting: its name, what it does with its trade-off, and how a value gets into place.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) doc: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
}

/// All settings, in the order in which `--print-config` shows them.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "data_dir",
        default: "annals-data",
        doc: "The directory that holds everything. Made if it is not there.",
        set: |s, v| {
            s.data_dir = PathBuf::from(v);
            Ok(())
        },
    },
    Key {
        name: "durability",
        default: "sync",
        doc: "sync: acknowledge when the data is on disk. async: acknowledge when the operating system has it; faster \
              for small writes, and a power failure may lose the last journal.async_interval.",
        set: |s, v| put(&mut s.broker.durability, durability(v)),
    },
    Key {
        name: "auto_create_topics",
        default: "true",
        doc: "Whether a topic that a client asks for is created when it does not exist. Convenient; a typo makes a topic.",
        set: |s, v| put(&mut s.broker.auto_create_topics, boolean(v)),
    },
    Key {
        name: "partitions_default",
        default: "1",
        doc: "Partitions of a topic whose creator does not say how many.",
        set: |s, v| put(&mut s.broker.topics.partitions_default, at_least_one(v)),
    },
    Key {
        name: "allow_remote",
        default: "false",
        doc: "Allow listening on addresses other than loopback, though there is no authentication: whoever reaches the \
              port can read and write everything.",
        set: |s, v| put(&mut s.allow_remote, boolean(v)),
    },
    Key {
        name: "kafka.addr",
        default: "127.0.0.1:9092",
        doc: "Where Kafka clients connect. Port 0 takes a free one.",
        set: |s, v| put(&mut s.kafka.address, address(v)),
    },
    Key {
        name: "kafka.advertised",
        default: "",
        doc: "HOST:PORT under which clients reach this server, if it differs from the address that they connect to, as \
              behind a proxy.",
        set: |s, v| put(&mut s.kafka.advertised, advertised(v)),
    },
    Key {
        name: "kafka.node_id",
        default: "1",
        doc: "The number under which clients know this server (node.id). Some tools expect another.",
        set: |s, v| {
            s.kafka.node_id = node_id(v)?;
            s.broker.topics.node_id = s.kafka.node_id;
            Ok(())
        },
    },
    Key {
        name: "kafka.connections_max",
        default: "10000",
        doc: "Kafka connections at the same time. More are refused.",
        set: |s, v| {
            s.kafka.connections_max = at_least_one(v)?;
            s.kafka.connections_per_ip_max = s.kafka.connections_max;
            Ok(())
        },
    },
    Key {
        name: "kafka.request_bytes_max",
        default: "100MiB",
        doc: "The largest request (socket.request.max.bytes).",
        set: |s, v| put(&mut s.kafka.request_bytes_max, size(v)),
    },
    Key {
        name: "kafka.memory_max",
        default: "128MiB",
        doc: "Memory for requests and answers under way, over all connections. At the limit clients wait.",
        set: |s, v| put(&mut s.kafka.memory_in_all, size(v)),
    },
    Key {
        name: "kafka.idle_timeout",
        default: "10m",
        doc: "A connection that says nothing for this long is closed (connections.max.idle.ms).",
        set: |s, v| put(&mut s.kafka.idle_timeout, duration(v)),
    },
    Key {
        name: "amqp.addr",
        default: "127.0.0.1:5672",
        doc: "Where AMQP 0-9-1 clients (RabbitMQ's) connect. Port 0 takes a free one; an empty text turns it off.",
        set: |s, v| {
            s.amqp_access.is_on = !v.is_empty();
            if v.is_empty() { Ok(()) } else { put(&mut s.amqp_options.address, address(v)) }
        },
    },
    Key {
        name: "amqp.users",
        default: "guest:guest",
        doc: "Users as NAME:PASSWORD, separated by commas. The user guest may only connect from this machine.",
        set: |s, v| {
            s.amqp_access.users = v.to_owned();
            Ok(())
        },
    },
    Key {
        name: "amqp.vhosts",
        default: "/",
        doc: "Virtual hosts, separated by commas. Made if they are not there.",
        set: |s, v| {
            s.amqp_access.vhosts = v.to_owned();
            Ok(())
        },
    },
    Key {
        name: "amqp.permissions",
        default: "",
        doc: "What users may do, as USER VHOST CONFIGURE WRITE READ with regular expressions over names, separated by \
              semicolons. A user who is not named here may do everything everywhere, and administer over HTTP.",
        set: |s, v| {
            s.amqp_access.permissions = v.to_owned();
            Ok(())
        },
    },
    Key {
        name: "amqp.connections_max",
        default: "10000",
        doc: "AMQP connections at the same time. More are refused.",
        set: |s, v| put(&mut s.amqp_options.connections_max, at_least_one(v)),
    },
    Key {
        name: "amqp.channel_max",
        default: "2047",
        doc: "Channels of an AMQP connection (channel_max).",
        set: |s, v| put(&mut s.amqp_options.limits.channel_max, number(v)),
    },
    Key {
        name: "amqp.frame_max",
        default: "128KiB",
        doc: "The largest AMQP frame (frame_max).",
        set: |s, v| put(&mut s.amqp_options.limits.frame_bytes_max, frame_max(v)),
    },
    Key {
        name: "amqp.heartbeat",
        default: "60s",
        doc: "How often an AMQP client has to say something, unless it wants to more often. 0s turns it off.",
        set: |s, v| put(&mut s.amqp_options.limits.heartbeat_s, seconds(v)),
    },
    Key {
        name: "amqp.message_bytes_max",
        default: "16MiB",
        doc: "The largest AMQP message (max_message_size). Streams that are declared from then on take it too.",
        set: |s, v| put(&mut s.amqp_options.message_bytes_max, size(v)),
    },
    Key {
        name: "amqp.memory_max",
        default: "128MiB",
        doc: "Memory for AMQP messages that have begun to come in, over all connections. At the limit clients wait.",
        set: |s, v| put(&mut s.amqp_options.memory_in_all, size(v)),
    },
    Key {
        name: "http.addr",
        default: "127.0.0.1:7117",
        doc: "Where health, metrics and the API are served. Port 0 takes a free one.",
        set: |s, v| put(&mut s.http.address, address(v)),
    },
    Key {
        name: "http.allowed_hosts",
        default: "",
        doc: "Names, separated by commas, under which HTTP clients may call besides localhost and IP addresses.",
        set: |s, v| {
            s.http.allowed_hosts =
                v.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
            Ok(())
        },
    },
    Key {
        name: "journal.segment_bytes",
        default: "64MiB",
        doc: "Size of the journal's files. Smaller gives space back sooner, larger makes fewer files.",
        set: |s, v| put(&mut s.journal.segment_bytes, parse_bytes(v)),
    },
    Key {
        name: "journal.cache_bytes",
        default: "64MiB",
        doc: "Memory for recently written records. Consumers that keep up are served from it.",
        set: |s, v| put(&mut s.journal.tail_cache_bytes, size(v)),
    },
    Key {
        name: "journal.async_interval",
        default: "100ms",
        doc: "With async durability: the longest that written data stays unsynced.",
        set: |s, v| put(&mut s.journal.async_interval, duration(v)),
    },
    Key {
        name: "journal.direct_io",
        default: "true",
        doc: "Write past the page cache where the filesystem can. Turn off if the disk is slower that way.",
        set: |s, v| put(&mut s.direct_io, boolean(v)),
    },
    Key {
        name: "topics.check_records",
        default: "when-needed",
        doc: "always: expand and check compressed records when they arrive, which costs processor time. when-needed: \
              only where the topic's configuration depends on them.",
        set: |s, v| put(&mut s.broker.record_check, record_check(v)),
    },
    Key {
        name: "topics.retention_interval",
        default: "5s",
        doc: "How often old records are looked for (log.retention.check.interval.ms).",
        set: |s, v| put(&mut s.broker.retention_interval, duration(v)),
    },
    Key {
        name: "topics.compaction_interval",
        default: "5s",
        doc: "How often compacted topics are looked at.",
        set: |s, v| put(&mut s.broker.compaction_interval, duration(v)),
    },
    Key {
        name: "groups.initial_rebalance_delay",
        default: "100ms",
        doc: "How long the first members of a group wait for others (group.initial.rebalance.delay.ms).",
        set: |s, v| put(&mut s.broker.groups.initial_rebalance_delay, duration(v)),
    },
    Key {
        name: "groups.session_timeout_min",
        default: "6s",
        doc: "The shortest session timeout that a member may ask for (group.min.session.timeout.ms). Shorter notices a \
              dead consumer sooner, and takes a busy one for dead.",
        set: |s, v| put(&mut s.broker.groups.session_timeout_min, duration(v)),
    },
    Key {
        name: "groups.offsets_retention",
        default: "7d",
        doc: "How long the offsets of a group without members are kept (offsets.retention.minutes).",
        set: |s, v| put(&mut s.broker.groups.offsets_retention, duration(v)),
    },
    Key {
        name: "log.filter",
        default: "info",
        doc: "Which log lines: error, warn, info, debug, trace, or per part, as in info,annals_kafka=debug.",
        set: |s, v| {
            s.log_filter = v.to_owned();
            Ok(())
        },
    },
    Key {
        name: "log.format",
        default: "text",
        doc: "text for people, json for programs. Log lines go to standard error.",
        set: |s, v| put(&mut s.log_format, log_format(v)),
    },
    Key {
        name: "otlp.endpoint",
        default: "",
        doc: "http://HOST:4318 of an OpenTelemetry collector that gets a span for a share of the requests, over HTTP with \
              protobuf. Empty exports nothing and costs nothing. OTEL_EXPORTER_OTLP_ENDPOINT sets it too.",
        set: |s, v| put(&mut s.otlp.endpoint, endpoint(v)),
    },
    Key {
        name: "otlp.sample_ratio",
        default: "0.01",
        doc: "The share of the requests that are exported, from 0 to 1. More show rare ones, for processor time.",
        set: |s, v| put(&mut s.otlp.sample_ratio, ratio(v)),
    },
    Key {
        name: "otlp.service_name",
        default: "annals",
        doc: "What the collector knows this server as (service.name). OTEL_SERVICE_NAME sets it too.",
        set: |s, v| {
            s.otlp.service_name = v.to_owned();
            Ok(())
        },
    },
];

/// Settings that OpenTelemetry has names of its own for. The server's own names win.
const OTEL_VARIABLES: &[(&str, &str)] =
    &[("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp.endpoint"), ("OTEL_SERVICE_NAME", "otlp.service_name")];

const TOPIC_DEFAULTS: &str = "topic_defaults.";

impl Settings {
    /// Reads the file, the environment and the given `name=value` pairs, in this order.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        pairs: &[(String, String)],
    ) -> Result<Self> {
        let mut settings = Self::default();
        if let Some(file) = file {
            settings.read_file(file)?;
        }
        settings.read_environment(environment)?;
        for (name, value) in pairs {
            settings.set(name, value).map_err(usage)?;
        }
        settings.finish()?;
        Ok(settings)
    }

    fn read_file(&mut self, file: &Path) -> Result<()> {
        let place = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {place}"))?;
        let table: toml::Table = text.parse().with_context(|| format!("{place} is not valid TOML"))?;
        let mut pairs = Vec::new();
        flatten("", &table, &mut pairs)?;
        for (name, value) in pairs {
            self.set(&name, &value).map_err(|error| usage(format!("{place}: {error}")))?;
        }
        Ok(())
    }

    fn read_environment(&mut self, environment: impl Iterator<Item = (String, String)>) -> Result<()> {
        let variables: BTreeMap<String, String> = environment.collect();
        for key in KEYS {
            let standard = OTEL_VARIABLES.iter().filter(|(_, name)| *name == key.name);
            let names =
                std::iter::once(variable(key.name)).chain(standard.map(|(name, _)| (*name).to_owned()));
            if let Some((name, value)) = names.filter_map(|name| variables.get_key_value(&name)).next() {
                self.set(key.name, value).map_err(|error| usage(format!("{name}: {error}")))?;
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if let Some(config) = name.strip_prefix(TOPIC_DEFAULTS) {
            self.topic_defaults.insert(config.to_owned(), value.to_owned());
            return Ok(());
        }
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(format!("unknown setting \"{name}\"{}", hint(name, KEYS.iter().map(|key| key.name))));
        };
        (key.set)(self, value).map_err(|error| format!("{name} = \"{value}\": {error}"))
    }

    fn finish(&mut self) -> Result<()> {
        let defaults = self.topic_defaults.iter().map(|(name, value)| (name.as_str(), Some(value.as_str())));
        self.broker.topic_defaults =
            Overrides::from_pairs(defaults).map_err(|error| usage(format!("topic_defaults: {error}")))?;
        self.broker.access = self.amqp_access.read().map_err(usage)?;
        self.broker.message_bytes_max = self.amqp_options.message_bytes_max;
        self.amqp = self.amqp_access.is_on.then(|| self.amqp_options.clone());
        let amqp = self.amqp.as_ref().map(|amqp| ("amqp.addr", amqp.address));
        let always = [("kafka.addr", self.kafka.address), ("http.addr", self.http.address)];
        for (name, address) in always.into_iter().chain(amqp) {
            if !address.ip().is_loopback() && !self.allow_remote {
                bail!(usage(format!(
                    "{name} = {address} can be reached from other machines, and nothing asks who connects; \
                     listen on 127.0.0.1, or allow it with --allow-remote"
                )));
            }
        }
        Ok(())
    }
}

impl AmqpAccess {
    /// Who may do what.
    fn read(&self) -> Result<Access, String> {
        let vhosts: Vec<String> = listed(&self.vhosts, ',').map(str::to_owned).collect();
        let mut users = BTreeMap::new();
        for user in listed(&self.users, ',') {
            let (name, password) =
                user.split_once(':').ok_or_else(|| format!("amqp.users: \"{user}\": write NAME:PASSWORD"))?;
            let is_default = name == DEFAULT_USER;
            let user = User::new(password);
            users.insert(name.to_owned(), if is_default { user.from_loopback_only() } else { user });
        }
        let mut named = Vec::new();
        for line in listed(&self.permissions, ';') {
            let (user, vhost, permission) =
                permission(line).map_err(|error| format!("amqp.permissions: \"{line}\": {error}"))?;
            let known = users.remove(user).ok_or_else(|| format!("amqp.permissions: no user \"{user}\""))?;
            users.insert(user.to_owned(), known.with(vhost, permission));
            named.push(user.to_owned());
        }
        for (_, user) in users.iter_mut().filter(|(name, _)| !named.contains(name)) {
            *user = user.clone().unrestricted();
        }
        Ok(Access { vhosts: vhosts.into_iter().collect(), users })
    }
}

fn permission(line: &str) -> Result<(&str, &str, Permission), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [user, vhost, configure, write, read] = words[..] else {
        return Err("write USER VHOST CONFIGURE WRITE READ".to_owned());
    };
    let permission = Permission::parse(configure, write, read).map_err(|error| error.to_string())?;
    Ok((user, vhost, permission))
}

fn listed(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator).map(str::trim).filter(|item| !item.is_empty())
}

/// `ANNALS_KAFKA_ADDR` for `kafka.addr`.
fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "_").to_uppercase())
}

/// The variables of the environment that may be settings.
///
/// # Errors
/// If one of them is not UTF-8.
pub(crate) fn environment() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        if name.starts_with(PREFIX) || OTEL_VARIABLES.iter().any(|(standard, _)| *standard == name) {
            let value = value.into_string().map_err(|_| usage(format!("{name}: the value is not UTF-8")))?;
            found.push((name, value));
        }
    }
    Ok(found)
}

/// What to say of variables that look like settings and are none.
pub(crate) fn unknown_variables(environment: &[(String, String)]) -> Vec<String> {
    let names: Vec<String> = KEYS.iter().map(|key| variable(key.name)).collect();
    let is_unknown = |rest: &str| {
        let is_foreign = FOREIGN_VARIABLES.iter().any(|foreign| rest.starts_with(foreign));
        let is_setting = names.iter().any(|name| name.strip_prefix(PREFIX) == Some(rest));
        !is_foreign && !is_setting && !COMMAND_VARIABLES.contains(&rest)
    };
    let ours = environment.iter().filter_map(|(name, _)| name.strip_prefix(PREFIX));
    let say = |rest: &str| {
        let name = format!("{PREFIX}{rest}");
        format!("the variable {name} is no setting{}", hint(&name, names.iter().map(String::as_str)))
    };
    ours.filter(|rest| is_unknown(rest)).map(say).collect()
}

/// A path as the text of a setting.
pub(crate) fn text_of(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| usage(format!("the path {} is not UTF-8", path.display())))?;
    Ok(text.to_owned())
}

/// `[kafka] addr = "…"` as `kafka.addr`. Topic configurations have dots in their own names.
fn flatten(prefix: &str, table: &toml::Table, pairs: &mut Vec<(String, String)>) -> Result<()> {
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        match value {
            toml::Value::Table(table) => flatten(&format!("{name}."), table, pairs)?,
            toml::Value::String(text) => pairs.push((name, text.clone())),
            toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => {
                pairs.push((name, value.to_string()));
            }
            toml::Value::Array(items) => {
                let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
                let items = items.ok_or_else(|| usage(format!("{name}: a list of strings is expected")))?;
                let separator = if name == "amqp.permissions" { ";" } else { "," };
                pairs.push((name, items.join(separator)));
            }
            toml::Value::Datetime(_) => bail!(usage(format!("{name}: a date is not expected here"))),
        }
    }
    Ok(())
}

/// A configuration file with every setting, its default and what it does.
pub(crate) fn print_default() -> String {
    let mut text = String::from("# Settings of annals serve, with their defaults.\n");
    let mut section = "";
    for key in KEYS {
        let (table, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if table != section {
            text.push_str(&format!("\n[{table}]\n"));
            section = table;
        }
        let doc = key.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        text.push_str(&format!("\n# {doc}\n# {name} = \"{}\"\n", key.default));
    }
    text.push_str("\n# Kafka's topic configurations, for topics that do not set them.\n[topic_defaults]\n");
    text.push_str("# \"retention.ms\" = 604800000\n");
    text
}

fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

/// One of two words.
fn choice<T>(value: &str, choices: [(&str, T); 2]) -> Result<T, String> {
    let expected = format!("write {} or {}", choices[0].0, choices[1].0);
    choices.into_iter().find(|(word, _)| *word == value).map(|(_, meaning)| meaning).ok_or(expected)
}

fn durability(value: &str) -> Result<Durability, String> {
    choice(value, [("sync", Durability::Sync), ("async", Durability::Async)])
}

fn record_check(value: &str) -> Result<RecordCheck, String> {
    choice(value, [("always", RecordCheck::Always), ("when-needed", RecordCheck::WhenNeeded)])
}

fn log_format(value: &str) -> Result<LogFormat, String> {
    choice(value, [("text", LogFormat::Text), ("json", LogFormat::Json)])
}

fn boolean(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "write true or false".to_owned())
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| "a whole number is expected".to_owned())
}

fn node_id(value: &str) -> Result<i32, String> {
    number(value).and_then(|id: i32| if id >= 0 { Ok(id) } else { Err("0 or more is expected".to_owned()) })
}

fn size(value: &str) -> Result<usize, String> {
    usize::try_from(parse_bytes(value)?).map_err(|_| "too large".to_owned())
}

fn frame_max(value: &str) -> Result<u32, String> {
    let in_range = |bytes: &u64| (4096..=u64::from(u32::MAX)).contains(bytes);
    let bytes = parse_bytes(value).ok().filter(in_range).and_then(|bytes| u32::try_from(bytes).ok());
    bytes.ok_or_else(|| "a size of 4KiB or more is expected".to_owned())
}

/// Whole seconds; a part of one counts as one, since 0 often means never.
fn seconds(value: &str) -> Result<u16, String> {
    let duration = parse_duration(value)?;
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u16::try_from(seconds).map_err(|_| "too long".to_owned())
}

/// A whole number that is not 0.
fn at_least_one<T: std::str::FromStr + PartialOrd + From<u8>>(value: &str) -> Result<T, String> {
    let number = number(value)?;
    if number >= T::from(1) { Ok(number) } else { Err("1 or more is expected".to_owned()) }
}

fn duration(value: &str) -> Result<Duration, String> {
    parse_duration(value)
}

fn advertised(value: &str) -> Result<Option<annals_kafka::Address>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|error: annals_kafka::AddressError| error.to_string())
}

fn ratio(value: &str) -> Result<f64, String> {
    let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a number from 0 to 1 is expected".to_owned())
}

fn endpoint(value: &str) -> Result<Option<String>, String> {
    match value {
        "" => Ok(None),
        _ if value.starts_with("http://") => Ok(Some(value.to_owned())),
        _ => Err("write http://HOST:PORT; the way to the collector is not encrypted".to_owned()),
    }
}

fn address(value: &str) -> Result<SocketAddr, String> {
    use std::net::ToSocketAddrs;
    let mut found = value.to_socket_addrs().map_err(|error| format!("not HOST:PORT: {error}"))?;
    found.next().ok_or_else(|| "the name has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)], pairs: &[(&str, &str)]) -> Result<Settings> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("annals.toml");
        std::fs::write(&path, file)?;
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Settings::load(Some(&path), owned(environment).into_iter(), &owned(pairs))
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file =
            "durability = \"async\"\n[kafka]\naddr = \"127.0.0.1:1\"\n[topic_defaults]\n\"retention.ms\" = 5";
        let settings =
            load(file, &[("ANNALS_KAFKA_ADDR", "127.0.0.1:2")], &[("http.addr", "127.0.0.1:3")]).unwrap();
        assert_eq!(settings.broker.durability, Durability::Async);
        assert_eq!((settings.kafka.address.port(), settings.http.address.port()), (2, 3));
        assert_eq!(settings.broker.topic_defaults.get("retention.ms"), Some("5"));
    }

    #[test]
    fn opentelemetrys_own_variables_count_less_than_ours_and_more_than_the_file() {
        let file = "[otlp]\nendpoint = \"http://file:4318\"";
        let standard =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard:4318"), ("OTEL_SERVICE_NAME", "shop")];
        let otlp = load(file, &standard, &[]).unwrap().otlp;
        assert_eq!(
            (otlp.endpoint.as_deref(), otlp.service_name.as_str()),
            (Some("http://standard:4318"), "shop")
        );
        let ours = [standard[0], standard[1], ("ANNALS_OTLP_ENDPOINT", "")];
        assert_eq!(load(file, &ours, &[]).unwrap().otlp.endpoint, None);
        let error = |name, value| load("", &[], &[(name, value)]).unwrap_err().to_string();
        assert!(error("otlp.endpoint", "https://collector").contains("not encrypted"));
        assert!(error("otlp.sample_ratio", "1.5").contains("from 0 to 1"));
    }

    #[test]
    fn users_of_the_amqp_port_may_do_what_is_written() {
        let pairs = [
            ("amqp.users", "guest:guest, clerk:secret"),
            ("amqp.vhosts", "/, shop"),
            ("amqp.permissions", "clerk shop ^$ ^orders$ .*"),
        ];
        let access = load("", &[], &pairs).unwrap().broker.access;
        assert_eq!(access.vhosts.iter().collect::<Vec<_>>(), ["/", "shop"]);
        let users = &access.users;
        assert!(users["guest"].is_loopback_only() && !users["clerk"].is_loopback_only());
        assert!(users["guest"].is_administrator() && !users["clerk"].is_administrator());
        assert!(load("", &[], &[("amqp.addr", "")]).unwrap().amqp.is_none());
        let error = |pair| load("", &[], &[pair]).unwrap_err().to_string();
        assert!(error(("amqp.users", "guest")).contains("write NAME:PASSWORD"));
        assert!(error(("amqp.permissions", "nobody / .* .* .*")).contains("no user \"nobody\""));
        assert!(error(("amqp.permissions", "guest / .*")).contains("write USER VHOST"));
        assert!(error(("amqp.permissions", "guest / ( .* .*")).contains("not a regular expression"));
    }

    #[test]
    fn variables_that_are_no_settings_are_told() {
        let names =
            ["ANNALS_KAFKA_ADRESS", "ANNALS_LOG", "ANNALS_KAFKA_ADDR", "ANNALS_PORT_9092_TCP", "ANNALS_WHAT"];
        let environment = names.map(|name| (name.to_owned(), String::new()));
        assert_eq!(
            unknown_variables(&environment),
            [
                "the variable ANNALS_KAFKA_ADRESS is no setting; did you mean \"ANNALS_KAFKA_ADDR\"?",
                "the variable ANNALS_WHAT is no setting"
            ]
        );
    }

    #[test]
    fn lists_rounding_and_ranges_are_as_people_mean_them() {
        let permissions = "[amqp]\nusers = [\"guest:guest\", \"clerk:x\"]\n\
                           permissions = [\"clerk / .* .* .*\", \"guest / ^$ ^$ ^$\"]";
        assert_eq!(load(permissions, &[], &[]).unwrap().broker.access.users.len(), 2);
        let heartbeat =
            |text| load("", &[], &[("amqp.heartbeat", text)]).unwrap().amqp_options.limits.heartbeat_s;
        assert_eq!((heartbeat("500ms"), heartbeat("2s"), heartbeat("0s")), (1, 2, 0));
        for name in ["partitions_default", "kafka.connections_max", "amqp.connections_max"] {
            let error = load("", &[], &[(name, "0")]).unwrap_err().to_string();
            assert!(error.contains("1 or more"), "{error}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_the_nearest_name() {
        let error = |file| load(file, &[], &[]).unwrap_err().to_string();
        assert!(
            error("[kafka]\nadr = \"x\"")
                .ends_with("unknown setting \"kafka.adr\"; did you mean \"kafka.addr\"?")
        );
        assert!(error("durability = \"maybe\"").contains("durability = \"maybe\": write sync or async"));
        assert!(error("[kafka]\nnode_id = -1").contains("0 or more"));
        assert!(error("[topic_defaults]\n\"retention.sm\" = 1").contains("retention.ms"));
        let remote = load("", &[], &[("kafka.addr", "0.0.0.0:9092")]).unwrap_err().to_string();
        assert!(remote.contains("--allow-remote"), "{remote}");
    }

    #[test]
    fn every_default_is_what_the_table_says() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            let mut settings = Settings::default();
            settings.set(key.name, key.default).unwrap();
            assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()), "{}", key.name);
        }
    }

    #[test]
    fn the_printed_file_is_valid() {
        let text: String = print_default().lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).fold(
            String::new(),
            |text, line| {
                let is_setting = line.starts_with('[') || line.contains(" = \"");
                if is_setting { text + line + "\n" } else { text }
            },
        );
        assert!(text.contains("[kafka]"));
        load(&text.replace("kafka.advertised", ""), &[], &[]).unwrap();
    }
}
