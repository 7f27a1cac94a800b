//! Records on standard output.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::time::Duration;

use anyhow::Result;
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;

use super::format::Template;
use super::{Args, Output, json};

/// How long to wait for a record when there is nothing to be flushed.
const PATIENCE: Duration = Duration::from_millis(100);

/// Writes records in the format that was asked for.
pub(crate) struct Printer<'a> {
    template: Option<&'a Template>,
    output: Output,
    out: BufWriter<Stdout>,
    printed: u64,
    unflushed: bool,
    flush_each: bool,
}

impl<'a> Printer<'a> {
    /// A printer for the options.
    pub(crate) fn new(args: &'a Args) -> Self {
        Self {
            template: args.format.as_ref(),
            output: args.output,
            out: BufWriter::with_capacity(64 << 10, io::stdout()),
            printed: 0,
            unflushed: false,
            flush_each: io::stdout().is_terminal(),
        }
    }

    /// Prints one record. It reaches the reader at the latest when no other record is waiting.
    pub(crate) fn print(&mut self, message: &BorrowedMessage<'_>) -> Result<()> {
        match (self.template, self.output) {
            (Some(template), _) => template.write(message, &mut self.out)?,
            (None, Output::Json) => json::write(message, &mut self.out)?,
            (None, Output::Text) => {
                self.out.write_all(message.payload().unwrap_or_default())?;
                self.out.write_all(b"\n")?;
            }
        }
        self.printed += 1;
        self.unflushed = true;
        if self.flush_each { self.flush() } else { Ok(()) }
    }

    /// Sends everything printed so far to the reader.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.unflushed = false;
        Ok(self.out.flush()?)
    }

    /// How long the next wait for a record may be: not at all while something waits to be flushed.
    pub(crate) fn patience(&self) -> Duration {
        if self.unflushed { Duration::ZERO } else { PATIENCE }
    }

    /// Records printed so far.
    pub(crate) fn printed(&self) -> u64 {
        self.printed
    }
}
