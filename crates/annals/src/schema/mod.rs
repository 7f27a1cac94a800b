//! Schemas of events: derived from the Rust types, registered in the store, compared before anything is written.
//!
//! Each event type has two JSON Schemas (draft 2020-12): what the program writes and what it reads. They differ where a field
//! has a default. A new program is compared with what earlier ones registered, as Confluent's Schema Registry does with its
//! compatibility modes. There is one difference in judgement: our writers write exactly the fields of a type, and readers
//! pass over fields that they do not know (unless told `deny_unknown_fields`). So adding a field with a default and removing
//! any field are backward compatible here, where the registry's open content model for JSON Schema forbids the former.
//!
//! Invariant: a version that was registered stays registered; a schema of the same version that is compatible is added.

mod compatibility;
mod derive;
mod registry;

use std::fmt;

use serde_json::Value;

pub use compatibility::{Incompatibility, check_reads};
pub use derive::{ShapeError, event_schemas};
pub use registry::SchemaError;
pub(crate) use registry::{Checked, register};

/// Which programs must understand which events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compatibility {
    /// The new program reads what was registered last.
    Backward,
    /// The new program reads everything that was ever registered. What an event store needs, since it replays from the
    /// beginning; so it is the default.
    #[default]
    BackwardTransitive,
    /// The program that registered last reads what the new one writes.
    Forward,
    /// Every program that ever registered reads what the new one writes.
    ForwardTransitive,
    /// Both ways with what was registered last.
    Full,
    /// Both ways with everything that was ever registered.
    FullTransitive,
    /// Nothing is checked.
    None,
}

impl Compatibility {
    pub(crate) fn is_backward(self) -> bool {
        matches!(self, Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive)
    }

    pub(crate) fn is_forward(self) -> bool {
        matches!(self, Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive)
    }

    pub(crate) fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }
}

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
            Self::None => "NONE",
        })
    }
}

/// The schemas of one version of an event.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EventSchema {
    /// The event's name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The oldest version that is read with `reads`.
    pub reads_from: u32,
    /// What is written.
    pub writes: Value,
    /// What is read.
    pub reads: Value,
}
