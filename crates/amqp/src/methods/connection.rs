//! Class connection: opening, agreeing on limits, closing.

use bytes::Bytes;

use crate::wire::table::Table;
use crate::wire::text::Text;

pub(crate) const CLASS: u16 = 10;

method! {
    /// The server's first word.
    Start = 10 {
        version_major: u8,
        version_minor: u8,
        server_properties: Table,
        mechanisms: Bytes,
        locales: Bytes,
    }
}
method! {
    /// Who the client is.
    StartOk = 11 { client_properties: Table, mechanism: Text, response: Bytes, locale: Text }
}
method! {
    /// A further question of a mechanism.
    Secure = 20 { challenge: Bytes }
}
method! {
    /// The answer to it.
    SecureOk = 21 { response: Bytes }
}
method! {
    /// The server's limits.
    Tune = 30 { channel_max: u16, frame_max: u32, heartbeat: u16 }
}
method! {
    /// The limits that the client agrees to.
    TuneOk = 31 { channel_max: u16, frame_max: u32, heartbeat: u16 }
}
method! {
    /// The virtual host that the client wants.
    Open = 40 { virtual_host: Text, capabilities: Text, insist: bool }
}
method! {
    /// It is open.
    OpenOk = 41 { known_hosts: Text }
}
method! {
    /// The end of the connection, and why.
    Close = 50 { reply_code: u16, reply_text: Text, class_id: u16, method_id: u16 }
}
method! {
    /// The other side has understood.
    CloseOk = 51 {}
}
method! {
    /// Publishing has to wait.
    Blocked = 60 { reason: Text }
}
method! {
    /// Publishing goes on.
    Unblocked = 61 {}
}
method! {
    /// A new password, or a new token.
    UpdateSecret = 70 { new_secret: Bytes, reason: Text }
}
method! {
    /// It was accepted.
    UpdateSecretOk = 71 {}
}
