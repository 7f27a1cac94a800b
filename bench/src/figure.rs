//! Figures: what of ours is so many times what of theirs, and whether that is what it must be. One object each in
//! `results.json`.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::samples::{Samples, Series, median};
use crate::scenario::{Baseline, Goal, Scenario};

/// One object of `results.json`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) scenario: String,
    /// The quantity and the case.
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) more_is_better: bool,
    pub(crate) ours_name: String,
    pub(crate) ours_version: String,
    /// The median of our runs.
    pub(crate) ours: f64,
    /// The median of the baseline's runs.
    pub(crate) baseline: Option<f64>,
    pub(crate) baseline_name: Option<String>,
    pub(crate) baseline_version: Option<String>,
    /// The median of the ratios of ours to the baseline, each of one run.
    pub(crate) ratio: Option<f64>,
    pub(crate) goal: Option<String>,
    pub(crate) met: Option<bool>,
    pub(crate) runs: Runs,
    pub(crate) disk: RawDisk,
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
}

/// The values behind the medians.
#[derive(Serialize, Deserialize)]
pub(crate) struct Runs {
    pub(crate) ours: Vec<f64>,
    pub(crate) baseline: Vec<f64>,
}

/// Medians of the raw disk, measured before and after each subject's turn.
#[derive(Serialize, Deserialize, Clone, Copy)]
pub(crate) struct RawDisk {
    pub(crate) write_sync_1mib_mb_per_s: f64,
    pub(crate) write_sync_4kib_p50_ms: f64,
    pub(crate) write_sync_4kib_p99_ms: f64,
}

/// How it was measured.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Settings {
    pub(crate) method: String,
    pub(crate) client: String,
    /// Too short to mean anything.
    pub(crate) quick: bool,
}

/// The figures of one scenario: ours beside every peer, and what has a goal of its own.
pub(crate) fn figures(scenario: &dyn Scenario, samples: &Samples) -> Vec<Figure> {
    let goals = scenario.goals();
    let mut figures = Vec::new();
    for ours in samples.series.iter().filter(|series| is_ours(samples, series)) {
        let of_this: Vec<&Goal> = goals.iter().filter(|goal| goal.is_about(ours)).collect();
        let before = figures.len();
        for peer in peers(samples, ours) {
            let goal = of_this.iter().find(|goal| goal.names(peer));
            figures.push(figure(scenario, samples, ours, Some(peer), goal.copied()));
        }
        for goal in of_this.iter().filter(|goal| !matches!(goal.baseline, Baseline::Subject(_))) {
            figures.push(figure(scenario, samples, ours, goal.own_baseline(samples), Some(goal)));
        }
        if figures.len() == before {
            figures.push(figure(scenario, samples, ours, None, None));
        }
    }
    figures
}

fn is_ours(samples: &Samples, series: &Series) -> bool {
    samples.participant(&series.subject).is_some_and(|subject| subject.is_ours)
}

/// The same figure of all others that are not ours.
fn peers<'a>(samples: &'a Samples, ours: &'a Series) -> impl Iterator<Item = &'a Series> {
    let peers = samples.subjects.iter().filter(|subject| !subject.is_ours);
    peers.filter_map(|peer| samples.find(&peer.key, &ours.quantity, &ours.case))
}

impl Goal {
    fn is_about(&self, series: &Series) -> bool {
        series.subject == self.ours.key() && series.quantity == self.quantity.name && series.case == self.case
    }

    fn names(&self, peer: &Series) -> bool {
        matches!(self.baseline, Baseline::Subject(subject) if subject.key() == peer.subject)
    }

    /// The other figure of our own subject that this goal names.
    fn own_baseline<'a>(&self, samples: &'a Samples) -> Option<&'a Series> {
        match &self.baseline {
            Baseline::Own { quantity, case } => samples.find(self.ours.key(), quantity.name, case),
            Baseline::Subject(_) | Baseline::Nothing => None,
        }
    }
}

fn figure(
    scenario: &dyn Scenario,
    samples: &Samples,
    ours: &Series,
    baseline: Option<&Series>,
    goal: Option<&Goal>,
) -> Figure {
    let (name, version) = describe(samples, ours);
    let named = baseline.map(|series| baseline_name(samples, ours, series));
    let ratio = baseline.and_then(|baseline| ours.ratio_to(baseline));
    Figure {
        scenario: scenario.name().into(),
        metric: format!("{}: {}", ours.quantity, ours.case),
        unit: ours.unit.clone(),
        more_is_better: ours.more_is_better,
        ours_name: name,
        ours_version: version,
        ours: ours.median(),
        baseline: baseline.map(Series::median),
        baseline_name: named.as_ref().map(|(name, _)| name.clone()),
        baseline_version: named.map(|(_, version)| version),
        ratio,
        goal: goal.map(|goal| goal.must.words(&ours.unit)),
        met: goal.and_then(|goal| goal.must.is_met(ours.median(), ratio)),
        runs: Runs { ours: ours.values(), baseline: baseline.map(Series::values).unwrap_or_default() },
        disk: raw_disk(samples),
        machine: samples.machine.clone(),
        settings: settings(scenario, samples),
    }
}

fn describe(samples: &Samples, series: &Series) -> (String, String) {
    let subject = samples.participant(&series.subject);
    subject.map(|subject| (subject.name.clone(), subject.version.clone())).unwrap_or_default()
}

/// Another subject by its name; a figure of the same subject by what it is.
fn baseline_name(samples: &Samples, ours: &Series, baseline: &Series) -> (String, String) {
    let (name, version) = describe(samples, baseline);
    match baseline.subject == ours.subject {
        true => (format!("{}: {}", baseline.quantity, baseline.case), version),
        false => (name, version),
    }
}

/// The medians of all probes of the scenario.
pub(crate) fn raw_disk(samples: &Samples) -> RawDisk {
    let of = |pick: fn(&crate::samples::DiskSample) -> f64| {
        median(&samples.disk.iter().map(pick).collect::<Vec<_>>())
    };
    RawDisk {
        write_sync_1mib_mb_per_s: of(|disk| disk.large_mb_per_s),
        write_sync_4kib_p50_ms: of(|disk| disk.small_p50_ms),
        write_sync_4kib_p99_ms: of(|disk| disk.small_p99_ms),
    }
}

fn settings(scenario: &dyn Scenario, samples: &Samples) -> Settings {
    Settings { method: scenario.method().into(), client: scenario.client().into(), quick: samples.quick }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::{RAW_WRITE, THROUGHPUT};
    use crate::samples::Participant;
    use crate::scenarios;

    const CASE: &str = "4 producers, 1 partition";

    fn samples() -> Samples {
        let subject = |key: &str, is_ours| Participant {
            key: key.into(),
            name: key.to_uppercase(),
            version: "1".into(),
            is_ours,
        };
        let subjects =
            vec![subject("annals-sync", true), subject("kafka", false), subject("kafka-flush", false)];
        let mut samples = Samples { subjects, ..Samples::default() };
        samples.note("annals-sync", THROUGHPUT, CASE, 0, 100.0);
        samples.note("annals-sync", RAW_WRITE, CASE, 0, 200.0);
        samples.note("kafka", THROUGHPUT, CASE, 0, 80.0);
        samples.note("kafka-flush", THROUGHPUT, CASE, 0, 25.0);
        samples
    }

    #[test]
    fn ours_stands_beside_each_peer_and_each_goal() {
        let figures = figures(scenarios::find("produce").unwrap(), &samples());
        let of =
            |name: &str| figures.iter().find(|figure| figure.baseline_name.as_deref() == Some(name)).unwrap();
        assert_eq!((of("KAFKA").ratio, of("KAFKA").met), (Some(1.25), Some(true)));
        assert_eq!((of("KAFKA-FLUSH").ratio, of("KAFKA-FLUSH").met), (Some(4.0), Some(false)));
        let disk = of("raw 1 MiB write + fdatasync: 4 producers, 1 partition");
        assert_eq!((disk.ratio, disk.met), (Some(0.5), Some(false)));
        assert_eq!(disk.goal.as_deref(), Some("at least 0.6 times"));
    }

    #[test]
    fn what_has_no_counterpart_is_a_figure_all_the_same() {
        let figures = figures(scenarios::find("produce").unwrap(), &samples());
        let raw = figures.iter().find(|figure| figure.metric.starts_with("raw 1 MiB")).unwrap();
        assert_eq!((raw.ours, raw.baseline, raw.goal.as_deref()), (200.0, None, None));
    }
}
