//! What is measured: a quantity, such as throughput, in a case, such as four producers on one partition.

/// A quantity with its unit. One table and one plot of a scenario show one quantity.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Quantity {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// Whether more is better; if not, less is.
    pub(crate) more_is_better: bool,
}

const fn more(name: &'static str, unit: &'static str) -> Quantity {
    Quantity { name, unit, more_is_better: true }
}

const fn less(name: &'static str, unit: &'static str) -> Quantity {
    Quantity { name, unit, more_is_better: false }
}

/// Bytes of values, written or read.
pub(crate) const THROUGHPUT: &Quantity = &more("throughput", "MB/s");
/// Records, where each is a request of its own.
pub(crate) const RECORD_RATE: &Quantity = &more("records", "1/s");
/// Processor time of the server for each GB of values.
pub(crate) const CPU: &Quantity = &less("server CPU", "s/GB");
/// From the moment at which a record was due to its acknowledgement.
pub(crate) const ACK: &Quantity = &less("acknowledgement", "ms");
/// From the moment at which a record was due to its arrival at a consumer.
pub(crate) const END_TO_END: &Quantity = &less("end to end", "ms");
/// Resident memory of the server.
pub(crate) const RESIDENT: &Quantity = &less("resident memory", "MiB");
/// The time that something takes.
pub(crate) const TIME: &Quantity = &less("time", "s");
/// The raw disk, measured just before and after the load: 1 MiB writes with fdatasync.
pub(crate) const RAW_WRITE: &Quantity = &more("raw 1 MiB write + fdatasync", "MB/s");
/// The raw disk, measured just before and after the load: p99 of 4 KiB writes with fdatasync.
pub(crate) const RAW_SYNC: &Quantity = &less("raw 4 KiB write + fdatasync p99", "ms");
/// The time to read the files once, in order, past the page cache.
pub(crate) const RAW_READ: &Quantity = &less("raw read of all files", "s");
/// Messages, from publishers through queues to consumers where there are some.
pub(crate) const MESSAGE_RATE: &Quantity = &more("messages", "1/s");
/// Processor time of the server for each message.
pub(crate) const MESSAGE_CPU: &Quantity = &less("server CPU", "µs/message");
/// Processor time of the load generator for each message.
pub(crate) const CLIENT_CPU: &Quantity = &less("client CPU", "µs/message");
/// Queues, each declared with an answer.
pub(crate) const DECLARE_RATE: &Quantity = &more("queues declared", "1/s");
/// What goes to the disk for what is published.
pub(crate) const WRITTEN: &Quantity = &less("written to disk", "bytes/byte of body");
/// Appends of one event, each durable and on a condition.
pub(crate) const APPENDS: &Quantity = &more("appends", "1/s");
/// Processor time for each append: of client and store where both are one process, of the server alone elsewhere.
pub(crate) const APPEND_CPU: &Quantity = &less("CPU of an append", "µs");
/// Appends under way divided by the median time of a 4 KiB write with fdatasync, of the same run.
pub(crate) const DISK_ALLOWS: &Quantity = &more("what the disk allows", "1/s");
/// Events, where many are read or indexed at a time.
pub(crate) const EVENTS: &Quantity = &more("events", "1/s");
/// Processor time for each of them.
pub(crate) const EVENT_CPU: &Quantity = &less("CPU of an event", "µs");
/// The median time of one operation.
pub(crate) const MEDIAN_TIME: &Quantity = &less("median time", "ms");
