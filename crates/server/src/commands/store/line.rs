//! A line of an exported store: an event, or the metadata of a stream.

use annals::client::{Event, StreamMetadata};
use serde::{Deserialize, Serialize};

/// The metadata of a stream, behind all events.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetadataLine {
    pub(super) stream: String,
    pub(super) stream_metadata: StreamMetadata,
}

/// A line.
#[derive(Debug)]
pub(super) enum Line {
    Event(Box<Event>),
    Metadata(MetadataLine),
}

impl Line {
    /// Reads a line. What tells them apart is that only an event has a type.
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(default, borrow)]
            stream_metadata: Option<&'a serde_json::value::RawValue>,
        }
        let kind: Kind<'_> = serde_json::from_str(text)?;
        Ok(match kind.stream_metadata {
            Some(_) => Self::Metadata(serde_json::from_str(text)?),
            None => Self::Event(serde_json::from_str(text)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn lines_are_told_apart() {
        let metadata = r#"{"stream":"a-1","stream_metadata":{"max_count":3}}"#;
        assert!(
            matches!(Line::parse(metadata), Ok(Line::Metadata(line)) if line.stream_metadata.max_count == Some(3))
        );
        let event = r#"{"position":0,"stream":"a-1","revision":0,"recorded":"2025-01-10T12:00:00Z","id":"x","type":"T"}"#;
        assert!(matches!(Line::parse(event), Ok(Line::Event(event)) if event.name == "T"));
        assert!(Line::parse("{}").is_err() && Line::parse("[]").is_err());
    }
}
