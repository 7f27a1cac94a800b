//! The runs of a scenario: every subject in turn, then all of them again, so that what the machine does meanwhile hits
//! all alike.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context as _, Result};

use crate::load::{Disk, Load, Outcome, raw_disk};
use crate::machine::Machine;
use crate::quantity::Quantity;
use crate::samples::{DiskSample, Participant, Samples};
use crate::scenario::Scenario;
use crate::servers::{Running, SubjectRef, Tools};

/// How long and how often things are done.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
    pub(crate) runs: usize,
}

/// Where the runs take place.
pub(crate) struct Place {
    pub(crate) tools: Tools,
    /// The data directories go here; on the disk that is to be measured.
    pub(crate) data: PathBuf,
    pub(crate) machine: Machine,
    pub(crate) clock: Clock,
}

/// One run of one subject, as a scenario sees it.
pub(crate) struct Run<'a> {
    pub(crate) place: &'a Place,
    pub(crate) scale: Scale,
    pub(crate) subject: SubjectRef,
    number: usize,
    data: PathBuf,
    samples: &'a mut Samples,
}

impl Run<'_> {
    /// Starts the subject in the directory of this run.
    ///
    /// # Errors
    /// If it does not get ready.
    pub(crate) fn start(&self) -> Result<Running> {
        Running::start(self.subject, &self.place.tools, &self.data)
    }

    /// Starts the subject and lets it get warm: a just-in-time compiler has then seen writing and reading.
    ///
    /// # Errors
    /// If it does not get ready, or fails under load.
    pub(crate) fn start_warm(&self) -> Result<Running> {
        let server = self.start()?;
        let topic = "warm-up";
        let load = Load::produce().producers(4).into_topic(topic).lasting(self.lasting(3.0));
        load.run(&self.place.tools, &server)?;
        Load::consume().into_topic(topic).records(self.count(200_000)).run(&self.place.tools, &server)?;
        Ok(server)
    }

    /// Puts a load on `server`, into a topic of its own unless it has one, and says what came of it.
    ///
    /// # Errors
    /// If the load fails.
    pub(crate) fn load(&self, server: &Running, case: &str, load: &Load) -> Result<Outcome> {
        let load = load.clone().or_into_topic_of(case);
        let outcome = load.run(&self.place.tools, server).with_context(|| case.to_owned())?;
        let times =
            outcome.latency_ms.map(|times| format!(", p50 {:.2} ms, p99 {:.2} ms", times.p50, times.p99));
        println!(
            "    {case}: {:.1} MB/s, {:.0} records/s{}",
            outcome.mb_per_s,
            outcome.records_per_s,
            times.unwrap_or_default()
        );
        Ok(outcome)
    }

    /// Keeps one figure of this run.
    pub(crate) fn note(&mut self, quantity: &Quantity, case: &str, value: f64) {
        self.samples.note(self.subject.key(), quantity, case, self.number, value);
    }

    /// Keeps and shows one figure of this run.
    pub(crate) fn tell(&mut self, quantity: &Quantity, case: &str, value: f64) {
        println!("    {case}: {} {value:.2} {}", quantity.name, quantity.unit);
        self.note(quantity, case, value);
    }

    /// A duration, or a part of it if this is quick.
    pub(crate) fn lasting(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(if self.scale.quick { (seconds / 8.0).max(0.5) } else { seconds })
    }

    /// A count, or a part of it if this is quick.
    pub(crate) fn count(&self, full: u64) -> u64 {
        if self.scale.quick { (full / 20).max(1) } else { full }
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }
}

/// Runs `scenario` with those of its subjects that can be had here and are in `chosen`, if that names any.
///
/// # Errors
/// If nothing can be measured. What fails in single runs is in the samples.
pub(crate) fn run(
    place: &Place,
    scenario: &dyn Scenario,
    scale: Scale,
    chosen: &[String],
) -> Result<Samples> {
    let mut samples = Samples {
        scenario: scenario.name().into(),
        quick: scale.quick,
        machine: place.machine.clone(),
        ..Samples::default()
    };
    let wanted = |subject: &SubjectRef| chosen.is_empty() || chosen.iter().any(|key| key == subject.key());
    let subjects: Vec<_> = scenario.subjects().into_iter().filter(wanted).collect();
    let subjects: Vec<_> =
        subjects.into_iter().filter(|subject| take_part(place, *subject, &mut samples)).collect();
    for number in 0..scale.runs {
        for subject in &subjects {
            let is_enough = !subject.is_ours() && number >= scenario.peer_runs_max();
            if is_enough || number >= subject.runs_max().min(scenario.runs_max()) {
                continue;
            }
            println!("  {}, run {} of {}: {}", scenario.name(), number + 1, scale.runs, subject.name());
            run_once(place, scenario, scale, *subject, number, &mut samples)?;
        }
    }
    for subject in subjects {
        clear(&directory(place, subject))?;
    }
    Ok(samples)
}

/// Prepares the subject and puts it on the list; says why if that cannot be.
fn take_part(place: &Place, subject: SubjectRef, samples: &mut Samples) -> bool {
    match subject.prepare(&place.tools) {
        Ok(version) => {
            let (key, name) = (subject.key().to_owned(), subject.name().to_owned());
            samples.subjects.push(Participant { key, name, version, is_ours: subject.is_ours() });
            true
        }
        Err(error) => {
            let failure = format!("{} takes no part: {error:#}", subject.name());
            println!("  {failure}");
            samples.failures.push(failure);
            false
        }
    }
}

fn run_once(
    place: &Place,
    scenario: &dyn Scenario,
    scale: Scale,
    subject: SubjectRef,
    number: usize,
    samples: &mut Samples,
) -> Result<()> {
    let data = directory(place, subject);
    if number == 0 || !scenario.keeps_data() {
        clear(&data)?;
    }
    rustix::fs::sync();
    let before = raw_disk(&place.tools, &place.data)?;
    let mut run = Run { place, scale, subject, number, data: data.clone(), samples };
    if let Err(error) = scenario.measure(&mut run) {
        let failure = format!("{}, run {}: {error:#}", subject.name(), number + 1);
        println!("    failed: {failure}");
        keep_log(&data, scenario.name());
        samples.failures.push(failure);
    }
    let after = raw_disk(&place.tools, &place.data)?;
    samples.disk.extend([before, after].map(DiskSample::from));
    if !scenario.keeps_data() {
        clear(&data)?;
    }
    Ok(())
}

fn directory(place: &Place, subject: SubjectRef) -> PathBuf {
    place.data.join(subject.key())
}

fn clear(data: &Path) -> Result<()> {
    if data.exists() {
        fs::remove_dir_all(data).with_context(|| format!("cannot remove {}", data.display()))?;
    }
    Ok(())
}

/// Puts the log of a failed run aside, so that the next run does not write over it.
fn keep_log(data: &Path, scenario: &str) {
    let (log, kept) = (data.with_extension("log"), data.with_extension(format!("{scenario}.failed.log")));
    if fs::copy(&log, &kept).is_ok() {
        println!("    its log: {}", kept.display());
    }
}

impl From<Disk> for DiskSample {
    fn from(disk: Disk) -> Self {
        let Disk { large_mb_per_s, small_ms } = disk;
        Self { large_mb_per_s, small_p50_ms: small_ms.p50, small_p99_ms: small_ms.p99 }
    }
}
