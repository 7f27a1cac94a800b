//! Class channel: opening and closing one of the conversations within a connection.

use bytes::Bytes;

use crate::wire::text::Text;

pub(crate) const CLASS: u16 = 20;

method! {
    /// Opens a channel.
    Open = 10 { out_of_band: Text }
}
method! {
    /// It is open.
    OpenOk = 11 { channel_id: Bytes }
}
method! {
    /// Whether the other side may send messages.
    Flow = 20 { active: bool }
}
method! {
    /// Whether it will.
    FlowOk = 21 { active: bool }
}
method! {
    /// The end of the channel, and why.
    Close = 40 { reply_code: u16, reply_text: Text, class_id: u16, method_id: u16 }
}
method! {
    /// The other side has understood.
    CloseOk = 41 {}
}
