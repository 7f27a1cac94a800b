//! Writes the directory that `tests/it/fixture.rs` reads back: `cargo run -p annals-journal --example make_fixture -- DIR`.
//!
//! Run once for each version of the on-disk format; what it wrote is kept for good, so that every later program is
//! shown to read what earlier ones wrote.

use std::error::Error;
use std::sync::Arc;

use annals_clock::Clock;
use annals_journal::{DiskFiles, Group, Idle, Journal, LogId, Options, Payload};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("give the directory to write")?;
    std::fs::create_dir_all(&directory)?;
    let (clock, _hand) = Clock::manual(1_700_000_000_000, 7);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for life in 0..3_u64 {
        let files = Arc::new(DiskFiles::open(&directory)?);
        let opened = Journal::open(Options::default(), files, clock.clone(), Arc::new(Idle))?;
        let journal = opened.start(Arc::new(Idle))?;
        for offset in life * 5..(life + 1) * 5 {
            let mut group = Group::new();
            for log in [1, 2, 3].into_iter().filter(|&log| log < 3 || life < 2) {
                let text = format!("log {log}, offset {offset}");
                group.push(
                    LogId(log),
                    offset,
                    1,
                    1_700_000_000_000 + offset as i64,
                    Payload::new(text.into()),
                );
            }
            runtime.block_on(journal.append(group))?;
        }
        if life == 1 {
            let mut group = Group::new();
            group.trim(LogId(2), 4);
            group.delete(LogId(3));
            group.push(LogId(4), 0, 10, -1, Payload::new("ten records without a timestamp".into()));
            runtime.block_on(journal.append(group))?;
        }
        if life == 0 {
            journal.close();
        }
        if life == 1 {
            runtime.block_on(journal.rewrite(LogId(1), 5))?;
            journal.close();
        }
        if life == 2 {
            // As a killed process leaves it: the last segment is not sealed, and long.
            std::process::exit(0);
        }
    }
    Ok(())
}
