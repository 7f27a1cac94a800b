//! What a connection makes of bytes, without a socket and without a broker: for those who look for bytes that break it.

use std::collections::HashMap;

use annals_clock::Clock;
use bytes::{Bytes, BytesMut};

use crate::channel::effect::{Answer, Ask, Effect};
use crate::channel::publishing::Outcome;
use crate::channel::{Around, Channel};
use crate::connection::session::read_method;
use crate::connection::{Entrance, Handshake};
use crate::methods::Method;
use crate::options::Limits;
use crate::rights::{Access, Permission, Rights};
use crate::wire::frame::{self, BODY, Frame, HEADER, METHOD};
use crate::wire::outbound::Outbound;

/// The largest frame and the largest message here.
const BYTES_MAX: usize = 131_072;

/// Takes `bytes` as what a client sends behind its protocol header, up to the first error that ends the connection. Every
/// question of a channel is answered at once, and every message that is published is delivered. Returns how many effects
/// there were.
///
/// ```
/// let open_channel_1 = b"\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x0a\x00\xce";
/// assert_eq!(annals_amqp::replay(open_channel_1), 1);
/// assert_eq!(annals_amqp::replay(b"no frame at all"), 0);
/// ```
pub fn replay(bytes: &[u8]) -> usize {
    let mut replay = Replay::new();
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(frame)) = frame::next(&mut buffer, BYTES_MAX) {
        if !replay.frame(frame) {
            break;
        }
    }
    replay.effects
}

struct Replay {
    handshake: Handshake,
    access: Access,
    rights: Rights,
    clock: Clock,
    channels: HashMap<u16, Channel<u64>>,
    next_lease: u64,
    effects: usize,
}

impl Replay {
    fn new() -> Self {
        Self {
            handshake: Handshake::new(Limits::default(), [127, 0, 0, 1].into()),
            access: Access::default(),
            rights: Rights::new("guest", "/", Permission::all()),
            clock: Clock::manual(0, 1).0,
            channels: HashMap::new(),
            next_lease: 0,
            effects: 0,
        }
    }

    /// Takes a frame; tells whether the connection goes on.
    fn frame(&mut self, frame: Frame) -> bool {
        let Frame { kind, channel, payload } = frame;
        if kind == METHOD {
            check_codec(payload.clone());
        }
        if channel == 0 {
            let method = (kind == METHOD).then(|| read_method(payload));
            let Some(Ok(method)) = method else { return false };
            let entrance = Entrance { access: &self.access, has_vhost: &|name| name == "/" };
            return self.handshake.method(method, &entrance).is_ok();
        }
        let mut machine = self.channels.remove(&channel).unwrap_or_default();
        let taken = match kind {
            METHOD => read_method(payload).and_then(|method| machine.method(method)),
            HEADER => machine.header(payload, BYTES_MAX),
            BODY => machine.body(payload),
            _ => return false,
        };
        let around = Around { rights: &self.rights, clock: &self.clock };
        let carried = match taken {
            Ok(Some(command)) => machine.command(command, around),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = carried {
            if error.code.ends_connection() {
                return false;
            }
            machine.fail(&error);
        }
        self.carry_out(&mut machine);
        self.channels.insert(channel, machine);
        true
    }

    fn carry_out(&mut self, machine: &mut Channel<u64>) {
        let mut out = Outbound::default();
        while let Some(effect) = machine.next_effect() {
            self.effects += 1;
            match effect {
                Effect::Send(method) => out.method(1, &method),
                Effect::SendMessage(method, content) => {
                    out.message(1, &method, &content.properties, &content.body, BYTES_MAX);
                }
                Effect::Ask(ask) => self.answer(machine, &ask),
                Effect::Publish(publish) => {
                    machine.unroutable(&publish);
                    if let Some(number) = publish.number {
                        machine.published(number, Outcome::Safe);
                    }
                    machine.confirm(|method| out.method(1, &method));
                    self.next_lease += 1;
                    machine.deliver(self.next_lease, false);
                }
                Effect::Settle(_)
                | Effect::Replies(_)
                | Effect::Window(_)
                | Effect::Release(_)
                | Effect::Free => {}
            }
        }
    }

    fn answer(&mut self, machine: &mut Channel<u64>, ask: &Ask<u64>) {
        let answer = match ask {
            Ask::DeclareQueue(_) | Ask::FindReplies(_) => {
                Answer::Queue { message_count: 1, consumer_count: 1 }
            }
            Ask::PurgeQueue(_) | Ask::DeleteQueue(_) => Answer::Count(1),
            Ask::Get(get) if get.no_ack => Answer::Empty,
            Ask::Get(_) => {
                self.next_lease += 1;
                machine.got(self.next_lease);
                return;
            }
            Ask::DeclareExchange(_)
            | Ask::DeleteExchange(_)
            | Ask::Publishable(_)
            | Ask::BindExchange(_)
            | Ask::UnbindExchange(_)
            | Ask::BindQueue(_)
            | Ask::UnbindQueue(_)
            | Ask::Consume(_)
            | Ask::Cancel(_)
            | Ask::Commit(_) => Answer::Done,
        };
        let answered = machine.answer(Ok(answer));
        debug_assert!(answered.is_ok(), "every answer makes sense");
    }
}

/// What was read is written so that it is read again as the same.
fn check_codec(payload: Bytes) {
    let Ok(method) = Method::read(payload) else { return };
    let mut written = BytesMut::new();
    method.write(&mut written);
    assert_eq!(Method::read(written.freeze()), Ok(method));
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;
    use crate::methods::all;

    #[test]
    fn every_method_on_a_channel_is_survived() {
        for method in all() {
            let mut out = Outbound::default();
            out.method(1, &Method::ChannelOpen(Default::default()));
            out.method(1, &method);
            let size = out.remaining();
            let bytes = out.copy_to_bytes(size);
            assert!(replay(&bytes) >= 1, "{}", method.name());
        }
    }
}
