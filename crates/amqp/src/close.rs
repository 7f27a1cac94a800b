//! Why a connection ends, for the log and the counters. What its client is told is an [`Exception`].

use std::io;
use std::time::Duration;

use crate::reply::Exception;

/// A reason to close a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Close {
    /// The client closed the connection as it should.
    #[error("closed by the client")]
    ByClient,
    /// The client went away without a word.
    #[error("the client closed the connection abruptly")]
    Abrupt,
    /// The connection was opened and nothing said.
    #[error("closed by the client without a word")]
    Probe,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Shutdown,
    /// The client was told of an error.
    #[error("{0}")]
    Error(Exception),
    /// The client did not come in, and was not told why.
    #[error("refused: {0}")]
    Refused(Exception),
    /// The client did not come in within its time.
    #[error("the client did not open the connection within {0:?}")]
    Handshake(Duration),
    /// Nothing came for two heartbeats.
    #[error("missed heartbeats from the client, which has to say something every {0} s")]
    Heartbeat(u16),
    /// A message began and did not go on.
    #[error("a message stopped in its middle for {0:?}")]
    SlowSender(Duration),
    /// The client does not take what is sent to it.
    #[error("the client has not read anything for {0:?}")]
    SlowReader(Duration),
    /// The first bytes are those of another protocol.
    #[error("the client speaks {0}, but this port speaks AMQP 0-9-1")]
    Foreign(&'static str),
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
            Self::ByClient | Self::Abrupt | Self::Probe | Self::Shutdown | Self::Io(_) => None,
            Self::Error(error) | Self::Refused(error) => Some(error.code.kind()),
            Self::Handshake(_) => Some("handshake"),
            Self::Heartbeat(_) => Some("heartbeat"),
            Self::SlowSender(_) => Some("slow_sender"),
            Self::SlowReader(_) => Some("slow_reader"),
            Self::Foreign(_) => Some("foreign_protocol"),
        }
    }
}
