//! What can be wrong with an envelope: one case for each rule of the CloudEvents specification.

use crate::TraceError;

/// An envelope that breaks a rule of CloudEvents 1.0. Its sender has to fix the event; a retry changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    /// A required attribute is not there.
    #[error("attribute {attribute} is missing: every event has one")]
    Missing {
        /// Which of `specversion`, `id`, `source` and `type`.
        attribute: &'static str,
    },
    /// An attribute that must not be empty is.
    #[error("attribute {attribute} is empty: give it a value or, if it is optional, leave it out")]
    Empty {
        /// The attribute's name.
        attribute: &'static str,
    },
    /// The event follows another version of the specification.
    #[error("specversion is {found:?}, and only \"1.0\" is understood")]
    SpecVersion {
        /// The version found, shortened.
        found: String,
    },
    /// A core attribute came as a number or a truth value.
    #[error("attribute {attribute} must be a string")]
    NotAString {
        /// The attribute's name.
        attribute: &'static str,
    },
    /// A value holds a control character or a Unicode noncharacter.
    #[error(
        "attribute {attribute} holds U+{code:04X} at byte {position}, a character that events may not carry"
    )]
    Character {
        /// The attribute's name.
        attribute: String,
        /// The code point.
        code: u32,
        /// Where in the value, in bytes.
        position: usize,
    },
    /// `source` is not a URI reference.
    #[error("source {value:?} is not a URI reference (RFC 3986): {reason}")]
    Source {
        /// The value, shortened.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `dataschema` is not a URI.
    #[error("dataschema {value:?} is not a URI (RFC 3986): {reason}")]
    DataSchema {
        /// The value, shortened.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `time` is not a timestamp.
    #[error("time {value:?} is not an RFC 3339 timestamp: {reason}")]
    Time {
        /// The value, shortened.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `datacontenttype` is not a media type.
    #[error("datacontenttype {value:?} is not a media type such as \"application/json\" (RFC 2046)")]
    DataContentType {
        /// The value, shortened.
        value: String,
    },
    /// An attribute's name has other characters than a-z and 0-9.
    #[error("attribute name {name:?} may hold only the letters a-z and the digits 0-9")]
    Name {
        /// The name, shortened.
        name: String,
    },
    /// An attribute's name is longer than anybody could want.
    #[error("attribute name {name:?} is longer than {max} bytes")]
    NameTooLong {
        /// The name, shortened.
        name: String,
        /// The limit, [`crate::limits::NAME_BYTES_MAX`].
        max: usize,
    },
    /// An attribute is called `data`, which names the payload.
    #[error("an attribute may not be called \"data\": that name is the payload's")]
    ReservedName,
    /// A core attribute was set as if it were an extension.
    #[error("attribute {name} is not an extension: the builder has a method of its own for it")]
    CoreName {
        /// The attribute's name.
        name: String,
    },
    /// More extension attributes than an event may have.
    #[error("the event has more than {max} extension attributes: move some into its data")]
    TooManyExtensions {
        /// The limit, [`crate::limits::EXTENSIONS_MAX`].
        max: usize,
    },
    /// The attributes together are larger than an event's envelope may be.
    #[error("the attributes take {bytes} bytes and may take {max}: move some into the event's data")]
    TooLarge {
        /// Names and values together.
        bytes: usize,
        /// The limit, [`crate::limits::ATTRIBUTES_BYTES_MAX`].
        max: usize,
    },
    /// `correlationid`, `causationid` or `partitionkey` is not a string with something in it.
    #[error("attribute {attribute} must be a string that is not empty")]
    Identifier {
        /// The attribute's name.
        attribute: &'static str,
    },
    /// `schemaversion` is not a version number.
    #[error("schemaversion {value:?} is not a whole number from 1 to 2147483647")]
    SchemaVersion {
        /// The value, shortened.
        value: String,
    },
    /// `traceparent` or `tracestate` does not follow W3C Trace Context.
    #[error("the trace context cannot be used")]
    Trace(#[from] TraceError),
}

/// The start of a value, short enough for a message.
pub(crate) fn excerpt(value: &str) -> String {
    const CHARS: usize = 64;
    match value.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
