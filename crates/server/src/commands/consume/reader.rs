//! The loop of `annals consume`: poll, print, remember how far it came.

use anyhow::{Context, Result};
use rdkafka::Message;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

use super::finish::Finish;
use super::group::Membership;
use super::print::Printer;
use super::{Args, Consuming};
use crate::client::cluster::Partition;
use crate::client::explain;
use crate::client::offsets::Offsets;
use crate::interrupt::Interrupt;

/// Records after which output is flushed and progress stored even if more are waiting.
const FLUSH_RECORDS: u64 = 4_096;

/// The loop of the command.
pub(crate) struct Reader<'a> {
    args: &'a Args,
    consumer: Consuming,
    membership: Membership,
    finish: Finish,
    printer: Printer<'a>,
    /// Behind the last printed record of each partition, as far as the group has not been told.
    printed: Offsets,
    outage: Outage,
    interrupt: Interrupt,
}

impl<'a> Reader<'a> {
    /// A reader that has its partitions, or waits for its group to give it some.
    pub(crate) fn new(
        args: &'a Args,
        consumer: Consuming,
        membership: Membership,
        finish: Finish,
    ) -> Result<Self> {
        let (printer, printed, outage) = (Printer::new(args), Offsets::new(), Outage::default());
        let interrupt = Interrupt::listen()?;
        Ok(Self { args, consumer, membership, finish, printer, printed, outage, interrupt })
    }

    /// Prints records until there is a reason to stop; then commits and leaves the group.
    pub(crate) fn run(mut self) -> Result<()> {
        let outcome = self.read();
        // Also after an error, such as a closed pipe: what was printed before it is committed.
        let flushed = self.flush();
        let committed = self.commit();
        outcome.and(flushed).and(committed)
        // Dropping the consumer leaves the group.
    }

    fn read(&mut self) -> Result<()> {
        while !self.is_done() {
            // The message borrows the consumer, so the consumer is named apart from the rest.
            let consumer = &self.consumer;
            match consumer.poll(self.printer.patience()) {
                Some(Ok(message)) if self.finish.wants(&message) => {
                    self.outage = Outage::default();
                    self.printer.print(&message)?;
                    note(&mut self.printed, self.args, &message);
                    if self.printer.printed().is_multiple_of(FLUSH_RECORDS) {
                        self.flush()?;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(KafkaError::PartitionEOF(partition))) => self.finish.at_end(partition),
                Some(Err(error)) if is_passing(&error) => self.outage.note(&error),
                Some(Err(error)) => return Err(explain(&error)).context("cannot read on"),
                None => self.flush()?,
            }
            if self.membership.has_changed() {
                self.finish.assigned(&self.consumer)?;
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let enough = self.args.count.is_some_and(|count| self.printer.printed() >= count);
        enough || self.interrupt.is_raised() || self.finish.is_reached()
    }

    /// Sends everything to the reader, and then tells the group how far that is.
    fn flush(&mut self) -> Result<()> {
        self.printer.flush()?;
        for (partition, offset) in std::mem::take(&mut self.printed) {
            match self.consumer.store_offset(&partition.topic, partition.number, offset - 1) {
                // The partition went to another member meanwhile; that one commits.
                Ok(()) | Err(KafkaError::StoreOffset(RDKafkaErrorCode::State)) => {}
                Err(error) => return Err(explain(&error)),
            }
        }
        Ok(())
    }

    fn commit(&self) -> Result<()> {
        if self.args.group.is_none() || self.printer.printed() == 0 {
            return Ok(());
        }
        match self.consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
            Err(error) => Err(explain(&error)).context("cannot commit; the last records will be read again"),
        }
    }
}

fn note(printed: &mut Offsets, args: &Args, message: &BorrowedMessage<'_>) {
    if args.group.is_none() {
        return;
    }
    let next = message.offset() + 1;
    // Looked up before it is inserted: a key owns its topic's name, and most records find theirs.
    match printed.iter_mut().find(|(p, _)| p.number == message.partition() && p.topic == message.topic()) {
        Some((_, offset)) => *offset = next,
        None => drop(printed.insert(Partition::new(message.topic(), message.partition()), next)),
    }
}

/// Whether the broker is away, so that it is said once.
#[derive(Debug, Default)]
struct Outage(bool);

impl Outage {
    fn note(&mut self, error: &KafkaError) {
        tracing::debug!(%error, "goes on");
        let no_broker = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        if no_broker && !std::mem::replace(&mut self.0, true) {
            eprintln!("annals: no broker answers; going on as soon as one does (Ctrl-C ends)");
        }
    }
}

/// Whether the client library gets over the error by itself.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let passing =
        [Code::BrokerTransportFailure, Code::AllBrokersDown, Code::OperationTimedOut, Code::PollExceeded];
    matches!(error, KafkaError::MessageConsumption(code) if passing.contains(code))
}
