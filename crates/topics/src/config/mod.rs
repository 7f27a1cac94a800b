//! Configuration of topics under Kafka's names, with Kafka's types, ranges and defaults.
//!
//! Every name that Apache Kafka 4 knows for a topic can be set, listed and described. What Annals has no use for (a
//! shared log has no segment files of one partition) is stored and shown, so that tools that set it keep working;
//! [`Spec::effect`] says which those are. An unknown name is an error that names the nearest known one.
//!
//! A value comes from the first of: the topic itself, the server's settings, the default. [`Overrides`] holds what was
//! set in one place; [`TopicConfig`] is what results, typed; [`describe`] tells where each value came from.
//!
//! Source: Kafka documentation, "Topic Configs"; KIP-339 (incremental changes), KIP-937 (timestamp bounds), KIP-390
//! (compression levels).
//!
//! ```
//! use annals_topics::config::{Change, Overrides, TopicConfig};
//!
//! let server = Overrides::default();
//! let topic = Overrides::default().changed(&[("retention.ms", Change::Set(Some("60000")))])?;
//! assert_eq!(TopicConfig::resolve(&server, &topic).retention.time_ms, Some(60_000));
//!
//! let error = topic.changed(&[("retention.sm", Change::Set(Some("1")))]).unwrap_err();
//! assert_eq!(error.to_string(), "unknown topic configuration retention.sm; the nearest known is retention.ms");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod broker;
mod change;
mod describe;
mod spec;
mod topic;

pub use broker::{BROKER_SPECS, describe_broker};
pub use change::{Change, ConfigError, Overrides};
pub use describe::{Described, Source, Synonym, describe};
pub use spec::{Effect, Kind, Spec, TOPIC_SPECS, find_topic_spec};
pub use topic::{Cleanup, Compaction, Durability, SegmentRules, TopicConfig};
