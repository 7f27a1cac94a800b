//! What the runs of one scenario have measured, as it is kept in a file: tables, plots and figures are made from it.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::quantity::Quantity;

/// All samples of one scenario.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Samples {
    pub(crate) scenario: String,
    /// Too short to mean anything; it shows that the harness works.
    pub(crate) quick: bool,
    /// Who took part, in order.
    pub(crate) subjects: Vec<Participant>,
    pub(crate) series: Vec<Series>,
    /// The raw disk just before and just after each subject's turn.
    pub(crate) disk: Vec<DiskSample>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
    pub(crate) machine: Machine,
}

/// A subject as it was then.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Participant {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) is_ours: bool,
}

/// One quantity of one subject in one case, over all runs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) subject: String,
    pub(crate) quantity: String,
    pub(crate) unit: String,
    pub(crate) more_is_better: bool,
    pub(crate) case: String,
    /// Run and value.
    pub(crate) values: Vec<(usize, f64)>,
}

/// The raw disk at one time.
#[derive(Serialize, Deserialize, Clone, Copy)]
pub(crate) struct DiskSample {
    pub(crate) large_mb_per_s: f64,
    pub(crate) small_p50_ms: f64,
    pub(crate) small_p99_ms: f64,
}

impl Samples {
    /// Adds one value.
    pub(crate) fn note(&mut self, subject: &str, quantity: &Quantity, case: &str, run: usize, value: f64) {
        if let Some(series) = self.series.iter_mut().find(|series| series.is(subject, quantity.name, case)) {
            series.values.push((run, value));
            return;
        }
        self.series.push(Series {
            subject: subject.into(),
            quantity: quantity.name.into(),
            unit: quantity.unit.into(),
            more_is_better: quantity.more_is_better,
            case: case.into(),
            values: vec![(run, value)],
        });
    }

    /// The series with this subject, quantity and case.
    pub(crate) fn find(&self, subject: &str, quantity: &str, case: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.is(subject, quantity, case))
    }

    /// The names of all quantities, in the order in which they were first measured.
    pub(crate) fn quantities(&self) -> Vec<&str> {
        distinct(self.series.iter().map(|series| series.quantity.as_str()))
    }

    /// The cases of one quantity, in the order in which they were first measured.
    pub(crate) fn cases(&self, quantity: &str) -> Vec<&str> {
        let of_quantity = self.series.iter().filter(|series| series.quantity == quantity);
        distinct(of_quantity.map(|series| series.case.as_str()))
    }

    /// The participant with this key.
    pub(crate) fn participant(&self, key: &str) -> Option<&Participant> {
        self.subjects.iter().find(|subject| subject.key == key)
    }
}

impl Series {
    fn is(&self, subject: &str, quantity: &str, case: &str) -> bool {
        self.subject == subject && self.quantity == quantity && self.case == case
    }

    /// The values without their runs.
    pub(crate) fn values(&self) -> Vec<f64> {
        self.values.iter().map(|(_, value)| *value).collect()
    }

    /// The median of all runs.
    pub(crate) fn median(&self) -> f64 {
        median(&self.values())
    }

    /// The median of the ratios to `other` in those runs that both have; if there are none, the ratio of the medians.
    pub(crate) fn ratio_to(&self, other: &Self) -> Option<f64> {
        let value_in = |run: usize| other.values.iter().find(|(number, _)| *number == run);
        let pairs = self.values.iter().filter_map(|(run, ours)| Some((ours, value_in(*run)?.1)));
        let ratios: Vec<f64> =
            pairs.filter(|(_, theirs)| *theirs > 0.0).map(|(ours, theirs)| ours / theirs).collect();
        match (ratios.is_empty(), other.median()) {
            (false, _) => Some(median(&ratios)),
            (true, theirs) => (theirs > 0.0).then(|| self.median() / theirs),
        }
    }
}

/// The middle value; of an even number, the mean of the two in the middle. NaN if there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (length, middle) if length % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        (_, middle) => sorted[middle],
    }
}

fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for item in all {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::{CPU, THROUGHPUT};

    #[test]
    fn medians_are_those_of_the_sorted_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_are_those_of_one_run() {
        let mut samples = Samples::default();
        for (run, ours, theirs) in [(0, 10.0, 5.0), (1, 40.0, 10.0), (2, 9.0, 3.0)] {
            samples.note("ours", THROUGHPUT, "a", run, ours);
            samples.note("theirs", THROUGHPUT, "a", run, theirs);
        }
        samples.note("ours", THROUGHPUT, "a", 3, 1_000.0);
        let find = |subject| samples.find(subject, "throughput", "a").unwrap();
        // 2, 4 and 3; the fourth run has no counterpart.
        assert_eq!(find("ours").ratio_to(find("theirs")), Some(3.0));
    }

    #[test]
    fn quantities_and_cases_keep_their_order() {
        let mut samples = Samples::default();
        samples.note("a", THROUGHPUT, "two", 0, 1.0);
        samples.note("a", CPU, "two", 0, 1.0);
        samples.note("b", THROUGHPUT, "one", 0, 1.0);
        assert_eq!(samples.quantities(), ["throughput", "server CPU"]);
        assert_eq!(samples.cases("throughput"), ["two", "one"]);
    }
}
