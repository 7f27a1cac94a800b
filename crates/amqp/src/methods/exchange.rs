//! Class exchange: where messages go in, and how exchanges feed each other.

use crate::wire::table::Table;
use crate::wire::text::Text;

pub(crate) const CLASS: u16 = 40;

method! {
    /// Creates an exchange, or checks that it is as described.
    Declare = 10 {
        ticket: u16,
        exchange: Text,
        kind: Text,
        passive: bool,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        no_wait: bool,
        arguments: Table,
    }
}
method! {
    /// It is there.
    DeclareOk = 11 {}
}
method! {
    /// Deletes an exchange.
    Delete = 20 { ticket: u16, exchange: Text, if_unused: bool, no_wait: bool }
}
method! {
    /// It is not there any more.
    DeleteOk = 21 {}
}
method! {
    /// Lets messages of `source` go to `destination` too.
    Bind = 30 {
        ticket: u16,
        destination: Text,
        source: Text,
        routing_key: Text,
        no_wait: bool,
        arguments: Table,
    }
}
method! {
    /// They do.
    BindOk = 31 {}
}
method! {
    /// Takes a binding away.
    Unbind = 40 {
        ticket: u16,
        destination: Text,
        source: Text,
        routing_key: Text,
        no_wait: bool,
        arguments: Table,
    }
}
method! {
    /// It is not there any more.
    UnbindOk = 51 {}
}
