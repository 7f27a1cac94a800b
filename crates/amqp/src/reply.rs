//! Errors as AMQP 0-9-1 tells them: a number, a text, and the method that was to blame.
//!
//! Texts are RabbitMQ's, to the letter: clients and their tests look into them. Which errors end a channel and which
//! end the connection is part of the number.
//!
//! Source: AMQP 0-9-1, section 4.10.1 and the constants of its XML; RabbitMQ's documentation of channels and of
//! connections.

use std::fmt;

use crate::methods::{Method, MethodId, channel, connection};
use crate::wire::text::Text;

/// What went wrong, in the protocol's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ReplyCode {
    NoRoute,
    ConnectionForced,
    AccessRefused,
    NotFound,
    ResourceLocked,
    PreconditionFailed,
    FrameError,
    SyntaxError,
    CommandInvalid,
    ChannelError,
    UnexpectedFrame,
    ResourceError,
    NotAllowed,
    NotImplemented,
    InternalError,
}

impl ReplyCode {
    /// The number on the wire.
    pub(crate) fn number(self) -> u16 {
        match self {
            Self::NoRoute => 312,
            Self::ConnectionForced => 320,
            Self::AccessRefused => 403,
            Self::NotFound => 404,
            Self::ResourceLocked => 405,
            Self::PreconditionFailed => 406,
            Self::FrameError => 501,
            Self::SyntaxError => 502,
            Self::CommandInvalid => 503,
            Self::ChannelError => 504,
            Self::UnexpectedFrame => 505,
            Self::ResourceError => 506,
            Self::NotAllowed => 530,
            Self::NotImplemented => 540,
            Self::InternalError => 541,
        }
    }

    /// The word that every text begins with.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoRoute => "NO_ROUTE",
            Self::ConnectionForced => "CONNECTION_FORCED",
            Self::AccessRefused => "ACCESS_REFUSED",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceLocked => "RESOURCE_LOCKED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::FrameError => "FRAME_ERROR",
            Self::SyntaxError => "SYNTAX_ERROR",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::ChannelError => "CHANNEL_ERROR",
            Self::UnexpectedFrame => "UNEXPECTED_FRAME",
            Self::ResourceError => "RESOURCE_ERROR",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// One word, for the error counter.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::ConnectionForced => "connection_forced",
            Self::AccessRefused => "access_refused",
            Self::NotFound => "not_found",
            Self::ResourceLocked => "resource_locked",
            Self::PreconditionFailed => "precondition_failed",
            Self::FrameError => "frame_error",
            Self::SyntaxError => "syntax_error",
            Self::CommandInvalid => "command_invalid",
            Self::ChannelError => "channel_error",
            Self::UnexpectedFrame => "unexpected_frame",
            Self::ResourceError => "resource_error",
            Self::NotAllowed => "not_allowed",
            Self::NotImplemented => "not_implemented",
            Self::InternalError => "internal_error",
        }
    }

    /// Whether the whole connection ends with it, rather than one channel.
    pub(crate) fn ends_connection(self) -> bool {
        match self {
            Self::NoRoute
            | Self::AccessRefused
            | Self::NotFound
            | Self::ResourceLocked
            | Self::PreconditionFailed => false,
            Self::ConnectionForced
            | Self::FrameError
            | Self::SyntaxError
            | Self::CommandInvalid
            | Self::ChannelError
            | Self::UnexpectedFrame
            | Self::ResourceError
            | Self::NotAllowed
            | Self::NotImplemented
            | Self::InternalError => true,
        }
    }
}

/// An error that a client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} - {text}", code.name())]
pub(crate) struct Exception {
    pub(crate) code: ReplyCode,
    pub(crate) text: String,
    /// The method that was to blame. It is shown as 0 and 0 where none is.
    pub(crate) method: Option<MethodId>,
}

impl Exception {
    pub(crate) fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), method: None }
    }

    /// Names the method that was to blame, unless one is named already.
    pub(crate) fn by(mut self, method: MethodId) -> Self {
        self.method.get_or_insert(method);
        self
    }

    /// Says that no method is to blame, whoever names one later.
    pub(crate) fn by_none(self) -> Self {
        self.by((0, 0))
    }

    /// What ends a channel with it.
    pub(crate) fn close_channel(&self) -> Method {
        let (class_id, method_id) = self.method.unwrap_or_default();
        let (reply_code, reply_text) = (self.code.number(), self.reply_text());
        channel::Close { reply_code, reply_text, class_id, method_id }.into()
    }

    /// What ends the connection with it.
    pub(crate) fn close_connection(&self) -> Method {
        let (class_id, method_id) = self.method.unwrap_or_default();
        let (reply_code, reply_text) = (self.code.number(), self.reply_text());
        connection::Close { reply_code, reply_text, class_id, method_id }.into()
    }

    fn reply_text(&self) -> Text {
        Text::cut(&self.to_string())
    }
}

macro_rules! shorthand {
    ($($(#[$doc:meta])* $name:ident = $code:ident;)*) => {
        $($(#[$doc])*
        pub(crate) fn $name(text: impl Into<String>) -> Exception {
            Exception::new(ReplyCode::$code, text)
        })*
    };
}

shorthand! {
    /// The user may not do this.
    access_refused = AccessRefused;
    /// There is no such thing.
    not_found = NotFound;
    /// It belongs to another connection.
    resource_locked = ResourceLocked;
    /// It is there, but not so.
    precondition_failed = PreconditionFailed;
    /// A frame whose bytes are not what they should be.
    frame_error = FrameError;
    /// A method whose fields do not fit.
    syntax_error = SyntaxError;
    /// A method that means nothing here.
    command_invalid = CommandInvalid;
    /// A channel that is not open, or is open already.
    channel_error = ChannelError;
    /// A frame out of turn.
    unexpected_frame = UnexpectedFrame;
    /// The server has not got what it takes.
    resource_error = ResourceError;
    /// The server's settings forbid it.
    not_allowed = NotAllowed;
    /// Nobody does this.
    not_implemented = NotImplemented;
    /// The server failed.
    internal_error = InternalError;
}

/// The name of something in a virtual host, as texts show it: `queue 'q' in vhost '/'`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) what: &'static str,
    pub(crate) name: &'a str,
    pub(crate) vhost: &'a str,
}

impl<'a> Named<'a> {
    pub(crate) fn queue(name: &'a str, vhost: &'a str) -> Self {
        Self { what: "queue", name, vhost }
    }

    pub(crate) fn exchange(name: &'a str, vhost: &'a str) -> Self {
        Self { what: "exchange", name, vhost }
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}' in vhost '{}'", self.what, self.name, self.vhost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_rabbitmq() {
        let error = not_found(format!("no {}", Named::queue("q", "/"))).by((50, 10)).by((1, 1));
        let close = channel::Close {
            reply_code: 404,
            reply_text: "NOT_FOUND - no queue 'q' in vhost '/'".into(),
            class_id: 50,
            method_id: 10,
        };
        assert_eq!(error.close_channel(), close.into());
        assert!(!error.code.ends_connection());
    }

    #[test]
    fn a_long_text_is_cut() {
        let Method::ConnectionClose(close) = not_allowed("x".repeat(300)).close_connection() else {
            panic!("another method")
        };
        assert_eq!(close.reply_text.len(), 255);
        assert!(close.reply_text.ends_with("xxx..."));
    }
}
