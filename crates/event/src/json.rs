//! The JSON event format (`application/cloudevents+json`): one JSON object with the attributes and the data.
//!
//! Data that is declared as JSON stands in the object as it is, byte for byte but for white space around it: numbers
//! keep their digits. Text stands as a string. Everything else, and whatever is not what it is declared to be, stands
//! as Base64 in `data_base64`, so that encoding never fails and never loses anything.
//!
//! Reading is strict where JSON leaves room: a member that comes twice is refused (RFC 7493 forbids it, and two readers
//! that choose differently are a way past a filter), and so are `data` and `data_base64` together.
//!
//! Source: CloudEvents JSON event format 1.0.2, sections 2.2 and 3.1.

mod batch;
mod decode;
mod encode;

pub use batch::{BATCH_EVENTS_MAX, BATCH_MEDIA_TYPE, BatchError, decode_batch};
pub use decode::{DecodeError, decode, decode_data};
pub use encode::{DataMember, data_member, encode};

/// The media type of this format.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";

/// What data without a declared media type is taken for.
const IMPLIED_CONTENT_TYPE: &str = "application/json";

#[cfg(test)]
mod tests;
