//! Old events in the form of today: functions from raw event to raw event, keyed by name and version, chained.
//!
//! Invariant: every chain ends. Each function says beforehand which name and version it leads to, so a circle is found when
//! the functions are registered and not when an event is read. What is stored never changes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::TimestampMs;
use crate::store::Recorded;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Function = Arc<dyn Fn(RawEvent) -> Result<RawEvent, BoxError> + Send + Sync>;

/// A stored event before it becomes a Rust type.
#[derive(Clone, Debug, PartialEq)]
pub struct RawEvent {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Its data.
    pub data: Value,
    /// When it was stored, for upcasters that must know ("before the first of July the price was without tax").
    pub recorded_ms: TimestampMs,
}

impl RawEvent {
    pub(crate) fn of(recorded: &Recorded) -> Result<Self, serde_json::Error> {
        Ok(Self {
            name: recorded.name.clone(),
            version: recorded.version,
            data: serde_json::from_slice(&recorded.data)?,
            recorded_ms: recorded.recorded_ms,
        })
    }
}

/// What an upcaster may return: the event, or a `Result` of it.
pub trait Upcasted {
    /// As a result.
    ///
    /// # Errors
    /// If the upcaster failed.
    fn into_result(self) -> Result<RawEvent, BoxError>;
}

impl Upcasted for RawEvent {
    fn into_result(self) -> Result<RawEvent, BoxError> {
        Ok(self)
    }
}

impl<E: Into<BoxError>> Upcasted for Result<RawEvent, E> {
    fn into_result(self) -> Result<RawEvent, BoxError> {
        self.map_err(Into::into)
    }
}

/// An upcaster that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("the upcaster of {name} version {version} failed")]
pub struct UpcastError {
    /// The name of the event that it was given.
    pub name: String,
    /// The version of the event that it was given.
    pub version: u32,
    /// What it said, or that it panicked.
    pub source: BoxError,
}

/// Upcasters that do not fit together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpcastersError {
    /// Two start from the same name and version.
    #[error("two upcasters start from {name} version {version}: keep one")]
    Twice {
        /// The name.
        name: String,
        /// The version.
        version: u32,
    },
    /// Following them never ends.
    #[error("the upcasters that start from {name} version {version} lead back to it")]
    Circle {
        /// The name.
        name: String,
        /// The version.
        version: u32,
    },
}

/// A set of upcasters.
///
/// ```
/// use annals::{RawEvent, Upcasters};
///
/// let upcasters = Upcasters::new()
///     // Version 2 counts in cents.
///     .upcast("MoneyDeposited", 1, |mut event: RawEvent| {
///         event.data["amount_cents"] = (event.data["amount"].as_i64().unwrap_or(0) * 100).into();
///         event
///     })
///     // Later the event got a better name.
///     .rename(("AccountMade", 1), ("AccountOpened", 1), |event| event);
/// assert!(upcasters.check().is_ok());
/// ```
#[derive(Clone, Default)]
pub struct Upcasters {
    by_source: HashMap<String, Vec<Upcaster>>,
    twice: Option<(String, u32)>,
}

#[derive(Clone)]
struct Upcaster {
    from: u32,
    to: (String, u32),
    function: Function,
}

impl Upcasters {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function from `version` of `name` to the version after it.
    #[must_use]
    pub fn upcast<R: Upcasted>(
        self,
        name: &str,
        version: u32,
        function: impl Fn(RawEvent) -> R + Send + Sync + 'static,
    ) -> Self {
        self.rename((name, version), (name, version.saturating_add(1)), function)
    }

    /// Adds a function from one name and version to any other.
    #[must_use]
    pub fn rename<R: Upcasted>(
        mut self,
        from: (&str, u32),
        to: (&str, u32),
        function: impl Fn(RawEvent) -> R + Send + Sync + 'static,
    ) -> Self {
        if self.find(from.0, from.1).is_some() {
            self.twice.get_or_insert((from.0.to_owned(), from.1));
        }
        let function: Function = Arc::new(move |event| function(event).into_result());
        let upcaster = Upcaster { from: from.1, to: (to.0.to_owned(), to.1), function };
        self.by_source.entry(from.0.to_owned()).or_default().push(upcaster);
        self
    }

    /// Checks that no two start from the same place and that no chain is a circle. Done when a store is opened.
    ///
    /// # Errors
    /// [`UpcastersError`]
    pub fn check(&self) -> Result<(), UpcastersError> {
        if let Some((name, version)) = self.twice.clone() {
            return Err(UpcastersError::Twice { name, version });
        }
        let starts =
            self.by_source.iter().flat_map(|(name, list)| list.iter().map(move |one| (name, one.from)));
        for (name, version) in starts {
            if self.chain(name, version).nth(self.len()).is_some() {
                return Err(UpcastersError::Circle { name: name.clone(), version });
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_source.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_source.is_empty()
    }

    /// Adds those of `other`.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (name, list) in other.by_source {
            for upcaster in list {
                if self.find(&name, upcaster.from).is_some() {
                    self.twice.get_or_insert((name.clone(), upcaster.from));
                }
                self.by_source.entry(name.clone()).or_default().push(upcaster);
            }
        }
        self.twice = self.twice.or(other.twice);
        self
    }

    /// Whether an event of this name and version is changed at all.
    pub(crate) fn concerns(&self, name: &str, version: u32) -> bool {
        self.find(name, version).is_some()
    }

    /// Where an event of this name and version ends up.
    pub(crate) fn end<'a>(&'a self, name: &'a str, version: u32) -> (&'a str, u32) {
        self.chain(name, version).last().map_or((name, version), |last| (last.to.0.as_str(), last.to.1))
    }

    /// Leads `event` through all functions that follow.
    pub(crate) fn apply(&self, mut event: RawEvent) -> Result<RawEvent, UpcastError> {
        while let Some(upcaster) = self.find(&event.name, event.version) {
            let (name, version) = (event.name.clone(), event.version);
            let call = std::panic::AssertUnwindSafe(|| (upcaster.function)(event));
            let upcast =
                std::panic::catch_unwind(call).unwrap_or_else(|panic| Err(panic_message(&panic).into()));
            event = upcast.map_err(|source| UpcastError { name, version, source })?;
            (event.name, event.version) = upcaster.to.clone();
        }
        Ok(event)
    }

    /// Adds to `names` those from which a chain leads to one of them.
    pub(crate) fn add_former_names(&self, names: &mut Vec<String>) {
        for (name, list) in &self.by_source {
            let leads = |upcaster: &Upcaster| {
                let (end, _) = self.end(name, upcaster.from);
                names.iter().any(|known| known == end)
            };
            if !names.contains(name) && list.iter().any(leads) {
                names.push(name.clone());
            }
        }
    }

    fn find(&self, name: &str, version: u32) -> Option<&Upcaster> {
        self.by_source.get(name)?.iter().find(|upcaster| upcaster.from == version)
    }

    fn chain<'a>(&'a self, name: &str, version: u32) -> impl Iterator<Item = &'a Upcaster> {
        std::iter::successors(self.find(name, version), |last| self.find(&last.to.0, last.to.1))
    }
}

impl fmt::Debug for Upcasters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrows = self.by_source.iter().flat_map(|(name, list)| {
            list.iter().map(move |one| format!("{name} {} -> {} {}", one.from, one.to.0, one.to.1))
        });
        f.debug_list().entries(arrows).finish()
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.map_or_else(|| "it panicked".to_owned(), |text| format!("it panicked: {text}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(name: &str, version: u32, data: Value) -> RawEvent {
        RawEvent { name: name.into(), version, data, recorded_ms: 0 }
    }

    fn chain() -> Upcasters {
        Upcasters::new()
            .upcast("A", 1, |mut event: RawEvent| {
                event.data["one"] = json!(true);
                event
            })
            .upcast("A", 2, |mut event: RawEvent| {
                event.data["two"] = json!(event.data["one"].as_bool());
                event
            })
            .rename(("A", 3), ("B", 1), |event| event)
    }

    #[test]
    fn functions_are_chained_from_wherever_an_event_stands() {
        let end = |version| chain().apply(raw("A", version, json!({}))).unwrap();
        assert_eq!(end(1), raw("B", 1, json!({"one": true, "two": true})));
        assert_eq!(end(2), raw("B", 1, json!({"two": null})));
        assert_eq!(end(3), raw("B", 1, json!({})));
        assert_eq!(end(4), raw("A", 4, json!({})));
        assert_eq!(chain().end("A", 1), ("B", 1));
    }

    #[test]
    fn former_names_are_known() {
        let mut names = vec!["B".to_owned()];
        chain().add_former_names(&mut names);
        assert_eq!(names, ["B", "A"]);
    }

    #[test]
    fn circles_and_doubles_are_found_when_registered() {
        assert_eq!(chain().check(), Ok(()));
        let circle = chain().rename(("B", 1), ("A", 1), |event| event);
        assert!(matches!(circle.check(), Err(UpcastersError::Circle { .. })));
        let twice = chain().upcast("A", 2, |event| event);
        assert_eq!(twice.check(), Err(UpcastersError::Twice { name: "A".into(), version: 2 }));
        let merged = chain().and(Upcasters::new().upcast("A", 1, |event| event));
        assert_eq!(merged.check(), Err(UpcastersError::Twice { name: "A".into(), version: 1 }));
    }

    #[test]
    fn failures_and_panics_are_errors() {
        let failing = Upcasters::new().upcast("A", 1, |_| Err::<RawEvent, _>("no rate for that day"));
        let error = failing.apply(raw("A", 1, json!({}))).unwrap_err();
        assert_eq!(error.to_string(), "the upcaster of A version 1 failed");
        assert_eq!(error.source.to_string(), "no rate for that day");
        let panicking =
            Upcasters::new().upcast("A", 1, |event: RawEvent| -> RawEvent { panic!("bad {}", event.name) });
        let error = panicking.apply(raw("A", 1, json!({}))).unwrap_err();
        assert_eq!(error.source.to_string(), "it panicked: bad A");
    }
}
