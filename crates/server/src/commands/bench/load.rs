//! What load is put on the broker, and the topic that it goes to.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Result, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{NewTopic, TopicReplication};

use super::super::produce::{Acks, Compression};
use super::watch::Watch;
use crate::client::{Connection, admin_options, cluster, code_text, explain, wait};
use crate::human;
use crate::interrupt::Interrupt;

/// Two batches of 1 MiB, so that one is written while the next one travels. What is more than that only waits in
/// the client, whose idempotent producer spins while five batches are on the way and another one is full.
const WINDOW_BYTES: u64 = 2 << 20;

/// Places at which a value can begin. A prime distance between two of them makes all different.
const NOISE_BYTES: u64 = 256 << 10;
const NOISE_STRIDE: u64 = 1_031;

/// Options of the load.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// Topic to use; one that this run creates is deleted again
    #[arg(long, default_value = "annals-bench")]
    topic: String,

    /// Keep a topic that this run creates
    #[arg(long)]
    keep: bool,

    /// Partitions of a topic that this run creates
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// Bytes of one record's value
    #[arg(long, default_value = "1KiB", value_parser = parse_size)]
    pub(crate) size: u64,

    /// Send this many records, all producers together
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Send for so long, if no count is given
    #[arg(long, default_value = "10s", value_parser = human::parse_duration)]
    pub(crate) duration: Duration,

    /// Producers, each with its own connection
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) producers: u64,

    /// Records a second, all producers together; as many as possible if not given
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rate: Option<u64>,

    /// Records that each producer leaves unacknowledged, about [default: as many as make 2 MiB]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    window: Option<u64>,

    /// Who must have a record before it is acknowledged
    #[arg(long, value_enum, default_value = "all")]
    acks: Acks,

    /// Bytes that one batch may have
    #[arg(long, default_value = "1MiB", value_parser = human::parse_bytes)]
    batch: u64,

    /// How long to wait for a batch to fill
    #[arg(long, default_value = "5ms", value_parser = human::parse_duration)]
    linger: Duration,

    /// Compress batches (the payload is random, so this measures the processor)
    #[arg(long, value_enum, default_value = "none")]
    compression: Compression,

    /// Let a retry write a record twice
    #[arg(long)]
    no_idempotence: bool,

    /// Measure the raw disk of this directory in the same run, and compare
    #[arg(long, value_name = "DIR")]
    pub(crate) disk_dir: Option<PathBuf>,
}

fn parse_size(text: &str) -> Result<u64, String> {
    match human::parse_bytes(text)? {
        bytes @ 16..=67_108_864 => Ok(bytes),
        bytes => Err(format!("a record of {bytes} bytes is out of range; give 16 to 64MiB")),
    }
}

/// A load with the topic it goes to.
pub(crate) struct Load<'a> {
    pub(crate) args: &'a LoadArgs,
    pub(crate) connection: &'a Connection,
    pub(crate) clock: Clock,
    pub(crate) interrupt: Interrupt,
    created: bool,
}

impl<'a> Load<'a> {
    /// Creates the topic, unless there is one.
    pub(crate) fn prepare(
        connection: &'a Connection,
        args: &'a LoadArgs,
        interrupt: Interrupt,
    ) -> Result<Self> {
        let exists = cluster::find(&connection.consumer(&[])?, &args.topic)?.is_some();
        let load = Self { args, connection, clock: Clock::system(), interrupt, created: !exists };
        if !exists {
            load.create_topic()?;
        }
        Ok(load)
    }

    /// The topic's name.
    pub(crate) fn topic(&self) -> &str {
        &self.args.topic
    }

    /// Records that a producer leaves unacknowledged.
    pub(crate) fn window(&self) -> u64 {
        self.args.window.unwrap_or_else(|| (WINDOW_BYTES / self.args.size).max(1))
    }

    /// Tells the time of records.
    pub(crate) fn watch(&self) -> Watch {
        Watch::new(&self.clock, self.args.rate.is_some())
    }

    /// Whether this run has created the topic, so that nothing was in it.
    pub(crate) fn is_fresh(&self) -> bool {
        self.created
    }

    fn create_topic(&self) -> Result<()> {
        let largest = (self.args.batch.max(self.args.size) + (1 << 20)).to_string();
        let topic = NewTopic::new(self.topic(), self.args.partitions, TopicReplication::Fixed(-1));
        let topic = topic.set("max.message.bytes", &largest);
        let results = wait(self.connection.admin()?.create_topics([&topic], &admin_options(false)))?;
        for result in results.map_err(|error| explain(&error))? {
            if let Err((name, code)) = result {
                bail!("cannot create topic \"{name}\": {}", code_text(code));
            }
        }
        Ok(())
    }

    /// Deletes the topic if this run has created it.
    pub(crate) fn clean_up(&self) -> Result<()> {
        if !self.created || self.args.keep {
            return Ok(());
        }
        let results = wait(self.connection.admin()?.delete_topics(&[self.topic()], &admin_options(false)))?;
        for result in results.map_err(|error| explain(&error))? {
            if let Err((name, code)) = result {
                bail!("cannot delete topic \"{name}\": {}", code_text(code));
            }
        }
        Ok(())
    }

    /// Properties of a producer under this load.
    pub(crate) fn producer_config(&self) -> ClientConfig {
        let args = self.args;
        let idempotent = !args.no_idempotence && args.acks == Acks::All;
        let largest = (args.batch.max(args.size) + (1 << 20)).to_string();
        let linger = format!("{}", args.linger.as_secs_f64() * 1e3);
        let batch = args.batch.to_string();
        // Twice the linger, as librdkafka's documentation has it: with less, a partition is left before its batch is full.
        let sticky = (args.linger.as_millis() * 2).max(10).to_string();
        let mut config = self.connection.config_with(&[
            ("batch.size", &batch),
            ("linger.ms", &linger),
            ("message.max.bytes", &largest),
            ("batch.num.messages", "1000000"),
            ("queue.buffering.max.messages", "0"),
            ("queue.buffering.max.kbytes", "262144"),
            ("sticky.partitioning.linger.ms", &sticky),
        ]);
        config.set("acks", args.acks.property());
        config.set("enable.idempotence", if idempotent { "true" } else { "false" });
        config.set("compression.type", args.compression.name());
        config
    }

    /// Noise that the values are cut from, so that neither a value nor a batch of them compresses. The first
    /// bytes of a value are overwritten where a record has to carry something.
    pub(crate) fn noise(&self) -> Vec<u8> {
        let length = self.args.size + NOISE_BYTES;
        let words = std::iter::repeat_with(|| self.clock.random().to_le_bytes());
        words.take(length.div_ceil(8) as usize).flatten().take(length as usize).collect()
    }

    /// Where in the noise the value of record `number` is.
    pub(crate) fn value(&self, number: u64) -> Range<usize> {
        let start = number.wrapping_mul(NOISE_STRIDE) % NOISE_BYTES;
        start as usize..(start + self.args.size) as usize
    }
}
