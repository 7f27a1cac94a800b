//! Frames and methods of AMQP 0-9-1: what the client writes and reads. Source: AMQP 0-9-1, sections 2.3 and 4.2.

/// What opens a connection.
pub(crate) const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;
/// Type, channel and length.
pub(super) const HEAD_BYTES: usize = 7;
/// The only channel that is used.
pub(super) const CHANNEL: u16 = 1;

/// Class and number of a method.
pub(super) type MethodId = (u16, u16);

pub(super) const CONNECTION_START: MethodId = (10, 10);
pub(super) const CONNECTION_START_OK: MethodId = (10, 11);
pub(super) const CONNECTION_TUNE: MethodId = (10, 30);
pub(super) const CONNECTION_TUNE_OK: MethodId = (10, 31);
pub(super) const CONNECTION_OPEN: MethodId = (10, 40);
pub(super) const CONNECTION_OPEN_OK: MethodId = (10, 41);
pub(super) const CONNECTION_CLOSE: MethodId = (10, 50);
pub(super) const CONNECTION_CLOSE_OK: MethodId = (10, 51);
pub(super) const CHANNEL_OPEN: MethodId = (20, 10);
pub(super) const CHANNEL_OPEN_OK: MethodId = (20, 11);
pub(super) const CHANNEL_CLOSE: MethodId = (20, 40);
pub(super) const EXCHANGE_DECLARE: MethodId = (40, 10);
pub(super) const EXCHANGE_DECLARE_OK: MethodId = (40, 11);
pub(super) const QUEUE_DECLARE: MethodId = (50, 10);
pub(super) const QUEUE_DECLARE_OK: MethodId = (50, 11);
pub(super) const QUEUE_BIND: MethodId = (50, 20);
pub(super) const QUEUE_BIND_OK: MethodId = (50, 21);
pub(super) const BASIC_QOS: MethodId = (60, 10);
pub(super) const BASIC_QOS_OK: MethodId = (60, 11);
pub(super) const BASIC_CONSUME: MethodId = (60, 20);
pub(super) const BASIC_CONSUME_OK: MethodId = (60, 21);
pub(super) const BASIC_PUBLISH: MethodId = (60, 40);
pub(super) const BASIC_DELIVER: MethodId = (60, 60);
pub(super) const BASIC_ACK: MethodId = (60, 80);
pub(super) const BASIC_NACK: MethodId = (60, 120);
pub(super) const CONFIRM_SELECT: MethodId = (85, 10);
pub(super) const CONFIRM_SELECT_OK: MethodId = (85, 11);

/// Frames that are to be sent.
#[derive(Default)]
pub(super) struct Frames {
    pub(super) bytes: Vec<u8>,
}

impl Frames {
    /// A method with its arguments.
    pub(super) fn method(&mut self, channel: u16, id: MethodId, arguments: impl FnOnce(&mut Self)) {
        self.frame(METHOD, channel, |frames| {
            frames.u16(id.0);
            frames.u16(id.1);
            arguments(frames);
        });
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: impl FnOnce(&mut Self)) {
        self.u8(kind);
        self.u16(channel);
        let start = self.bytes.len();
        self.u32(0);
        payload(self);
        let len = u32::try_from(self.bytes.len() - start - 4).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&len.to_be_bytes());
        self.u8(FRAME_END);
    }

    /// A message with a body of zeros for an exchange. Returns where its body begins.
    pub(super) fn publish(
        &mut self,
        exchange: &str,
        routing_key: &str,
        persistent: bool,
        body_bytes: usize,
    ) -> usize {
        self.method(CHANNEL, BASIC_PUBLISH, |frames| {
            frames.u16(0);
            frames.short_text(exchange);
            frames.short_text(routing_key);
            frames.u8(0);
        });
        self.frame(HEADER, CHANNEL, |frames| {
            frames.u16(BASIC_PUBLISH.0);
            frames.u16(0);
            frames.bytes.extend_from_slice(&(body_bytes as u64).to_be_bytes());
            // The delivery mode is the only property, and transient what has none.
            frames.u16(if persistent { 1 << 12 } else { 0 });
            if persistent {
                frames.u8(2);
            }
        });
        let begin = self.bytes.len() + HEAD_BYTES;
        self.frame(BODY, CHANNEL, |frames| frames.bytes.resize(begin + body_bytes, 0));
        begin
    }

    /// Acknowledges one delivery.
    pub(super) fn ack(&mut self, tag: u64) {
        self.method(CHANNEL, BASIC_ACK, |frames| {
            frames.bytes.extend_from_slice(&tag.to_be_bytes());
            frames.u8(0);
        });
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn short_text(&mut self, text: &str) {
        self.u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn long_text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A table of texts.
    pub(super) fn table(&mut self, fields: &[(&str, &str)]) {
        let mut inner = Self::default();
        for (name, value) in fields {
            inner.short_text(name);
            inner.u8(b'S');
            inner.long_text(value);
        }
        self.u32(u32::try_from(inner.bytes.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(&inner.bytes);
    }
}

/// A frame that was received.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame that `bytes` begin with and its length, if it is all there.
    pub(super) fn first(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let [kind, _, _, len @ ..] = *bytes.first_chunk::<HEAD_BYTES>()?;
        let end = HEAD_BYTES + u32::from_be_bytes(len) as usize;
        let payload = bytes.get(HEAD_BYTES..end)?;
        (bytes.len() > end).then_some((Self { kind, payload }, end + 1))
    }

    /// Which method it is; of another frame, 0 and 0.
    pub(super) fn method(&self) -> MethodId {
        match self.payload {
            [c1, c2, m1, m2, ..] if self.kind == METHOD => {
                (u16::from_be_bytes([*c1, *c2]), u16::from_be_bytes([*m1, *m2]))
            }
            _ => (0, 0),
        }
    }

    /// The 64-bit number at `offset` of the payload; 0 if there is none.
    pub(super) fn u64_at(&self, offset: usize) -> u64 {
        let bytes = self.payload.get(offset..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// The tag of a delivery, behind the consumer's.
    pub(super) fn delivery_tag(&self) -> u64 {
        self.u64_at(5 + self.payload.get(4).map_or(0, |len| usize::from(*len)))
    }

    /// Tag and `multiple` of a confirm.
    pub(super) fn confirmed(&self) -> (u64, bool) {
        (self.u64_at(4), self.payload.get(12).is_some_and(|bits| bits & 1 == 1))
    }

    /// Why a channel or connection is closed.
    pub(super) fn reason(&self) -> String {
        let text = self.payload.get(7..).unwrap_or_default();
        let len = self.payload.get(6).map_or(0, |len| usize::from(*len));
        String::from_utf8_lossy(&text[..len.min(text.len())]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_three_frames() {
        let mut frames = Frames::default();
        let body = frames.publish("", "q", true, 3);
        let expected = b"\x01\0\x01\0\0\0\x0a\0\x3c\0\x28\0\0\0\x01q\0\xce\
            \x02\0\x01\0\0\0\x0f\0\x3c\0\0\0\0\0\0\0\0\0\x03\x10\0\x02\xce\
            \x03\0\x01\0\0\0\x03\0\0\0\xce";
        assert_eq!(frames.bytes, expected);
        assert_eq!(body, expected.len() - 4);
    }

    #[test]
    fn frames_are_cut_where_they_end() {
        let mut frames = Frames::default();
        frames.ack(7);
        let whole = frames.bytes.clone();
        assert_eq!(Frame::first(&whole[..whole.len() - 1]), None);
        let (frame, len) = Frame::first(&whole).unwrap();
        assert_eq!((frame.method(), frame.confirmed(), len), (BASIC_ACK, (7, false), whole.len()));
    }

    #[test]
    fn a_delivery_tag_is_found_behind_the_tag_of_its_consumer() {
        let payload = b"\0\x3c\0\x3c\x02ab\0\0\0\0\0\0\x01\x02\0\0\0";
        let frame = Frame { kind: METHOD, payload };
        assert_eq!((frame.method(), frame.delivery_tag()), (BASIC_DELIVER, 0x102));
    }

    #[test]
    fn a_reason_is_read_and_a_short_frame_is_not_trusted() {
        let frame = Frame { kind: METHOD, payload: b"\0\x14\0\x28\x01\x94\x03404..." };
        assert_eq!(frame.reason(), "404");
        assert_eq!(Frame { kind: METHOD, payload: b"\0\x14\0\x28\x01\x94\x09no" }.reason(), "no");
    }
}
