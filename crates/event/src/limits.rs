//! How much an envelope may hold. Every decoder checks these before it keeps anything.

/// Bytes of all attribute names and values together. CloudEvents asks intermediaries to forward events of 64 KiB, so
/// one whose attributes alone are larger is not portable anywhere.
pub const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;

/// Extension attributes of one event. Many HTTP servers stop at 100 headers.
pub const EXTENSIONS_MAX: usize = 128;

/// Bytes of an attribute's name. CloudEvents advises [`NAME_BYTES_ADVISED`]; documented extensions go to 25.
pub const NAME_BYTES_MAX: usize = 64;

/// Bytes of an attribute's name that CloudEvents advises not to exceed.
pub const NAME_BYTES_ADVISED: usize = 20;

/// Members of a `tracestate` list (W3C Trace Context, section 3.3.1.1).
pub const TRACE_STATE_MEMBERS_MAX: usize = 32;
