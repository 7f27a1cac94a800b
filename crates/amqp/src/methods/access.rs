//! Class access: what is left of AMQP 0-8's tickets. Old clients still ask for one.

use crate::wire::text::Text;

pub(crate) const CLASS: u16 = 30;

method! {
    /// Asks for a ticket.
    Request = 10 { realm: Text, exclusive: bool, passive: bool, active: bool, write: bool, read: bool }
}
method! {
    /// A ticket, which nobody looks at.
    RequestOk = 11 { ticket: u16 }
}
