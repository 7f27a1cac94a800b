//! `annals bench e2e`: how long a record is on its way from one application to another.
//!
//! Each record carries the time at which it was due and the number of its run, so that records of others in
//! the same topic do not count. Producer and consumer share one clock, being in one process.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::latency::{self, histogram};
use super::load::Load;
use super::produce::{Sender, Sent};
use super::report::{self, Times};
use crate::client::cluster::{self, Partition};
use crate::client::offsets::{Which, look_up, to_list};
use crate::client::{Quiet, explain};

/// How long to wait for records that were acknowledged and do not come.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Sends with one producer and receives with one consumer at the same time.
pub(crate) fn run(load: &Load<'_>) -> Result<report::Run> {
    let reader = reader(load)?;
    // The sender makes its connection first, and its first record is not one of this run.
    let sender = Sender::connect(load)?;
    let run = load.clock.random();
    let (done, is_done) = sync_channel(1);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("producer".into());
        let thread =
            thread.spawn_scoped(scope, move || send(load, sender, run, &done)).context("cannot send")?;
        let received = receive(load, &reader, run, &is_done);
        thread.join().map_err(|_| anyhow::anyhow!("the producer has panicked"))??;
        received
    })
}

fn send(load: &Load<'_>, sender: Sender<'_>, run: u64, done: &SyncSender<Sent>) -> Result<()> {
    let sent = sender.send_all(load.args.count, |payload, due| {
        payload[..8].copy_from_slice(&run.to_le_bytes());
        payload[8..16].copy_from_slice(&(due.as_nanos() as u64).to_le_bytes());
    })?;
    // The receiver is gone only if it has failed, which is reported anyway.
    let _gone = done.send(sent);
    Ok(())
}

fn receive(
    load: &Load<'_>,
    reader: &BaseConsumer<Quiet>,
    run: u64,
    is_done: &Receiver<Sent>,
) -> Result<report::Run> {
    let (mut times, mut records, mut wanted) = (histogram()?, 0, None);
    let begin = load.clock.monotonic();
    let mut last = begin;
    while wanted.is_none_or(|wanted| records < wanted) {
        match reader.poll(Duration::from_millis(20)) {
            Some(Ok(message)) => {
                last = load.clock.monotonic();
                records += note(&mut times, message.payload().unwrap_or_default(), run, last);
            }
            Some(Err(error)) => return Err(explain(&error)),
            None => match is_done.try_recv() {
                Ok(sent) => wanted = Some(sent.acknowledged),
                Err(TryRecvError::Disconnected) if wanted.is_none() => bail!("the producer has failed"),
                Err(_) if wanted.is_some() && load.clock.monotonic() > last + SILENCE_MAX => {
                    bail!("{} acknowledged records did not come", wanted.unwrap_or(0) - records)
                }
                Err(_) => {}
            },
        }
    }
    Ok(report::Run::new("end to end", records, load.args.size, last - begin, Some(Times::of(&times))))
}

/// Notes the time of a record of this run. Returns how many that was.
fn note(times: &mut Histogram<u64>, payload: &[u8], run: u64, now: Duration) -> u64 {
    let Some((carried_run, rest)) = payload.split_first_chunk::<8>() else { return 0 };
    let Some(due) = rest.first_chunk::<8>() else { return 0 };
    if u64::from_le_bytes(*carried_run) != run {
        return 0;
    }
    latency::record(times, now.saturating_sub(Duration::from_nanos(u64::from_le_bytes(*due))));
    1
}

fn reader(load: &Load<'_>) -> Result<BaseConsumer<Quiet>> {
    let mut config = load.connection.config_with(&[
        ("fetch.message.max.bytes", "4194304"),
        ("queued.max.messages.kbytes", "65536"),
        ("fetch.error.backoff.ms", "5"),
        ("fetch.queue.backoff.ms", "5"),
    ]);
    config.set("group.id", "annals-bench").set("enable.auto.commit", "false");
    // Going on from another offset would lose records without a word.
    config.set("auto.offset.reset", "error");
    let reader: BaseConsumer<Quiet> = load.connection.create(&config, Quiet)?;
    let partitions: Vec<Partition> = cluster::topic(&reader, load.topic())?.partitions().collect();
    let end = look_up(&reader, &partitions, Which::Latest)?;
    reader.assign(&to_list(&end)?).map_err(|error| explain(&error))?;
    Ok(reader)
}
