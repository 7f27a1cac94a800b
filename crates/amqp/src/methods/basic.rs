//! Class basic: messages, and what becomes of them.

use crate::wire::table::Table;
use crate::wire::text::Text;

pub(crate) const CLASS: u16 = 60;
/// The number of [`Deliver`], which is written by hand where speed counts.
pub(crate) const DELIVER: u16 = Deliver::ID;
/// The number of [`Ack`], likewise.
pub(crate) const ACK: u16 = Ack::ID;

method! {
    /// How many deliveries may be unacknowledged.
    Qos = 10 { prefetch_size: u32, prefetch_count: u16, global: bool }
}
method! {
    /// No more than that from now on.
    QosOk = 11 {}
}
method! {
    /// Asks for the messages of a queue.
    Consume = 20 {
        ticket: u16,
        queue: Text,
        consumer_tag: Text,
        no_local: bool,
        no_ack: bool,
        exclusive: bool,
        no_wait: bool,
        arguments: Table,
    }
}
method! {
    /// They come under this tag.
    ConsumeOk = 21 { consumer_tag: Text }
}
method! {
    /// Asks for no more; or tells that there will be none.
    Cancel = 30 { consumer_tag: Text, no_wait: bool }
}
method! {
    /// No more come.
    CancelOk = 31 { consumer_tag: Text }
}
method! {
    /// A message for an exchange. Its content follows.
    Publish = 40 { ticket: u16, exchange: Text, routing_key: Text, mandatory: bool, immediate: bool }
}
method! {
    /// A message that could not be routed. Its content follows.
    Return = 50 { reply_code: u16, reply_text: Text, exchange: Text, routing_key: Text }
}
method! {
    /// A message for a consumer. Its content follows.
    Deliver = 60 {
        consumer_tag: Text,
        delivery_tag: u64,
        redelivered: bool,
        exchange: Text,
        routing_key: Text,
    }
}
method! {
    /// Asks for one message now.
    Get = 70 { ticket: u16, queue: Text, no_ack: bool }
}
method! {
    /// Here it is. Its content follows.
    GetOk = 71 {
        delivery_tag: u64,
        redelivered: bool,
        exchange: Text,
        routing_key: Text,
        message_count: u32,
    }
}
method! {
    /// There is none.
    GetEmpty = 72 { cluster_id: Text }
}
method! {
    /// A delivery is done with; or a publish is safe.
    Ack = 80 { delivery_tag: u64, multiple: bool }
}
method! {
    /// A delivery is not wanted.
    Reject = 90 { delivery_tag: u64, requeue: bool }
}
method! {
    /// Gives all unacknowledged deliveries back, without an answer.
    RecoverAsync = 100 { requeue: bool }
}
method! {
    /// Gives all unacknowledged deliveries back.
    Recover = 110 { requeue: bool }
}
method! {
    /// They are back.
    RecoverOk = 111 {}
}
method! {
    /// Deliveries are not wanted; or a publish failed.
    Nack = 120 { delivery_tag: u64, multiple: bool, requeue: bool }
}
