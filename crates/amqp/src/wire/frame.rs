//! Frames: type, channel and length in front, one fixed octet behind.
//!
//! A frame's payload shares the buffer that it was read into. Invariant: a length is compared with the agreed maximum
//! before the buffer grows for it.
//!
//! Source: AMQP 0-9-1, section 4.2.3.

use bytes::{Buf, Bytes, BytesMut};

/// What stands in front of a payload: type, channel, length.
pub(crate) const HEAD_BYTES: usize = 7;
/// The length of a frame without its payload.
pub(crate) const EMPTY_FRAME_BYTES: usize = HEAD_BYTES + 1;
/// The last octet of every frame.
pub(crate) const FRAME_END: u8 = 0xce;
/// The smallest maximum that a client may agree to, and the one that holds until it has.
pub(crate) const FRAME_BYTES_MIN: usize = 4096;
/// Clients exceed the maximum by the length of an empty frame, having counted wrongly. RabbitMQ lets them.
const FUDGE_BYTES: usize = EMPTY_FRAME_BYTES;

pub(crate) const METHOD: u8 = 1;
pub(crate) const HEADER: u8 = 2;
pub(crate) const BODY: u8 = 3;
pub(crate) const HEARTBEAT: u8 = 8;

/// All types that there are.
pub(crate) const KINDS: [u8; 4] = [METHOD, HEADER, BODY, HEARTBEAT];

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) channel: u16,
    pub(crate) payload: Bytes,
}

/// Bytes that are no frame. After one, nothing that the client sends can be understood any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// Longer than what was agreed.
    #[error("type {kind}, all octets = <<>>: {{frame_too_large,{size},{max}}}")]
    TooLarge { kind: u8, channel: u16, size: usize, max: usize },
    /// The last octet is another one.
    #[error("type {kind}, {}: {{invalid_frame_end_marker,{end}}}", snippet(payload))]
    End { kind: u8, channel: u16, end: u8, payload: Bytes },
}

impl FrameError {
    /// The channel that the frame says to be for.
    pub(crate) fn channel(&self) -> u16 {
        match self {
            Self::TooLarge { channel, .. } | Self::End { channel, .. } => *channel,
        }
    }
}

/// The beginning of a payload, as RabbitMQ's errors show it.
pub(crate) fn snippet(payload: &[u8]) -> String {
    let (which, shown) = if payload.len() <= 16 { ("all", payload) } else { ("first 16", &payload[..16]) };
    let is_text = !shown.is_empty() && shown.iter().all(|byte| matches!(byte, 32..127));
    if is_text {
        return format!("{which} octets = <<\"{}\">>", String::from_utf8_lossy(shown));
    }
    let octets: Vec<String> = shown.iter().map(u8::to_string).collect();
    format!("{which} octets = <<{}>>", octets.join(","))
}

/// Cuts the next frame off `buffer`; `None` until it is all there.
///
/// # Errors
/// [`FrameError`] as soon as the bytes show that there is no frame.
pub(crate) fn next(buffer: &mut BytesMut, frame_bytes_max: usize) -> Result<Option<Frame>, FrameError> {
    let Some((kind, channel, size)) = head(buffer, frame_bytes_max)? else { return Ok(None) };
    if buffer.len() < EMPTY_FRAME_BYTES + size {
        return Ok(None);
    }
    buffer.advance(HEAD_BYTES);
    let payload = buffer.split_to(size).freeze();
    match buffer.get_u8() {
        FRAME_END => Ok(Some(Frame { kind, channel, payload })),
        end => Err(FrameError::End { kind, channel, end, payload }),
    }
}

/// How many bytes of the frame that `buffer` begins with are still to come; 0 if none.
pub(crate) fn missing_bytes(buffer: &BytesMut, frame_bytes_max: usize) -> usize {
    match head(buffer, frame_bytes_max) {
        Ok(Some((.., size))) => (EMPTY_FRAME_BYTES + size).saturating_sub(buffer.len()),
        Ok(None) | Err(_) => 0,
    }
}

/// Type, channel and length of the payload.
fn head(buffer: &BytesMut, frame_bytes_max: usize) -> Result<Option<(u8, u16, usize)>, FrameError> {
    let Some(head) = buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let [kind, c1, c2, s1, s2, s3, s4] = *head;
    let channel = u16::from_be_bytes([c1, c2]);
    let size = u32::from_be_bytes([s1, s2, s3, s4]) as usize;
    let max = frame_bytes_max - EMPTY_FRAME_BYTES;
    if size > max + FUDGE_BYTES {
        return Err(FrameError::TooLarge { kind, channel, size, max });
    }
    Ok(Some((kind, channel, size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_off_one_after_another() {
        let bytes = b"\x01\0\x01\0\0\0\x04\0\x14\0\x0a\xce\x08\0\0\0\0\0\0\xce\x03\0\x01\0\0\0\x05ab";
        let mut buffer = BytesMut::from(&bytes[..]);
        let frame = next(&mut buffer, 4096).expect("no error").expect("whole");
        assert_eq!((frame.kind, frame.channel), (METHOD, 1));
        assert_eq!(frame.payload, &b"\0\x14\0\x0a"[..]);
        let frame = next(&mut buffer, 4096).expect("no error").expect("whole");
        assert_eq!(frame, Frame { kind: HEARTBEAT, channel: 0, payload: Bytes::new() });
        assert_eq!(next(&mut buffer, 4096), Ok(None));
        assert_eq!(missing_bytes(&buffer, 4096), 4);
    }

    #[test]
    fn a_length_beyond_the_maximum_is_refused_before_it_is_read() {
        let head = |size: u32| {
            let mut bytes = BytesMut::from(&b"\x03\0\x07"[..]);
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes
        };
        assert_eq!(next(&mut head(4096), 4096), Ok(None), "clients count wrongly");
        let error = next(&mut head(4097), 4096).expect_err("too long");
        assert_eq!(error, FrameError::TooLarge { kind: 3, channel: 7, size: 4097, max: 4088 });
        assert_eq!(error.to_string(), "type 3, all octets = <<>>: {frame_too_large,4097,4088}");
    }

    #[test]
    fn a_wrong_end_is_told_with_what_came_before() {
        let mut buffer = BytesMut::from(&b"\x01\0\0\0\0\0\x02ab\0"[..]);
        let error = next(&mut buffer, 4096).expect_err("no end");
        assert_eq!(error.to_string(), "type 1, all octets = <<\"ab\">>: {invalid_frame_end_marker,0}");
        assert_eq!(snippet(&[0; 20]), "first 16 octets = <<0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0>>");
    }
}
