//! Puts a message together from its method, its header and its body's frames.
//!
//! A body of one frame, which is nearly every body, stays where it was read. Invariant: nothing is taken for a body beyond
//! what its header says, and that is compared with the limit first.
//!
//! Source: AMQP 0-9-1, section 4.2.6.

use bytes::{Bytes, BytesMut};

use crate::methods::{Method, MethodId, basic};
use crate::reply::{Exception, ReplyCode, precondition_failed, syntax_error, unexpected_frame};
use crate::wire::outbound::Content;
use crate::wire::properties::ContentHeader;

/// A method that is complete, with its content if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Method(Method),
    Publish(basic::Publish, Content),
}

/// Where in a message a channel is.
#[derive(Debug, Default)]
pub(crate) enum Assembler {
    /// Between two.
    #[default]
    Idle,
    /// The method is there.
    Header(basic::Publish),
    /// The header too.
    Body(Partial),
}

/// A message whose body is not all there.
#[derive(Debug)]
pub(crate) struct Partial {
    publish: basic::Publish,
    properties: Bytes,
    body_bytes: usize,
    received: BytesMut,
}

impl Assembler {
    /// Takes a method.
    pub(crate) fn method(&mut self, method: Method) -> Result<Option<Command>, Exception> {
        match self {
            Self::Idle => {}
            Self::Header(publish) => return Err(no_header(publish.id())),
            Self::Body(partial) => return Err(no_body(partial.publish.id())),
        }
        match method {
            Method::BasicPublish(publish) => {
                *self = Self::Header(publish);
                Ok(None)
            }
            method => Ok(Some(Command::Method(method))),
        }
    }

    /// Takes the payload of a header frame.
    pub(crate) fn header(
        &mut self,
        payload: Bytes,
        body_bytes_max: usize,
    ) -> Result<Option<Command>, Exception> {
        match std::mem::take(self) {
            Self::Header(publish) => {
                let id = publish.id();
                let header =
                    ContentHeader::read(payload).map_err(|error| syntax_error(error.to_string()).by(id))?;
                if header.class != basic::CLASS {
                    return Err(other_class(header.class).by(id));
                }
                self.begin_body(publish, header, body_bytes_max).map_err(|error| error.by(id))
            }
            Self::Idle => Err(unexpected_frame("expected method frame, got non method frame instead")),
            Self::Body(partial) => Err(no_body(partial.publish.id())),
        }
    }

    fn begin_body(
        &mut self,
        publish: basic::Publish,
        header: ContentHeader,
        body_bytes_max: usize,
    ) -> Result<Option<Command>, Exception> {
        let ContentHeader { body_bytes, properties, .. } = header;
        let allowed = usize::try_from(body_bytes).ok().filter(|body_bytes| *body_bytes <= body_bytes_max);
        let Some(body_bytes) = allowed else {
            let text =
                format!("message size {body_bytes} is larger than configured max size {body_bytes_max}");
            return Err(precondition_failed(text));
        };
        if body_bytes == 0 {
            return Ok(Some(Command::Publish(publish, Content { properties, body: Bytes::new() })));
        }
        *self = Self::Body(Partial { publish, properties, body_bytes, received: BytesMut::new() });
        Ok(None)
    }

    /// Takes the payload of a body frame.
    pub(crate) fn body(&mut self, payload: Bytes) -> Result<Option<Command>, Exception> {
        match std::mem::take(self) {
            Self::Body(partial) => self.fill(partial, payload),
            Self::Idle => Err(unexpected_frame("expected method frame, got non method frame instead")),
            Self::Header(publish) => Err(no_header(publish.id())),
        }
    }

    fn fill(&mut self, mut partial: Partial, payload: Bytes) -> Result<Option<Command>, Exception> {
        let missing = partial.body_bytes - partial.received.len();
        if payload.len() > missing {
            let text = format!("{} bytes of body for the {missing} that were missing", payload.len());
            return Err(Exception::new(ReplyCode::FrameError, text).by(partial.publish.id()));
        }
        if payload.len() == partial.body_bytes {
            let content = Content { properties: partial.properties, body: payload };
            return Ok(Some(Command::Publish(partial.publish, content)));
        }
        partial.received.extend_from_slice(&payload);
        if payload.len() < missing {
            *self = Self::Body(partial);
            return Ok(None);
        }
        let content = Content { properties: partial.properties, body: partial.received.freeze() };
        Ok(Some(Command::Publish(partial.publish, content)))
    }

    /// Memory that a message in parts takes.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Idle | Self::Header(_) => 0,
            Self::Body(partial) => partial.body_bytes,
        }
    }
}

impl basic::Publish {
    fn id(&self) -> MethodId {
        (basic::CLASS, Self::ID)
    }
}

fn no_header(method: MethodId) -> Exception {
    unexpected_frame("expected content header for class 60, got non content header frame instead").by(method)
}

fn no_body(method: MethodId) -> Exception {
    unexpected_frame("expected content body, got non content body frame instead").by(method)
}

fn other_class(class: u16) -> Exception {
    unexpected_frame(format!("expected content header for class 60, got one for class {class} instead"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::channel;

    const MAX: usize = 1000;

    fn header(body_bytes: u64) -> Bytes {
        [&b"\0\x3c\0\0"[..], &body_bytes.to_be_bytes(), b"\0\0"].concat().into()
    }

    fn begun() -> Assembler {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.method(basic::Publish::default().into()), Ok(None));
        assembler
    }

    fn message(body: Bytes) -> Command {
        Command::Publish(basic::Publish::default(), Content { properties: b"\0\0"[..].into(), body })
    }

    #[test]
    fn a_body_of_one_frame_is_not_copied() {
        let mut assembler = begun();
        assert_eq!(assembler.header(header(4), MAX), Ok(None));
        let body = Bytes::from(b"body".to_vec());
        let Ok(Some(Command::Publish(_, content))) = assembler.body(body.clone()) else { panic!("complete") };
        assert_eq!(content.body.as_ptr(), body.as_ptr());
    }

    #[test]
    fn a_body_of_several_frames_is_put_together() {
        let mut assembler = begun();
        assert_eq!(assembler.header(header(6), MAX), Ok(None));
        assert_eq!(assembler.held_bytes(), 6);
        for piece in ["ab", "", "cd"] {
            assert_eq!(assembler.body(piece.into()), Ok(None));
        }
        assert_eq!(assembler.body("ef".into()), Ok(Some(message("abcdef".into()))));
        assert_eq!(assembler.held_bytes(), 0);
    }

    #[test]
    fn an_empty_body_ends_with_the_header() {
        assert_eq!(begun().header(header(0), MAX), Ok(Some(message(Bytes::new()))));
    }

    #[test]
    fn frames_out_of_turn_end_the_connection() {
        let code = |result: Result<Option<Command>, Exception>| result.expect_err("out of turn").code;
        let open: Method = channel::Open::default().into();
        let with_header = || {
            let mut assembler = begun();
            assembler.header(header(4), MAX).expect("in turn");
            assembler
        };
        assert_eq!(code(begun().method(open.clone())), ReplyCode::UnexpectedFrame);
        assert_eq!(code(begun().body("x".into())), ReplyCode::UnexpectedFrame);
        assert_eq!(code(Assembler::default().header(header(1), MAX)), ReplyCode::UnexpectedFrame);
        assert_eq!(code(Assembler::default().body("x".into())), ReplyCode::UnexpectedFrame);
        assert_eq!(code(with_header().method(open)), ReplyCode::UnexpectedFrame);
        assert_eq!(code(with_header().header(header(1), MAX)), ReplyCode::UnexpectedFrame);
        assert_eq!(code(with_header().body("12345".into())), ReplyCode::FrameError);
        let other = Bytes::from_static(b"\0\x0a\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(code(begun().header(other, MAX)), ReplyCode::UnexpectedFrame);
    }

    #[test]
    fn a_message_that_is_too_large_ends_the_channel_before_it_is_there() {
        let error = begun().header(header(1001), MAX).expect_err("too large");
        assert_eq!(
            error.to_string(),
            "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000"
        );
        assert_eq!(begun().header(header(u64::MAX), MAX).expect_err("too large").code, error.code);
    }
}
