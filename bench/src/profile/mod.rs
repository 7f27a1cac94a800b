//! `cargo xtask bench profile`: where the server's processor time goes while it takes and serves records and messages.
//!
//! Linux `perf` samples the running server, a release build with the lines that it always has. What it finds becomes a
//! flame graph and a table of the functions in which the time passes, one each for writing and reading a topic, and for
//! messages that must not be lost and those that nobody misses.

mod flame;
mod stacks;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::stacks::{Sample, parse};
use crate::command::output;
use crate::load::Load;
use crate::run::Place;
use crate::scenarios::queue_profiles;
use crate::servers::{ANNALS_QUEUES, ANNALS_SYNC, Running, SubjectRef};

/// Not a divisor of the timer's frequency, so that it does not always catch the same work.
const SAMPLES_PER_SECOND: &str = "497";
/// Deep enough for the stacks of async code.
const STACK: &str = "dwarf,16384";
const TOPIC: &str = "profiled";
/// 4 GiB, so that reading lasts some seconds.
const RECORDS: u64 = 4 << 20;
const TOP: usize = 25;

/// Profiles writing and reading, and messages through queues, and leaves flame graphs and tables in `out`.
///
/// # Errors
/// If `perf` is not there or may not sample, or if the server fails.
pub(crate) fn run(place: &Place, out: &Path, quick: bool) -> Result<()> {
    ANNALS_SYNC.prepare(&place.tools)?;
    fs::create_dir_all(out)?;
    let mut text = format!("Machine: {}.\n\n", place.machine.line());
    let records = if quick { RECORDS / 20 } else { RECORDS };
    let produce = Load::produce().producers(4).into_topic(TOPIC).records(records);
    let fetch = Load::consume().into_topic(TOPIC).records(records);
    let server = start(place, ANNALS_SYNC)?;
    for (name, load) in [("produce", produce), ("fetch", fetch)] {
        text += &profile(place, &server, out, name, || {
            let outcome = load.run(&place.tools, &server)?;
            let (rate, cpu) = (outcome.mb_per_s, outcome.cpu_s_per_gb);
            Ok(format!("{rate:.0} MB/s with {cpu:.2} s of the server's processor time for each GB."))
        })?;
    }
    server.stop()?;
    let server = start(place, ANNALS_QUEUES)?;
    let seconds = if quick { 1.0 } else { 5.0 };
    for (name, flow) in queue_profiles(&server, seconds)? {
        text += &profile(place, &server, out, name, || {
            let before = server.cpu_seconds()?;
            let outcome = flow.run(server.address(), &place.clock)?;
            let cpu_us = (server.cpu_seconds()? - before) * 1e6 / outcome.messages.max(1) as f64;
            let rate = outcome.rate();
            Ok(format!("{rate:.0} messages/s with {cpu_us:.2} µs of the server's processor time for each."))
        })?;
    }
    server.stop()?;
    fs::remove_dir_all(directory(place))?;
    fs::write(out.join("profile.md"), &text)?;
    println!("{text}flame graphs: {}", out.display());
    Ok(())
}

fn directory(place: &Place) -> PathBuf {
    place.data.join("profile")
}

/// Starts a server in an empty directory.
fn start(place: &Place, subject: SubjectRef) -> Result<Running> {
    let data = directory(place);
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    Running::start(subject, &place.tools, &data)
}

/// Samples the server during one load, which says what came of it.
fn profile(
    place: &Place,
    server: &Running,
    out: &Path,
    name: &str,
    load: impl FnOnce() -> Result<String>,
) -> Result<String> {
    let file = directory(place).with_extension("perf");
    let mut perf = record(server, &file)?;
    // It attaches within this time; what the load does meanwhile would be missed.
    std::thread::sleep(Duration::from_millis(500));
    let line = load();
    interrupt(&mut perf)?;
    let line = line?;
    let mut script = Command::new("perf");
    script.args(["script", "--no-inline", "-F", "comm,tid,ip,sym", "-i"]).arg(&file);
    let samples = parse(&output(&mut script)?);
    fs::remove_file(&file)?;
    if samples.is_empty() {
        bail!("perf has caught nothing");
    }
    fs::write(out.join(format!("profile-{name}.svg")), flame::draw(name, &samples))?;
    Ok(format!("### {name}\n\n{line}\n\n{}", tables(&samples)))
}

fn record(server: &Running, file: &Path) -> Result<Child> {
    let mut perf = Command::new("perf");
    perf.args([
        "record",
        "-q",
        "-F",
        SAMPLES_PER_SECOND,
        "--call-graph",
        STACK,
        "-p",
        &server.pid().to_string(),
    ]);
    perf.arg("-o").arg(file).stdout(Stdio::null());
    perf.spawn().context("cannot start perf; it is part of the package linux-perf or linux-tools")
}

/// Ends it as ctrl-c does, so that it writes what it has.
fn interrupt(perf: &mut Child) -> Result<()> {
    if let Some(status) = perf.try_wait()? {
        bail!("perf ended early ({status}): may it sample? see /proc/sys/kernel/perf_event_paranoid");
    }
    let pid = i32::try_from(perf.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .context("no such process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    perf.wait()?;
    Ok(())
}

/// Shares by thread, and by the function in which the time passes.
fn tables(samples: &[Sample]) -> String {
    let threads = shares(samples, |sample| sample.thread.clone());
    let functions =
        shares(samples, |sample| sample.frames.last().map_or("?", |frame| &frame.name).to_owned());
    let ours = shares(samples, |sample| sample.innermost_of_ours().to_owned());
    let table = |heading: &str, rows: &[(String, f64)]| {
        let rows: String =
            rows.iter().take(TOP).map(|(name, share)| format!("| `{name}` | {share:.1} |\n")).collect();
        format!("| {heading} | % |\n|---|---:|\n{rows}\n")
    };
    table("thread", &threads) + &table("innermost function of Annals", &ours) + &table("function", &functions)
}

/// How many of 100 samples have each key, the most frequent first.
fn shares(samples: &[Sample], key: impl Fn(&Sample) -> String) -> Vec<(String, f64)> {
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for sample in samples {
        *counts.entry(key(sample)).or_default() += 1;
    }
    let total = samples.len() as f64;
    let mut shares: Vec<_> =
        counts.into_iter().map(|(key, count)| (key, count as f64 * 100.0 / total)).collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}
