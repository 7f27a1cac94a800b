//! What goes to the client: frames in one buffer, large bodies beside it.
//!
//! Methods, headers and small bodies are written one behind the other into one buffer, since a copy of a few hundred bytes
//! costs less than a piece of its own. A large body is not copied: its pieces stand between those of the buffer, and all
//! leave in one vectored write.
//!
//! The frames of one message are written without a break, as the protocol demands.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::cursor::put_text;
use super::frame::{BODY, EMPTY_FRAME_BYTES, FRAME_END, HEADER, HEARTBEAT, METHOD};
use super::properties::Properties;
use super::text::Text;
use crate::methods::{Method, basic};

/// Bodies up to this are copied.
const COPIED_BYTES_MAX: usize = 4096;

/// What the buffer keeps when all is written. More is given back.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A message's properties and body, as they go over the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Flags and fields.
    pub(crate) properties: Bytes,
    pub(crate) body: Bytes,
}

/// Writes the properties of a message behind what a buffer holds.
pub(crate) trait PutProperties {
    fn put(&self, out: &mut BytesMut);
}

impl PutProperties for Bytes {
    fn put(&self, out: &mut BytesMut) {
        out.put_slice(self);
    }
}

impl PutProperties for Properties<'_> {
    fn put(&self, out: &mut BytesMut) {
        self.write(out);
    }
}

/// The frames that are to be written.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// Before `tail`.
    pieces: VecDeque<Bytes>,
    pieces_bytes: usize,
    tail: BytesMut,
}

impl Outbound {
    /// Writes a method that no content follows.
    pub(crate) fn method(&mut self, channel: u16, method: &Method) {
        let start = self.begin(METHOD, channel);
        method.write(&mut self.tail);
        self.end(start);
    }

    /// Writes a method and its content.
    pub(crate) fn message(
        &mut self,
        channel: u16,
        method: &Method,
        properties: &impl PutProperties,
        body: &Bytes,
        frame_bytes_max: usize,
    ) {
        self.method(channel, method);
        self.content(channel, properties, body, frame_bytes_max);
    }

    /// Writes a delivery: the hot path.
    pub(crate) fn delivery(
        &mut self,
        channel: u16,
        delivery: &Delivery<'_>,
        properties: &impl PutProperties,
        body: &Bytes,
        frame_bytes_max: usize,
    ) {
        let start = self.begin(METHOD, channel);
        self.tail.put_u16(basic::CLASS);
        self.tail.put_u16(basic::DELIVER);
        put_text(&mut self.tail, delivery.consumer_tag);
        self.tail.put_u64(delivery.delivery_tag);
        self.tail.put_u8(u8::from(delivery.redelivered));
        put_name(&mut self.tail, delivery.exchange);
        put_name(&mut self.tail, delivery.routing_key);
        self.end(start);
        self.content(channel, properties, body, frame_bytes_max);
    }

    /// Writes a confirm: the hot path of publishers.
    pub(crate) fn ack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) {
        let start = self.begin(METHOD, channel);
        self.tail.put_u16(basic::CLASS);
        self.tail.put_u16(basic::ACK);
        self.tail.put_u64(delivery_tag);
        self.tail.put_u8(u8::from(multiple));
        self.end(start);
    }

    pub(crate) fn heartbeat(&mut self) {
        let start = self.begin(HEARTBEAT, 0);
        self.end(start);
    }

    /// Writes bytes that are no frame: a protocol header.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.tail.put_slice(bytes);
    }

    /// Gives the buffer's memory back if it has grown and is not needed.
    pub(crate) fn shrink(&mut self) {
        if !self.has_remaining() && self.tail.capacity() > KEPT_BYTES_MAX {
            self.tail = BytesMut::new();
        }
    }

    fn content(
        &mut self,
        channel: u16,
        properties: &impl PutProperties,
        body: &Bytes,
        frame_bytes_max: usize,
    ) {
        let start = self.begin(HEADER, channel);
        self.tail.put_u16(basic::CLASS);
        self.tail.put_u16(0);
        self.tail.put_u64(body.len() as u64);
        properties.put(&mut self.tail);
        self.end(start);
        let (mut rest, piece_bytes_max) = (body.clone(), frame_bytes_max - EMPTY_FRAME_BYTES);
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(piece_bytes_max));
            self.body(channel, piece);
        }
    }

    fn body(&mut self, channel: u16, piece: Bytes) {
        self.tail.put_u8(BODY);
        self.tail.put_u16(channel);
        // A frame is never longer than 4 GiB.
        self.tail.put_u32(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        if piece.len() <= COPIED_BYTES_MAX {
            self.tail.put_slice(&piece);
        } else {
            self.push(piece);
        }
        self.tail.put_u8(FRAME_END);
    }

    fn push(&mut self, piece: Bytes) {
        let before = self.tail.split().freeze();
        for bytes in [before, piece] {
            self.pieces_bytes += bytes.len();
            self.pieces.push_back(bytes);
        }
    }

    /// Begins a frame; returns where, for [`Outbound::end`].
    fn begin(&mut self, kind: u8, channel: u16) -> usize {
        let start = self.tail.len();
        self.tail.put_u8(kind);
        self.tail.put_u16(channel);
        self.tail.put_u32(0);
        start
    }

    fn end(&mut self, start: usize) {
        let size = self.tail.len() - start - (EMPTY_FRAME_BYTES - 1);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.tail[start + 3..start + 7].copy_from_slice(&size.to_be_bytes());
        self.tail.put_u8(FRAME_END);
    }
}

/// The method of a delivery, without its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) consumer_tag: &'a Text,
    pub(crate) delivery_tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) exchange: &'a [u8],
    pub(crate) routing_key: &'a [u8],
}

/// Writes a name of the broker's. It came as a short string once, and is no longer than one.
fn put_name(out: &mut BytesMut, name: &[u8]) {
    let name = &name[..name.len().min(usize::from(u8::MAX))];
    out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.put_slice(name);
}

impl Buf for Outbound {
    fn remaining(&self) -> usize {
        self.pieces_bytes + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&self.tail[..], |piece| &piece[..])
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(front) = self.pieces.front_mut() else { break };
            let taken = count.min(front.len());
            front.advance(taken);
            self.pieces_bytes -= taken;
            count -= taken;
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
        self.tail.advance(count);
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.pieces.iter().map(|piece| &piece[..]).chain(std::iter::once(&self.tail[..]));
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks.filter(|chunk| !chunk.is_empty())) {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::channel;
    use crate::wire::frame;

    fn written(mut out: Outbound) -> Bytes {
        let mut bytes = BytesMut::new();
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = out.chunks_vectored(&mut slices);
        slices[..filled].iter().for_each(|slice| bytes.put_slice(slice));
        assert_eq!(bytes.len(), out.remaining(), "vectored");
        let copied = out.copy_to_bytes(out.remaining());
        assert_eq!(copied, bytes, "in pieces");
        copied
    }

    #[test]
    fn methods_and_heartbeats_are_framed() {
        let mut out = Outbound::default();
        out.method(1, &Method::ChannelOpenOk(channel::OpenOk::default()));
        out.heartbeat();
        assert_eq!(written(out), &b"\x01\0\x01\0\0\0\x08\0\x14\0\x0b\0\0\0\0\xce\x08\0\0\0\0\0\0\xce"[..]);
    }

    #[test]
    fn a_delivery_is_what_the_general_way_writes_too() {
        let (tag, properties, body) = (Text::from("c"), Properties::default(), Bytes::from("body"));
        let delivery = Delivery {
            consumer_tag: &tag,
            delivery_tag: 7,
            redelivered: true,
            exchange: b"x",
            routing_key: b"key",
        };
        let mut fast = Outbound::default();
        fast.delivery(3, &delivery, &properties, &body, 4096);
        let method = basic::Deliver {
            consumer_tag: "c".into(),
            delivery_tag: 7,
            redelivered: true,
            exchange: "x".into(),
            routing_key: "key".into(),
        };
        let mut general = Outbound::default();
        general.message(3, &method.into(), &properties, &body, 4096);
        assert_eq!(written(fast), written(general));
    }

    #[test]
    fn an_ack_is_what_the_general_way_writes_too() {
        let (mut fast, mut general) = (Outbound::default(), Outbound::default());
        fast.ack(2, 9, true);
        general.method(2, &Method::BasicAck(basic::Ack { delivery_tag: 9, multiple: true }));
        assert_eq!(written(fast), written(general));
    }

    #[test]
    fn a_large_body_is_cut_into_frames_and_not_copied() {
        let body = Bytes::from(vec![7; 10_000]);
        let mut out = Outbound::default();
        out.message(1, &basic::GetEmpty::default().into(), &Properties::default(), &body, 8192);
        let shared = out.pieces.iter().any(|piece| piece.as_ptr() == body.as_ptr());
        assert!(shared);
        let mut bytes = BytesMut::from(&written(out)[..]);
        let mut frames = std::iter::from_fn(|| frame::next(&mut bytes, 8192).expect("well formed"));
        let kinds: Vec<_> = frames.by_ref().map(|frame| (frame.kind, frame.payload.len())).collect();
        assert_eq!(kinds, [(METHOD, 5), (HEADER, 14), (BODY, 8184), (BODY, 1816)]);
    }

    #[test]
    fn an_empty_body_has_no_frame() {
        let mut out = Outbound::default();
        out.message(1, &basic::GetEmpty::default().into(), &Properties::default(), &Bytes::new(), 4096);
        let bytes = written(out);
        assert!(bytes.ends_with(b"\0\x3c\0\0\0\0\0\0\0\0\0\0\0\0\xce"));
    }
}
