//! Settings of topics and of the server: show and change them.
//!
//! Topics' settings live in the catalogue. The server's are what it was started with; they are shown under the names
//! that Kafka's tools know, and changed by a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use annals_topics::catalogue::{Catalogue, ChangeError, check_topic_name};
use annals_topics::config::{
    BROKER_SPECS, Change, ConfigError, Described, Kind, Overrides, Source, describe, describe_broker,
};
use annals_topics::offsets::Record;

use crate::api::Caller;
use crate::api::configs::{
    AlterConfigs, AlterConfigsError, ConfigChange, ConfigEntry, ConfigKind, ConfigOperation, ConfigQuery,
    ConfigResource, ConfigSource, DescribeConfigsError,
};
use crate::{Broker, Inner, Options};

impl Broker {
    /// Shows settings: one result for each query, in their order.
    pub async fn describe_configs(
        &self,
        _caller: &Caller,
        queries: Vec<ConfigQuery>,
    ) -> Vec<Result<Vec<ConfigEntry>, DescribeConfigsError>> {
        queries.into_iter().map(|query| self.inner.describe_config(query)).collect()
    }

    /// Changes settings, each resource for itself: all of its changes or none. Durable on return.
    ///
    /// With `validate_only` everything is checked and nothing is changed.
    pub async fn alter_configs(
        &self,
        _caller: &Caller,
        changes: Vec<AlterConfigs>,
        validate_only: bool,
    ) -> Vec<Result<(), AlterConfigsError>> {
        let inner = &*self.inner;
        let _changing = inner.changing.lock().await;
        let decided: Vec<_> =
            inner.state.with_catalogue(|catalogue| changes.iter().map(|alter| decide(catalogue, alter, &changes)).collect());
        let records: Vec<Record> = decided.iter().flatten().flatten().cloned().collect();
        if validate_only || records.is_empty() {
            return decided.into_iter().map(|decided| decided.map(drop)).collect();
        }
        let appended = inner.catalogue_log.append(&inner.journal, &records, inner.clock.now_ms(), |_| {}).await;
        let unavailable = appended.err().map(|error| AlterConfigsError::Unavailable(error.to_string()));
        let result = |decided: Result<Option<Record>, _>| match (decided?, &unavailable) {
            (Some(_), Some(error)) => Err(error.clone()),
            _ => Ok(()),
        };
        decided.into_iter().map(result).collect()
    }
}

impl Inner {
    /// All settings of a topic that sets `overrides` itself.
    pub(crate) fn topic_config_entries(&self, overrides: &Overrides) -> Vec<ConfigEntry> {
        entries(describe(&self.options.topic_defaults, overrides))
    }

    fn describe_config(&self, query: ConfigQuery) -> Result<Vec<ConfigEntry>, DescribeConfigsError> {
        let mut entries = match query.resource {
            ConfigResource::Server => server_config_entries(&self.options),
            ConfigResource::Topic(name) => self.state.with_catalogue(|catalogue| topic_config(catalogue, name))?,
        };
        // Kafka's clients ask for all with no list and with an empty one.
        if let Some(names) = query.names.filter(|names| !names.is_empty()) {
            entries.retain(|entry| names.contains(&entry.name));
        }
        Ok(entries)
    }
}

fn topic_config(catalogue: &Catalogue, name: Arc<str>) -> Result<Vec<ConfigEntry>, DescribeConfigsError> {
    match catalogue.topic(&name) {
        Some(topic) => Ok(entries(describe(catalogue.server_config(), &topic.overrides))),
        None if check_topic_name(&name).is_err() => Err(DescribeConfigsError::InvalidTopic(name)),
        None => Err(DescribeConfigsError::UnknownTopic(name)),
    }
}

fn server_config_entries(options: &Options) -> Vec<ConfigEntry> {
    let known = known_settings(options);
    entries(describe_broker(&known, &options.topic_defaults))
}

fn entries(described: Vec<Described>) -> Vec<ConfigEntry> {
    described.into_iter().map(ConfigEntry::from).collect()
}

/// What this server knows of the settings that Kafka's brokers have, where it differs from their defaults.
fn known_settings(options: &Options) -> BTreeMap<&'static str, String> {
    let (groups, topics) = (&options.groups, &options.topics);
    let millis = |duration: Duration| duration.as_millis().to_string();
    let known = [
        ("auto.create.topics.enable", options.auto_create_topics.to_string()),
        ("broker.id", topics.node_id.to_string()),
        ("group.initial.rebalance.delay.ms", millis(groups.initial_rebalance_delay)),
        ("group.max.session.timeout.ms", millis(groups.session_timeout_max)),
        ("group.max.size", groups.group_size_max.to_string()),
        ("group.min.session.timeout.ms", millis(groups.session_timeout_min)),
        ("log.retention.check.interval.ms", millis(options.retention_interval)),
        ("node.id", topics.node_id.to_string()),
        ("num.partitions", topics.partitions_default.to_string()),
        ("offset.metadata.max.bytes", groups.offset_metadata_size_bytes_max.to_string()),
        ("offsets.retention.minutes", (groups.offsets_retention.as_secs() / 60).to_string()),
    ];
    let is_default = |name, value: &str| BROKER_SPECS.iter().any(|spec| spec.name == name && spec.default == value);
    known.into_iter().filter(|(name, value)| !is_default(*name, value)).collect()
}

/// The record that makes a change; none if the change is empty.
fn decide(
    catalogue: &Catalogue,
    alter: &AlterConfigs,
    all: &[AlterConfigs],
) -> Result<Option<Record>, AlterConfigsError> {
    if all.iter().filter(|other| other.resource == alter.resource).count() > 1 {
        let reason = "each resource may appear once in a request".to_owned();
        return Err(AlterConfigsError::InvalidRequest(reason));
    }
    let record = match (&alter.resource, &alter.change) {
        (ConfigResource::Server, change) => return refuse_server_change(change),
        (ConfigResource::Topic(_), ConfigChange::Update(operations)) if operations.is_empty() => None,
        (ConfigResource::Topic(name), ConfigChange::Update(operations)) => {
            let changes: Vec<_> = operations.iter().map(change_of).collect();
            Some(catalogue.decide_alter(name, &changes)?)
        }
        (ConfigResource::Topic(name), ConfigChange::Replace(values)) => {
            let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            Some(catalogue.decide_replace_config(name, &values)?)
        }
    };
    Ok(record)
}

fn change_of(operation: &ConfigOperation) -> (&str, Change<'_>) {
    match operation {
        ConfigOperation::Set(name, value) => (name, Change::Set(Some(value))),
        ConfigOperation::Delete(name) => (name, Change::Delete),
        ConfigOperation::Append(name, words) => (name, Change::Append(words)),
        ConfigOperation::Subtract(name, words) => (name, Change::Subtract(words)),
    }
}

fn refuse_server_change(change: &ConfigChange) -> Result<Option<Record>, AlterConfigsError> {
    let first = match change {
        ConfigChange::Replace(values) => values.first().map(|(name, _)| name.as_str()),
        ConfigChange::Update(operations) => operations.first().map(|operation| change_of(operation).0),
    };
    let Some(name) = first else { return Ok(None) };
    let reason = format!("{name} cannot be changed while the server runs; {}, then restart it", how_to_set(name));
    Err(AlterConfigsError::InvalidConfig(reason))
}

/// What sets a server's setting.
fn how_to_set(name: &str) -> &'static str {
    match name {
        "auto.create.topics.enable" => "start it with --auto-create-topics true or false",
        "listeners" | "advertised.listeners" => "start it with another --kafka-addr",
        "log.dir" | "log.dirs" => "start it with another --data-dir",
        _ => "set it in the file that --config names",
    }
}

impl From<ChangeError> for AlterConfigsError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::UnknownTopic { name } => Self::UnknownTopic(name.into()),
            ChangeError::Config(ConfigError::Duplicate { .. } | ConfigError::Null { .. }) => {
                Self::InvalidRequest(error.to_string())
            }
            ChangeError::Config(
                ConfigError::Unknown { .. }
                | ConfigError::Invalid { .. }
                | ConfigError::NotAList { .. }
                | ConfigError::Contradiction { .. },
            ) => Self::InvalidConfig(error.to_string()),
            // Not about settings: no change of settings leads there.
            ChangeError::UnknownTopicId { .. }
            | ChangeError::NotMorePartitions { .. }
            | ChangeError::AssignmentCount { .. }
            | ChangeError::Partitions(_) => Self::InvalidRequest(error.to_string()),
        }
    }
}

impl From<Described> for ConfigEntry {
    fn from(described: Described) -> Self {
        let source = match described.source {
            Source::Topic => ConfigSource::Topic,
            Source::Server => ConfigSource::Server,
            Source::Default => ConfigSource::Default,
        };
        let kind = match described.kind {
            Kind::Boolean => ConfigKind::Boolean,
            Kind::Int(..) => ConfigKind::Int,
            Kind::Long(..) => ConfigKind::Long,
            Kind::Double(..) => ConfigKind::Double,
            Kind::Text | Kind::Choice(_) => ConfigKind::String,
            Kind::Choices(_) | Kind::List => ConfigKind::List,
        };
        Self {
            name: described.name.to_owned(),
            value: Some(described.value),
            // What counts without the topic's own value: the server's, or the built-in one.
            default: described.synonyms.into_iter().find(|place| place.source != Source::Topic).map(|place| place.value),
            source,
            kind,
            read_only: described.read_only,
            sensitive: false,
            documentation: described.doc,
        }
    }
}
