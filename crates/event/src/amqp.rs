//! The AMQP protocol binding, as far as names go: what an attribute is called among the application's properties of a message.
//!
//! In *binary* mode the body is the event's data untouched, `content-type` stands for `datacontenttype`, and every other attribute
//! is an application property, in AMQP 0-9-1 a header: `cloudEvents:id`, `cloudEvents:type`. `cloudEvents_` is read as well, for
//! languages in which a name cannot hold a colon. In *structured* mode `content-type` is that of an event format and the body
//! is the whole event, as in the [Kafka binding](crate::kafka).
//!
//! Source: CloudEvents AMQP protocol binding 1.0.2, section 3.1.3.

use crate::attribute::check_name;

const PREFIX: &str = "cloudEvents:";
const PREFIX_OTHER: &str = "cloudEvents_";
const DATA_CONTENT_TYPE: &str = crate::parts::name::DATA_CONTENT_TYPE;

/// The attribute that an application property holds. `None` if it holds none, or one that has a place of its own.
///
/// ```
/// use annals_event::amqp;
/// assert_eq!(amqp::attribute("cloudEvents:type"), Some("type"));
/// assert_eq!(amqp::attribute("cloudEvents_subject"), Some("subject"));
/// assert_eq!(amqp::attribute("x-death"), None);
/// assert_eq!(amqp::property("id"), "cloudEvents:id");
/// ```
pub fn attribute(property: &str) -> Option<&str> {
    let name = property.strip_prefix(PREFIX).or_else(|| property.strip_prefix(PREFIX_OTHER))?;
    (check_name(name).is_ok() && name != DATA_CONTENT_TYPE).then_some(name)
}

/// The application property that holds an attribute.
pub fn property(attribute: &str) -> String {
    format!("{PREFIX}{attribute}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_attributes_are_attributes() {
        for property in ["cloudEvents:", "cloudEvents:Type", "cloudEvents:a-b", "cloudEvents", "ce_type"] {
            assert_eq!(attribute(property), None, "{property}");
        }
        assert_eq!(attribute("cloudEvents:datacontenttype"), None, "content-type stands for it");
        assert_eq!(attribute(&property("correlationid")), Some("correlationid"));
    }
}
