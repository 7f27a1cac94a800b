//! What an event is to this library: a Rust value with a stored name and version.
//!
//! Names and versions are the contract with the past and with other languages, so they are spelled out and never follow
//! a rename of a Rust type. The data is what serde writes for the variant's fields, as JSON, without the variant's name
//! around it: that stands in the envelope.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::Recorded;
use crate::variant;

/// A set of event types that one Rust type stands for. Implemented by `#[derive(Event)]`.
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// All event types of this Rust type, as they are written.
    const TYPES: &'static [EventType];

    /// Which one this value is.
    fn event_type(&self) -> &'static EventType;

    /// The tags under which this value is found; see [`crate::store::Query`]. They are stored readable, also where the data is
    /// encrypted.
    fn tags(&self) -> Vec<Tag>;

    /// For whose key the data of this value is encrypted, such as `person:7`; `None`: it is stored as it is. The subject's name
    /// is stored nowhere. [`crate::EventStore::shred`] makes the data unreadable for good.
    fn encrypt_for(&self) -> Option<String> {
        None
    }

    /// What stands in for a stored event whose data is gone, since its key was shredded. `recorded` has what is left of it,
    /// `event_type` is the one among [`Event::TYPES`] that it would have been read as. `None`: it is left out, and everything
    /// goes on with the next event.
    fn shredded(event_type: &EventType, recorded: &Recorded) -> Option<Self> {
        let _ = (event_type, recorded);
        None
    }

    /// The data of this value as JSON.
    ///
    /// # Errors
    /// If serde cannot write it, for example a map whose keys are no strings.
    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let event_type = self.event_type();
        let written = match event_type.variant {
            Some(_) => variant::to_vec(self),
            None => serde_json::to_vec(self),
        };
        written.map_err(|source| EncodeError { name: event_type.name, source })
    }
}

/// One event type: the name and version that are stored with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    /// The name, in the past tense: `MoneyDeposited`.
    pub name: &'static str,
    /// The version that is written, from 1.
    pub version: u32,
    /// The oldest version that the Rust type reads as it is, without an upcaster.
    pub reads: u32,
    /// The name by which serde knows the variant of an enum; none for a struct.
    pub variant: Option<&'static str>,
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.name, self.version)
    }
}

/// An event that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("event {name} cannot be written as JSON")]
pub struct EncodeError {
    /// Its name.
    pub name: &'static str,
    /// What serde says.
    pub source: serde_json::Error,
}

/// What an event can be found by, beside its stream and its type: `account:123`.
///
/// Tags that start with `$` belong to Annals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

impl Serialize for Tag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Tag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl Tag {
    /// A tag as it is.
    pub fn new(tag: impl Into<Arc<str>>) -> Self {
        Self(tag.into())
    }

    /// The tag `key:value`.
    pub fn of(key: &str, value: &(impl fmt::Display + ?Sized)) -> Self {
        Self(format!("{key}:{value}").into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, annals_derive::Event, Serialize, Deserialize)]
    #[serde(rename_all_fields = "camelCase")]
    enum Sample {
        #[event(name = "Emptied", version = 2, reads = 1)]
        Empty,
        Named {
            #[event(tag = "account")]
            account_id: u32,
            #[event(tag)]
            label: Option<String>,
            #[event(tag = "item")]
            items: Vec<String>,
        },
        #[serde(rename = "inside")]
        #[event(name = "Wrapped")]
        Inside(Inner),
    }

    #[derive(Debug, PartialEq, annals_derive::Event, Serialize, Deserialize)]
    struct Inner {
        #[event(tag)]
        number: i64,
    }

    fn round_trip(event: &Sample, json: &str) {
        let data = event.encode().unwrap();
        assert_eq!(String::from_utf8_lossy(&data), json);
        let variant = event.event_type().variant;
        assert_eq!(&variant::from_slice::<Sample>(variant, &data).unwrap(), event);
    }

    #[test]
    fn data_stands_without_the_variants_name() {
        round_trip(&Sample::Empty, "{}");
        let named = Sample::Named { account_id: 7, label: None, items: vec![] };
        round_trip(&named, r#"{"accountId":7,"label":null,"items":[]}"#);
        round_trip(&Sample::Inside(Inner { number: -1 }), r#"{"number":-1}"#);
    }

    #[test]
    fn tags_come_from_fields() {
        let items = vec!["tea".to_owned(), "milk".to_owned()];
        let event = Sample::Named { account_id: 7, label: Some("x".into()), items };
        let tags: Vec<String> = event.tags().iter().map(Tag::to_string).collect();
        assert_eq!(tags, ["account:7", "label:x", "item:tea", "item:milk"]);
        assert_eq!(Sample::Empty.tags(), []);
        assert_eq!(Inner { number: 3 }.tags(), [Tag::new("number:3")]);
    }

    #[test]
    fn types_are_listed_as_they_are_written() {
        let names: Vec<String> = Sample::TYPES.iter().map(EventType::to_string).collect();
        assert_eq!(names, ["Emptied version 2", "Named version 1", "Wrapped version 1"]);
        assert_eq!(Sample::TYPES[0].reads, 1);
        assert_eq!(Inner::TYPES[0].variant, None);
    }

    #[test]
    fn data_that_does_not_fit_is_refused() {
        for (variant, data) in
            [("Named", "{}"), ("Named", "[1"), ("inside", r#"{"number":"x"}"#), ("No", "{}")]
        {
            assert!(
                variant::from_slice::<Sample>(Some(variant), data.as_bytes()).is_err(),
                "{variant} {data}"
            );
        }
        assert!(variant::from_slice::<Sample>(Some("Empty"), b"{} {}").is_err());
    }

    #[test]
    fn an_empty_event_may_have_gained_fields_elsewhere() {
        assert_eq!(variant::from_slice::<Sample>(Some("Empty"), br#"{"later":1}"#).unwrap(), Sample::Empty);
    }
}
