//! Class queue: where messages wait.

use crate::wire::table::Table;
use crate::wire::text::Text;

pub(crate) const CLASS: u16 = 50;

method! {
    /// Creates a queue, or checks that it is as described.
    Declare = 10 {
        ticket: u16,
        queue: Text,
        passive: bool,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        no_wait: bool,
        arguments: Table,
    }
}
method! {
    /// It is there, under this name.
    DeclareOk = 11 { queue: Text, message_count: u32, consumer_count: u32 }
}
method! {
    /// Lets messages of an exchange go to the queue.
    Bind = 20 {
        ticket: u16,
        queue: Text,
        exchange: Text,
        routing_key: Text,
        no_wait: bool,
        arguments: Table,
    }
}
method! {
    /// They do.
    BindOk = 21 {}
}
method! {
    /// Throws away all messages that nobody has been given.
    Purge = 30 { ticket: u16, queue: Text, no_wait: bool }
}
method! {
    /// How many there were.
    PurgeOk = 31 { message_count: u32 }
}
method! {
    /// Deletes a queue.
    Delete = 40 { ticket: u16, queue: Text, if_unused: bool, if_empty: bool, no_wait: bool }
}
method! {
    /// How many messages went with it.
    DeleteOk = 41 { message_count: u32 }
}
method! {
    /// Takes a binding away.
    Unbind = 50 { ticket: u16, queue: Text, exchange: Text, routing_key: Text, arguments: Table }
}
method! {
    /// It is not there any more.
    UnbindOk = 51 {}
}
