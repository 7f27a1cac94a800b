//! What a client of AMQP 0-9-1 says, with frames that are well made: so the search is for methods, their order and their fields,
//! and not for lengths and frame ends.
//!
//! An input is a row of steps. Each begins with a byte: its low three bits say what is sent, the next two on which channel.
//! Channels 1 and 2 are open at the start, channel 1 with confirms.

use crate::Input;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;

const CHANNEL_OPEN: (u16, u16) = (20, 10);
const CONFIRM_SELECT: (u16, u16) = (85, 10);
const BASIC_PUBLISH: (u16, u16) = (60, 40);

/// All that a client may send on a channel, and some of what it may not.
const METHODS: &[(u16, u16)] = &[
    CHANNEL_OPEN,
    (20, 20),
    (20, 21),
    (20, 40),
    (20, 41),
    (30, 10),
    (40, 10),
    (40, 20),
    (40, 30),
    (40, 31),
    (40, 40),
    (50, 10),
    (50, 20),
    (50, 30),
    (50, 40),
    (50, 50),
    (60, 10),
    (60, 20),
    (60, 30),
    BASIC_PUBLISH,
    (60, 50),
    (60, 60),
    (60, 70),
    (60, 71),
    (60, 80),
    (60, 90),
    (60, 100),
    (60, 110),
    (60, 111),
    (60, 120),
    CONFIRM_SELECT,
    (85, 11),
    (90, 10),
    (90, 20),
    (90, 30),
    (10, 11),
    (10, 31),
    (10, 40),
    (10, 50),
    (10, 70),
];

/// Writes frames.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend(channel.to_be_bytes());
        // An input is far shorter than 4 GiB.
        self.bytes.extend(u32::try_from(payload.len()).unwrap_or(0).to_be_bytes());
        self.bytes.extend(payload);
        self.bytes.push(FRAME_END);
    }

    fn method(&mut self, channel: u16, (class, method): (u16, u16), fields: &[u8]) {
        let mut payload = [class.to_be_bytes(), method.to_be_bytes()].concat();
        payload.extend(fields);
        self.frame(METHOD, channel, &payload);
    }

    /// Announces a message: its length and its properties.
    fn header(&mut self, channel: u16, size: u64, flags: u16, properties: &[u8]) {
        let mut payload = [60_u16.to_be_bytes(), [0, 0]].concat();
        payload.extend(size.to_be_bytes());
        payload.extend(flags.to_be_bytes());
        payload.extend(properties);
        self.frame(HEADER, channel, &payload);
    }

    /// A whole message, in one frame.
    fn message(&mut self, channel: u16, input: &mut Input<'_>) {
        let (exchange, key, bits) = (input.slice(), input.slice(), input.byte());
        let mut fields = vec![0, 0];
        for text in [exchange, key] {
            let text = &text[..text.len().min(255)];
            fields.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            fields.extend(text);
        }
        fields.push(bits & 3);
        self.method(channel, BASIC_PUBLISH, &fields);
        let (flags, properties, body) = (input.short(), input.slice(), input.slice());
        self.header(channel, body.len() as u64, flags, properties);
        if !body.is_empty() {
            self.frame(BODY, channel, body);
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let channel = u16::from(choice >> 3 & 3);
        match choice & 7 {
            0..=2 => {
                let method = METHODS[usize::from(input.byte()) % METHODS.len()];
                self.method(channel, method, input.slice());
            }
            3 | 4 => self.message(channel, input),
            5 => {
                let (size, flags) = (u64::from(input.short()), input.short());
                self.header(channel, size, flags, input.slice());
            }
            6 => self.frame(BODY, channel, input.slice()),
            _ => {
                let kind = input.byte();
                self.frame(kind, channel, input.slice());
            }
        }
    }
}

/// Sends what `data` says.
pub fn run(data: &[u8]) {
    let mut frames = Frames::default();
    for channel in [1, 2] {
        frames.method(channel, CHANNEL_OPEN, &[0]);
    }
    frames.method(1, CONFIRM_SELECT, &[0]);
    let opened = annals_amqp::replay(&frames.bytes);
    let mut input = Input::new(data);
    while !input.is_empty() {
        frames.step(&mut input);
    }
    // What was said before does not come undone by what is said after.
    assert!(annals_amqp::replay(&frames.bytes) >= opened, "the channels were open");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_that_the_server_takes() {
        let mut input = Input::new(&[0, 0, 1, 0, b'q', 0, 0, 0, 0, 0, 2, 0, b'h', b'i']);
        let mut frames = Frames::default();
        frames.method(1, CHANNEL_OPEN, &[0]);
        assert_eq!(annals_amqp::replay(&frames.bytes), 1);
        frames.message(1, &mut input);
        assert!(annals_amqp::replay(&frames.bytes) > 1, "it is published");
        let method = [1, 0, 1, 0, 0, 0, 10, 0, 60, 0, 40, 0, 0, 0, 1, b'q', 0, FRAME_END];
        assert_eq!(frames.bytes[13..13 + method.len()], method);
    }
}
