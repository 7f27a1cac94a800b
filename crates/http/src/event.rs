//! Events in JSON and as CloudEvents: how they come in, and how they go out.

pub(crate) mod cloud;
pub(crate) mod incoming;
pub(crate) mod outgoing;

use annals_event::InvalidEvent;

/// The name of the part of an event that breaks a rule.
pub(crate) fn attribute_of(error: &InvalidEvent) -> &str {
    match error {
        InvalidEvent::Missing { attribute }
        | InvalidEvent::Empty { attribute }
        | InvalidEvent::NotAString { attribute }
        | InvalidEvent::Identifier { attribute } => attribute,
        InvalidEvent::Character { attribute, .. } => attribute,
        InvalidEvent::SpecVersion { .. } => "specversion",
        InvalidEvent::Source { .. } => "source",
        InvalidEvent::DataSchema { .. } => "dataschema",
        InvalidEvent::Time { .. } => "time",
        InvalidEvent::DataContentType { .. } => "datacontenttype",
        InvalidEvent::Name { name }
        | InvalidEvent::NameTooLong { name, .. }
        | InvalidEvent::CoreName { name } => name,
        InvalidEvent::ReservedName => "data",
        InvalidEvent::TooManyExtensions { .. } | InvalidEvent::TooLarge { .. } => "",
        InvalidEvent::SchemaVersion { .. } => "schemaversion",
        InvalidEvent::Trace(_) => "traceparent",
    }
}

/// What an error says, and what its sources say.
pub(crate) fn whole_story(error: &dyn std::error::Error) -> String {
    let mut story = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        story.push_str(": ");
        story.push_str(&error.to_string());
        source = error.source();
    }
    story
}
