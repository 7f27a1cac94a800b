//! How fast one core takes batches in: `cargo run --release -p annals-topics --example batch_speed`.
//!
//! Prints megabytes of produced (expanded) records per second for each codec, accepting batches as they come and
//! looking inside each one, and what it costs to decide and to journal-prepare one batch of 16 KiB.

use annals_clock::Clock;
use annals_topics::batch::{
    AcceptRules, Batch, BatchBuilder, BatchOptions, Compression, ExpandLimits, NewRecord, RecordCheck,
    TimestampType, accept,
};
use annals_topics::config::TopicConfig;
use annals_topics::partition::{Append, Partition};
use bytes::Bytes;

const ROUNDS: u32 = 200;
const NOW: i64 = 1_700_000_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Clock::system();
    for record_bytes in [100, 1_000] {
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let bytes = sample(compression, record_bytes)?;
            let as_it_comes = accept_speed(&clock, &bytes, RecordCheck::WhenNeeded)?;
            let looked_into = accept_speed(&clock, &bytes, RecordCheck::Always)?;
            report(&format!(
                "{record_bytes:>5}-byte records, {compression:<12} as it comes {as_it_comes:>7.0} MB/s   looked into {looked_into:>7.0} MB/s"
            ));
        }
    }
    let decide_ns = decide_cost(&clock)?;
    report(&format!("deciding a 16 KiB batch: {decide_ns:.0} ns"));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example talks to its terminal")]
fn report(line: &str) {
    println!("{line}");
}

/// Bytes of records in [`sample`], before compression.
const SAMPLE_BYTES: usize = 500_000;

fn sample(compression: Compression, record_bytes: usize) -> Result<Bytes, Box<dyn std::error::Error>> {
    let clock = Clock::manual(0, 1).0;
    let mut builder =
        BatchBuilder::new(BatchOptions { codec: compression.into(), ..BatchOptions::default() });
    for number in 0..SAMPLE_BYTES / record_bytes {
        // Half text, half noise: compresses to somewhat more than half, as JSON with ids does.
        let mut value =
            format!("{{\"order\":{number},\"state\":\"paid\"}}").repeat(record_bytes / 64 + 1).into_bytes();
        value.truncate(record_bytes / 2);
        while value.len() < record_bytes {
            value.extend_from_slice(&clock.random().to_le_bytes());
        }
        value.truncate(record_bytes);
        builder.push(&NewRecord { key: Some(b"key"), value: Some(&value), ..NewRecord::at(NOW) })?;
    }
    Ok(builder.build()?.encode())
}

fn rules(record_check: RecordCheck) -> AcceptRules {
    TopicConfig::default().accept_rules(record_check, ExpandLimits::default())
}

fn accept_speed(clock: &Clock, bytes: &Bytes, check: RecordCheck) -> Result<f64, Box<dyn std::error::Error>> {
    let rules = rules(check);
    let start = clock.monotonic();
    for _ in 0..ROUNDS {
        accept(bytes.clone(), &rules, NOW)?;
    }
    let seconds = (clock.monotonic() - start).as_secs_f64();
    Ok(SAMPLE_BYTES as f64 * f64::from(ROUNDS) / seconds / 1e6)
}

fn decide_cost(clock: &Clock) -> Result<f64, Box<dyn std::error::Error>> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(&NewRecord { value: Some(&[7; 16_000]), ..NewRecord::at(NOW) })?;
    let batch: Batch = builder.build()?;
    let mut partition = Partition::default();
    let rounds = 100_000;
    let start = clock.monotonic();
    for _ in 0..rounds {
        let appended = partition.append(vec![batch.clone()], NOW, TimestampType::LogAppend)?;
        if let Append::New { entries, .. } = appended {
            entries.iter().for_each(|entry| {
                partition.apply(&entry.header, NOW);
            });
        }
    }
    Ok((clock.monotonic() - start).as_nanos() as f64 / f64::from(rounds))
}
