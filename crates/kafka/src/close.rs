//! Why a connection ends before its client ends it. The Kafka protocol has no frame for it: the reason goes to the log.

use std::io;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use crate::shape::ShapeError;

/// A reason to close a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Close {
    /// The client closed the connection between two requests.
    #[error("closed by the client")]
    ByClient,
    /// The client closed the connection within a request.
    #[error("closed by the client within a request")]
    WithinRequest,
    /// Nothing came for too long.
    #[error("idle for {0:?}")]
    Idle(Duration),
    /// A request began and did not come to its end in time.
    #[error("a request of {size_bytes} bytes was not received within {within:?}")]
    SlowRequest {
        /// Its size.
        size_bytes: usize,
        /// The time that it had.
        within: Duration,
    },
    /// The client does not read its responses.
    #[error("the client has not read its response for {0:?}")]
    SlowReader(Duration),
    /// The rest of a response was given back because the client did not read it, and cannot be read again.
    #[error("the records from offset {offset} on were deleted while the client was slow to read them")]
    RecordsGone {
        /// Where the rest begins.
        offset: i64,
    },
    /// A response had begun when its records could not be read. Asked for again, it ends in front of them.
    #[error("the records from offset {offset} on could not be read, of a response that had begun")]
    RecordsUnreadable {
        /// Where they begin.
        offset: i64,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Shutdown,
    /// The peer speaks TLS.
    #[error("the client speaks TLS, but this port does not: set security.protocol to PLAINTEXT")]
    Tls,
    /// The peer speaks HTTP.
    #[error("the client speaks HTTP, but this port speaks the Kafka protocol")]
    Http,
    /// The peer speaks AMQP.
    #[error("the client speaks AMQP, but this port speaks the Kafka protocol")]
    Amqp,
    /// A negative length, or one beyond the limit.
    #[error("a request of {size} bytes is not within 8..={size_max} (socket.request.max.bytes)")]
    FrameSize {
        /// What the frame says.
        size: i32,
        /// The limit.
        size_max: usize,
    },
    /// Less than the fixed part of a header.
    #[error("a request of {size_bytes} bytes is too short for its header")]
    ShortHeader {
        /// The size of the frame.
        size_bytes: usize,
    },
    /// A client id or tagged fields that do not fit.
    #[error("the request's header is malformed")]
    BadHeader,
    /// No such API.
    #[error("unknown api key {0}")]
    UnknownApi(i16),
    /// A version of an API that is not served.
    #[error("version {version} of {api:?} is not served (only {min} to {max})")]
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The wanted version.
        version: i16,
        /// The first that is served.
        min: i16,
        /// The last that is served.
        max: i16,
    },
    /// The body's lengths are wrong.
    #[error("malformed {api:?} request, version {version}")]
    Malformed {
        /// The API.
        api: ApiKey,
        /// The request's version.
        version: i16,
        /// What is wrong.
        source: ShapeError,
    },
    /// The body has the right lengths, but not the right content.
    #[error("malformed {api:?} request, version {version}: {reason}")]
    Undecodable {
        /// The API.
        api: ApiKey,
        /// The request's version.
        version: i16,
        /// What the decoder says.
        reason: String,
    },
    /// The decoded request would take more memory than there is for requests now.
    #[error(
        "a request of {size_bytes} bytes takes {decoded_bytes} bytes when decoded, for which there is no room"
    )]
    NoMemory {
        /// The size of the frame.
        size_bytes: usize,
        /// The estimate of its decoded size.
        decoded_bytes: usize,
    },
    /// A response could not be encoded: a bug of ours.
    #[error("bug: the response to {api:?}, version {version}, cannot be encoded: {reason}")]
    Unencodable {
        /// The API.
        api: ApiKey,
        /// The request's version.
        version: i16,
        /// What the encoder says.
        reason: String,
    },
    /// A write failed that the client does not want to be answered: closing is how it learns of it.
    #[error("a produce request with acks=0 failed: {0}")]
    UnansweredProduce(String),
    /// The connection broke.
    #[error("connection broken")]
    Io(#[from] io::Error),
}

impl Close {
    /// Whether somebody should look at it, rather than it being the daily coming and going of clients.
    pub(crate) fn is_notable(&self) -> bool {
        self.kind().is_some()
    }

    /// One word, for the error counter; `None` for the daily coming and going.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        match self {
            Self::ByClient | Self::Idle(_) | Self::Shutdown | Self::WithinRequest | Self::Io(_) => None,
            Self::SlowRequest { .. } => Some("slow_request"),
            Self::SlowReader(_) | Self::RecordsGone { .. } => Some("slow_reader"),
            Self::RecordsUnreadable { .. } => Some("unreadable"),
            Self::Tls | Self::Http | Self::Amqp => Some("foreign_protocol"),
            Self::FrameSize { .. } => Some("frame_size"),
            Self::ShortHeader { .. } | Self::BadHeader => Some("bad_header"),
            Self::UnknownApi(_) => Some("unknown_api"),
            Self::UnsupportedVersion { .. } => Some("unsupported_version"),
            Self::Malformed { .. } | Self::Undecodable { .. } => Some("malformed"),
            Self::NoMemory { .. } => Some("no_memory"),
            Self::Unencodable { .. } => Some("unencodable"),
            Self::UnansweredProduce(_) => Some("unanswered_produce"),
        }
    }
}
