//! Bytes: frames, the primitive types of fields, field tables and message properties. Nothing here knows a state.
//!
//! Source: AMQP 0-9-1, sections 4.2 (wire format) and 4.2.5 (field types), with RabbitMQ's errata to the latter.

pub(crate) mod cursor;
pub(crate) mod frame;
pub(crate) mod outbound;
pub(crate) mod properties;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod value;

/// A length or a type that the bytes do not bear out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// Fewer bytes than a field takes.
    #[error("a field ends behind the end of its frame")]
    Short,
    /// Bytes behind the last field.
    #[error("{0} bytes follow the last field")]
    Rest(usize),
    /// A name that is not UTF-8.
    #[error("a short string is not UTF-8")]
    Utf8,
    /// A type of a table's value that nobody knows.
    #[error("unknown field type {0:?}")]
    Type(char),
    /// Tables within tables within tables.
    #[error("tables are nested deeper than {}", table::DEPTH_MAX)]
    Depth,
    /// A method that the protocol does not have.
    #[error("no method {1} in class {0}")]
    Method(u16, u16),
    /// Property flags that AMQP 0-9-1 does not have.
    #[error("unknown property flags")]
    Flags,
}
