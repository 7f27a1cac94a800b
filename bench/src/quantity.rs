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
