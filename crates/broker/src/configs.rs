//! Settings of topics and of the server: show and change them.
//!
//! Topics' settings live in the catalogue. The server's are what it was started with; they are shown under the names
//! that Kafka's tools know, and changed by a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use annals_topics::catalogue::{Catalogue, ChangeError, check_topic_name};
use annals_topics::config::{
    BROKER_SPECS, Change, ConfigError, Described, Kind, Overrides, Source, Synonym, describe, describe_broker,
};
use annals_topics::offsets::Record;

use crate::api::Caller;
use crate::api::configs::{
    AlterConfigs, AlterConfigsError, ConfigChange, ConfigEntry, ConfigKind, ConfigOperation, ConfigQuery,
    ConfigResource, ConfigSource, ConfigSynonym, DescribeConfigsError,
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
        let decided: Vec<_> = inner.state.with_catalogue(|catalogue| {
            changes.iter().map(|alter| decide(catalogue, alter, &changes)).collect()
        });
        let records: Vec<Record> = decided.iter().flatten().flatten().cloned().collect();
        if validate_only || records.is_empty() {
            return decided.into_iter().map(|decided| decided.map(drop)).collect();
        }
        let appended = inner.append_catalogue(&records, &[]).await;
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
            ConfigResource::Topic(name) => {
                self.state.with_catalogue(|catalogue| topic_config(catalogue, name))?
            }
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
    let is_default =
        |name, value: &str| BROKER_SPECS.iter().any(|spec| spec.name == name && spec.default == value);
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
            let values: Vec<_> =
                values.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
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

/// Nothing can be set; so there is nothing to delete, and whoever wants that is content.
fn refuse_server_change(change: &ConfigChange) -> Result<Option<Record>, AlterConfigsError> {
    let first = match change {
        ConfigChange::Replace(values) => values.first().map(|(name, _)| name.as_str()),
        ConfigChange::Update(operations) => {
            let mut changes = operations.iter().map(change_of);
            changes.find(|(_, change)| !matches!(change, Change::Delete)).map(|(name, _)| name)
        }
    };
    let Some(name) = first else { return Ok(None) };
    let reason =
        format!("{name} cannot be changed while the server runs; {}, then restart it", how_to_set(name));
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
        let source = |source| match source {
            Source::Topic => ConfigSource::Topic,
            Source::Server => ConfigSource::Server,
            Source::Default => ConfigSource::Default,
        };
        let synonym =
            |Synonym { name, value, source: place }| ConfigSynonym { name, value, source: source(place) };
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
            synonyms: described.synonyms.into_iter().map(synonym).collect(),
            source: source(described.source),
            kind,
            read_only: described.read_only,
            sensitive: false,
            documentation: described.doc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::tests::World;

    async fn describe(world: &World, resource: &ConfigResource, name: &str) -> Option<ConfigEntry> {
        let query = ConfigQuery { resource: resource.clone(), names: Some(vec![name.to_owned()]) };
        let mut described = world.broker.describe_configs(&world.caller, vec![query]).await;
        described.remove(0).unwrap().pop()
    }

    async fn alter(
        world: &World,
        resource: &ConfigResource,
        change: ConfigChange,
    ) -> Result<(), AlterConfigsError> {
        let alter = AlterConfigs { resource: resource.clone(), change };
        world.broker.alter_configs(&world.caller, vec![alter], false).await.remove(0)
    }

    fn set(name: &str, value: &str) -> ConfigOperation {
        ConfigOperation::Set(name.to_owned(), value.to_owned())
    }

    fn orders() -> ConfigResource {
        ConfigResource::Topic("orders".into())
    }

    #[tokio::test]
    async fn a_topic_is_altered_and_stays_so_after_a_restart() {
        let world = World::new();
        world.create("orders", 1).await;
        let before = describe(&world, &orders(), "retention.ms").await.unwrap();
        assert_eq!((before.value.as_deref(), before.source), (Some("604800000"), ConfigSource::Default));
        let operations = vec![
            set("retention.ms", "60000"),
            ConfigOperation::Append("cleanup.policy".into(), "compact".into()),
        ];
        alter(&world, &orders(), ConfigChange::Update(operations)).await.unwrap();

        let world = world.reopen().await;
        let after = describe(&world, &orders(), "retention.ms").await.unwrap();
        assert_eq!((after.value.as_deref(), after.source), (Some("60000"), ConfigSource::Topic));
        let places: Vec<_> = after.synonyms.iter().map(|place| (place.name, &*place.value)).collect();
        assert_eq!(places, [("retention.ms", "60000"), ("log.retention.ms", "604800000")]);
        assert_eq!(after.kind, ConfigKind::Long);
        let policy = describe(&world, &orders(), "cleanup.policy").await.unwrap();
        assert_eq!((policy.value.as_deref(), policy.kind), (Some("delete,compact"), ConfigKind::List));
        let config = Arc::clone(&world.broker.inner.state.table.topics()[0].topic.config);
        assert!(config.cleanup.compact && config.retention.time_ms == Some(60_000), "{config:?}");

        let values = vec![("max.message.bytes".to_owned(), Some("2000".to_owned()))];
        alter(&world, &orders(), ConfigChange::Replace(values)).await.unwrap();
        let replaced = describe(&world, &orders(), "retention.ms").await.unwrap();
        assert_eq!(replaced.source, ConfigSource::Default);
    }

    #[tokio::test]
    async fn a_check_alone_changes_nothing() {
        let world = World::new();
        world.create("orders", 1).await;
        let change = ConfigChange::Update(vec![set("retention.ms", "60000")]);
        let alter = AlterConfigs { resource: orders(), change };
        assert_eq!(world.broker.alter_configs(&world.caller, vec![alter], true).await, [Ok(())]);
        let entry = describe(&world, &orders(), "retention.ms").await.unwrap();
        assert_eq!(entry.source, ConfigSource::Default);
    }

    #[tokio::test]
    async fn each_resource_has_its_own_outcome() {
        let world = World::new();
        world.create("orders", 1).await;
        world.create("bills", 1).await;
        let change = |topic: &str, operation| AlterConfigs {
            resource: ConfigResource::Topic(topic.into()),
            change: ConfigChange::Update(vec![operation]),
        };
        let changes = vec![
            change("orders", set("retention.sm", "1")),
            change("no", set("retention.ms", "1")),
            change("bills", set("retention.ms", "1000")),
        ];
        let results = world.broker.alter_configs(&world.caller, changes, false).await;
        let nearest = "unknown topic configuration retention.sm; the nearest known is retention.ms";
        assert_eq!(results[0], Err(AlterConfigsError::InvalidConfig(nearest.into())));
        assert_eq!(results[1], Err(AlterConfigsError::UnknownTopic("no".into())));
        assert_eq!(results[2], Ok(()));
        let twice = vec![change("bills", set("retention.ms", "1")), change("bills", set("segment.ms", "1"))];
        let results = world.broker.alter_configs(&world.caller, twice, false).await;
        assert!(results.iter().all(|result| matches!(result, Err(AlterConfigsError::InvalidRequest(_)))));
    }

    #[tokio::test]
    async fn the_server_shows_its_settings_and_says_how_to_change_them() {
        let world = World::new();
        let server = ConfigResource::Server;
        let node = describe(&world, &server, "node.id").await.unwrap();
        assert_eq!((node.value.as_deref(), node.read_only), (Some("0"), true));
        let delay = describe(&world, &server, "group.initial.rebalance.delay.ms").await.unwrap();
        assert_eq!((delay.value.as_deref(), delay.source), (Some("1"), ConfigSource::Server));
        let max = describe(&world, &server, "message.max.bytes").await.unwrap();
        assert_eq!(max.value.as_deref(), Some("1048588"));
        let change = ConfigChange::Update(vec![set("auto.create.topics.enable", "false")]);
        let Err(AlterConfigsError::InvalidConfig(reason)) = alter(&world, &server, change).await else {
            panic!("it was changed")
        };
        assert!(reason.contains("--auto-create-topics"), "{reason}");
    }

    #[tokio::test]
    async fn unknown_topics_and_a_failing_disk_are_told() {
        let world = World::new();
        world.create("orders", 1).await;
        let query = |topic: &str| ConfigQuery { resource: ConfigResource::Topic(topic.into()), names: None };
        let queries = vec![query("no"), query("no/such"), query("orders")];
        let described = world.broker.describe_configs(&world.caller, queries).await;
        assert_eq!(described[0], Err(DescribeConfigsError::UnknownTopic("no".into())));
        assert_eq!(described[1], Err(DescribeConfigsError::InvalidTopic("no/such".into())));
        assert_eq!(described[2].as_ref().map(Vec::len), Ok(annals_topics::config::TOPIC_SPECS.len()));
        world.files.wait_for_spare();
        world.files.fail_syncs(true);
        let change = ConfigChange::Update(vec![set("retention.ms", "60000")]);
        let refused = alter(&world, &orders(), change).await;
        assert!(matches!(refused, Err(AlterConfigsError::Unavailable(_))), "{refused:?}");
    }
}
