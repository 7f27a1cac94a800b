//! Values set in one place, and how they change (IncrementalAlterConfigs, AlterConfigs, CreateTopics).

use std::collections::BTreeMap;

use super::spec::{TOPIC_SPECS, find_topic_spec, list, nearest};
use super::{Spec, TopicConfig};
use crate::ErrorKind;

/// One change to one configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// Give it this value. Null is not a value.
    Set(Option<&'a str>),
    /// Take the topic's own value away.
    Delete,
    /// Add words to a list.
    Append(&'a str),
    /// Take words from a list.
    Subtract(&'a str),
}

/// Why a configuration was refused.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// No topic configuration has this name.
    #[error("unknown topic configuration {name}{}", hint(.nearest))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The known name that is nearest, if any is near.
        nearest: Option<&'static str>,
    },
    /// The value is not of the right type, or out of range.
    #[error("invalid value {value:?} for {name}: expected {expected}")]
    Invalid {
        /// The configuration.
        name: &'static str,
        /// The value refused.
        value: String,
        /// What it takes.
        expected: String,
    },
    /// A configuration was set to null.
    #[error("null value for {name}: delete the configuration to return to its default")]
    Null {
        /// The configuration.
        name: &'static str,
    },
    /// Words were added to something that is no list, or taken from it.
    #[error("{name} is not a list: set it as a whole")]
    NotAList {
        /// The configuration.
        name: &'static str,
    },
    /// One request names a configuration twice.
    #[error("{name} occurs more than once in one request")]
    Duplicate {
        /// The configuration.
        name: &'static str,
    },
    /// Two configurations contradict each other.
    #[error("{smaller}={smaller_value} must not be greater than {greater}={greater_value}")]
    Contradiction {
        /// The one that has to be smaller.
        smaller: &'static str,
        /// Its value.
        smaller_value: i64,
        /// The one that has to be greater.
        greater: &'static str,
        /// Its value.
        greater_value: i64,
    },
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or(String::new(), |name| format!("; the nearest known is {name}"))
}

impl ConfigError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::FixInput
    }
}

/// The values that were set in one place: on a topic, or for the whole server. Every one has been checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Overrides {
    values: BTreeMap<&'static str, Box<str>>,
}

impl Overrides {
    /// Checks values for a new topic, or a whole replacement (AlterConfigs).
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, ConfigError> {
        let changes: Vec<_> = pairs.into_iter().map(|(name, value)| (name, Change::Set(value))).collect();
        Self::default().changed(&changes)
    }

    /// The values after `changes`, all or none.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn changed(&self, changes: &[(&str, Change<'_>)]) -> Result<Self, ConfigError> {
        let mut changed = self.clone();
        let mut seen = Vec::with_capacity(changes.len());
        for (name, change) in changes {
            let spec = known(name)?;
            if seen.contains(&spec.name) {
                return Err(ConfigError::Duplicate { name: spec.name });
            }
            seen.push(spec.name);
            changed.change(spec, *change)?;
        }
        changed.check_together()?;
        Ok(changed)
    }

    fn change(&mut self, spec: &'static Spec, change: Change<'_>) -> Result<(), ConfigError> {
        let name = spec.name;
        match change {
            Change::Set(value) => self.set(spec, value.ok_or(ConfigError::Null { name })?),
            Change::Delete => {
                self.values.remove(name);
                Ok(())
            }
            Change::Append(_) | Change::Subtract(_) if !spec.kind.is_list() => {
                Err(ConfigError::NotAList { name })
            }
            Change::Append(words) => {
                let mut now = self.list(spec);
                let new: Vec<_> = list(words).filter(|word| !now.iter().any(|old| old == word)).collect();
                now.extend(new.into_iter().map(str::to_owned));
                self.set(spec, &now.join(","))
            }
            Change::Subtract(words) => {
                let mut now = self.list(spec);
                now.retain(|word| !list(words).any(|gone| gone == word));
                self.set(spec, &now.join(","))
            }
        }
    }

    fn list(&self, spec: &'static Spec) -> Vec<String> {
        list(self.get(spec.name).unwrap_or(spec.default)).map(str::to_owned).collect()
    }

    fn set(&mut self, spec: &'static Spec, value: &str) -> Result<(), ConfigError> {
        spec.check(value)?;
        self.values.insert(spec.name, value.trim().into());
        Ok(())
    }

    fn check_together(&self) -> Result<(), ConfigError> {
        let lag = TopicConfig::resolve(&Self::default(), self).compaction;
        if lag.min_lag_ms > lag.max_lag_ms {
            return Err(ConfigError::Contradiction {
                smaller: "min.compaction.lag.ms",
                smaller_value: lag.min_lag_ms,
                greater: "max.compaction.lag.ms",
                greater_value: lag.max_lag_ms,
            });
        }
        Ok(())
    }

    /// The value set here, if any.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(AsRef::as_ref)
    }

    /// All values set here, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(name, value)| (*name, value.as_ref()))
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

fn known(name: &str) -> Result<&'static Spec, ConfigError> {
    let unknown = || ConfigError::Unknown { name: name.to_owned(), nearest: nearest(&TOPIC_SPECS, name) };
    find_topic_spec(name).ok_or_else(unknown)
}
