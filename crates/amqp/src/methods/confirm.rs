//! Class confirm: publishers that want to know what is safe. RabbitMQ's addition.

pub(crate) const CLASS: u16 = 85;

method! {
    /// Asks for confirms from now on.
    Select = 10 { no_wait: bool }
}
method! {
    /// They will come.
    SelectOk = 11 {}
}
