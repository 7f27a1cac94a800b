//! `annals verify`: reads every byte of a data directory and checks it, changing nothing.

use std::path::PathBuf;

use annals_journal::{DataLock, DiskFiles, LogId, Report, verify};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::failure::Reported;
use crate::human;
use crate::output::{self, Align, Columns, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals verify --data-dir /var/lib/annals
  annals verify --data-dir /var/lib/annals -o json

The server must not be running. Exit code 1 if anything is damaged; a torn end or an incomplete index, as a power
failure leaves them, is no damage: the next start cuts the one and builds the other again.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,

    /// Also list every log
    #[arg(long)]
    logs: bool,

    #[command(flatten)]
    output: FormatArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let place = args.data_dir.display();
    let files = DiskFiles::open(&args.data_dir).with_context(|| format!("cannot open {place}"))?;
    let _lock = DataLock::acquire(&args.data_dir)?;
    let bar = ProgressBar::no_length().with_style(
        ProgressStyle::with_template("{bytes} of {total_bytes} {bar:40} {bytes_per_sec}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let report = verify(&files, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let report = report.with_context(|| format!("cannot verify {place}"))?;
    match args.output.format {
        Format::Json => output::json(&as_json(&report, args.logs))?,
        Format::Table => print(&report, args.logs)?,
    }
    outcome(&report)
}

fn outcome(report: &Report) -> Result<()> {
    if report.damage.is_empty() { Ok(()) } else { Err(anyhow::Error::new(Reported)) }
}

fn print(report: &Report, logs: bool) -> Result<()> {
    let bytes: u64 = report.segments.iter().map(|segment| segment.bytes).sum();
    let entries: u64 = report.segments.iter().map(|segment| segment.entries).sum();
    let (segments, live) = (report.segments.len() as u64, report.logs.len() as u64);
    output::line(format!(
        "{} in {}, {} of {}",
        human::bytes(bytes),
        human::plural(segments, "segment"),
        human::plural(entries, "entry").replace("entrys", "entries"),
        human::plural(live, "log"),
    ))?;
    if logs {
        let mut table = Columns::new(&[
            ("log", Align::Right),
            ("first", Align::Right),
            ("next", Align::Right),
            ("entries", Align::Right),
            ("bytes", Align::Right),
            ("state", Align::Left),
        ]);
        for (LogId(log), facts) in &report.logs {
            let state = match facts.trimmed_to {
                _ if facts.deleted => "deleted".to_owned(),
                Some(offset) => format!("trimmed to {offset}"),
                None => String::new(),
            };
            table.row([
                log.to_string(),
                facts.offsets.start.to_string(),
                facts.offsets.end.to_string(),
                facts.entries.to_string(),
                facts.bytes.to_string(),
                state,
            ]);
        }
        table.print()?;
    }
    if let Some(cut) = &report.cut {
        let (file, position) = (&cut.file, cut.position);
        output::line(format!(
            "unfinished write of {} at the end of {file}, from byte {position}: the next start cuts it",
            human::bytes(cut.bytes)
        ))?;
    }
    for notice in &report.notices {
        output::line(format!("unfinished, nothing lost: {notice}"))?;
    }
    for damage in &report.damage {
        let what = if damage.data_lost { "LOST" } else { "damaged, nothing lost" };
        output::line(format!("{what}: {damage}"))?;
    }
    if report.damage.is_empty() {
        output::line("everything is as it was written")?;
    }
    Ok(())
}

fn as_json(report: &Report, logs: bool) -> Value {
    let damage = report.damage.iter().map(|damage| {
        json!({
            "file": damage.file,
            "from_byte": damage.bytes.start,
            "to_byte": damage.bytes.end,
            "log": damage.log.map(|log| log.0),
            "offsets": damage.offsets.as_ref().map(|offsets| [offsets.start, offsets.end]),
            "what": damage.what,
            "data_lost": damage.data_lost,
        })
    });
    let notices = report.notices.iter().map(|notice| {
        json!({
            "file": notice.file,
            "from_byte": notice.bytes.start,
            "to_byte": notice.bytes.end,
            "what": notice.what,
        })
    });
    let segments = report.segments.iter().map(|segment| {
        json!({
            "file": segment.file,
            "bytes": segment.bytes,
            "frames": segment.frames,
            "entries": segment.entries,
            "sealed": segment.sealed,
        })
    });
    let log = |(id, facts): (&LogId, &annals_journal::LogReport)| {
        json!({
            "log": id.0,
            "first_offset": facts.offsets.start,
            "next_offset": facts.offsets.end,
            "entries": facts.entries,
            "bytes": facts.bytes,
            "trimmed_to": facts.trimmed_to,
            "deleted": facts.deleted,
        })
    };
    json!({
        "segments": segments.collect::<Vec<_>>(),
        "damage": damage.collect::<Vec<_>>(),
        "notices": notices.collect::<Vec<_>>(),
        "cut": report.cut.as_ref().map(|cut| {
            json!({ "file": cut.file, "position": cut.position, "bytes": cut.bytes })
        }),
        "logs": if logs { report.logs.iter().map(log).collect() } else { Vec::new() },
        "last_sequence": report.last_sequence.0,
    })
}

#[cfg(test)]
mod tests {
    use annals_journal::{Damage, Notice};

    use super::*;

    #[test]
    fn an_incomplete_index_is_told_and_is_no_failure() {
        let notice =
            Notice { file: "a.segment".into(), bytes: 10..20, what: "the index is incomplete".into() };
        let report = Report { notices: vec![notice], ..Report::default() };
        assert!(outcome(&report).is_ok());
        let told = as_json(&report, false);
        let expected = json!([{ "file": "a.segment", "from_byte": 10, "to_byte": 20, "what": "the index is incomplete" }]);
        assert_eq!((&told["notices"], &told["damage"]), (&expected, &json!([])));
    }

    #[test]
    fn damage_is_a_failure_even_if_nothing_is_lost() {
        let damage = Damage {
            file: "a.segment".into(),
            bytes: 10..20,
            log: None,
            offsets: None,
            what: "the index is damaged".into(),
            data_lost: false,
        };
        assert!(outcome(&Report { damage: vec![damage], ..Report::default() }).is_err());
    }
}
