//! Settings of topics and of the server.

use std::sync::Arc;

/// What a setting belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(Arc<str>),
    /// The server itself.
    Server,
}

/// Asks for the settings of one resource; see `Broker::describe_configs`.
#[derive(Clone, Debug)]
pub struct ConfigQuery {
    /// The resource.
    pub resource: ConfigResource,
    /// Only these settings; `None` asks for all. Unknown names are left out.
    pub names: Option<Vec<String>>,
}

/// One setting with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name, as Kafka calls it.
    pub name: String,
    /// The value in force; `None` for what must not be shown.
    pub value: Option<String>,
    /// Every place that gives it a value, the one in force first.
    pub synonyms: Vec<ConfigSynonym>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// What kind of value it is.
    pub kind: ConfigKind,
    /// Whether it can be changed while the server runs.
    pub read_only: bool,
    /// Whether its value is a secret.
    pub sensitive: bool,
    /// What it does.
    pub documentation: &'static str,
}

/// A place that gives a setting a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// What it is called there: the server's names differ from those of topics.
    pub name: &'static str,
    /// Its value there.
    pub value: String,
    /// The place.
    pub source: ConfigSource,
}

/// Where a setting's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set for this topic.
    Topic,
    /// Set for the server: in its file, its environment or by a flag.
    Server,
    /// Built in.
    Default,
}

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// A fraction.
    Double,
    /// Comma-separated texts.
    List,
}

/// A change to one resource; see `Broker::alter_configs`.
#[derive(Clone, Debug)]
pub struct AlterConfigs {
    /// The resource.
    pub resource: ConfigResource,
    /// The change.
    pub change: ConfigChange,
}

/// How settings change.
#[derive(Clone, Debug)]
pub enum ConfigChange {
    /// Exactly these are set afterwards, and all others are at their defaults.
    Replace(Vec<(String, Option<String>)>),
    /// These operations, and all others stay.
    Update(Vec<ConfigOperation>),
}

/// A change to one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOperation {
    /// Gives it a value.
    Set(String, String),
    /// Takes it back to its default.
    Delete(String),
    /// Adds to a list.
    Append(String, String),
    /// Takes from a list.
    Subtract(String, String),
}

/// Why settings are not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescribeConfigsError {
    /// No such topic.
    #[error("topic {0} does not exist")]
    UnknownTopic(Arc<str>),
    /// Not a legal topic name.
    #[error("topic name {0:?} is not allowed")]
    InvalidTopic(Arc<str>),
    /// The caller may not see them.
    #[error("not authorized to describe configs")]
    NotAuthorized,
}

/// Why settings were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterConfigsError {
    /// No such topic.
    #[error("topic {0} does not exist")]
    UnknownTopic(Arc<str>),
    /// Unknown, read-only, or with a value that it cannot have.
    #[error("{0}")]
    InvalidConfig(String),
    /// Contradictory: the same setting twice, or an operation that it does not have.
    #[error("{0}")]
    InvalidRequest(String),
    /// The caller may not change them.
    #[error("not authorized to alter configs")]
    NotAuthorized,
    /// The server takes no writes at present.
    #[error("the server takes no writes: {0}")]
    Unavailable(String),
}
