//! A scenario: what is done with each subject in one run, and what its figures must reach.
//!
//! One file in `scenarios/` for each. To add one, implement [`Scenario`] and put it into [`scenarios::ALL`].
//!
//! [`scenarios::ALL`]: crate::scenarios::ALL

use anyhow::Result;

use crate::quantity::Quantity;
use crate::run::Run;
use crate::servers::SubjectRef;

/// One thing that is measured.
pub(crate) trait Scenario: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What it measures, in one sentence for the documentation.
    fn about(&self) -> &'static str;

    /// How it is measured: durations, counts and settings.
    fn method(&self) -> &'static str;

    /// What the load comes from.
    fn client(&self) -> &'static str {
        "librdkafka (annals bench)"
    }

    /// Who takes part, ours first.
    fn subjects(&self) -> Vec<SubjectRef>;

    /// How many runs there are at most, where one takes a minute.
    fn runs_max(&self) -> usize {
        usize::MAX
    }

    /// How many runs peers get at most, where one takes minutes.
    fn peer_runs_max(&self) -> usize {
        usize::MAX
    }

    /// Whether a run finds the data directory as the run before has left it; otherwise it is empty.
    fn keeps_data(&self) -> bool {
        false
    }

    /// Measures one subject once.
    ///
    /// # Errors
    /// If the subject cannot do what is asked; its figures of this run are then missing.
    fn measure(&self, run: &mut Run<'_>) -> Result<()>;

    /// What the figures must reach.
    fn goals(&self) -> Vec<Goal>;
}

/// What one figure of ours must reach.
pub(crate) struct Goal {
    pub(crate) ours: SubjectRef,
    pub(crate) quantity: &'static Quantity,
    pub(crate) case: String,
    pub(crate) baseline: Baseline,
    pub(crate) must: Must,
}

/// What a figure is compared with.
pub(crate) enum Baseline {
    /// The same figure of another subject.
    Subject(SubjectRef),
    /// Another figure of our own subject, of the same run: the raw disk, or a simpler case.
    Own { quantity: &'static Quantity, case: String },
    /// Nothing: the goal is a number.
    Nothing,
}

/// The condition.
#[derive(Clone, Copy)]
pub(crate) enum Must {
    /// Our figure is at least so many times the baseline.
    RatioAtLeast(f64),
    /// Our figure is at most so many times the baseline.
    RatioAtMost(f64),
    /// Our figure is at most this.
    AtMost(f64),
    /// Our figure is at least this.
    AtLeast(f64),
}

impl Must {
    /// Whether `ours` is good enough, `ratio` being its relation to the baseline.
    pub(crate) fn is_met(self, ours: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::RatioAtLeast(limit) => ratio.map(|ratio| ratio >= limit),
            Self::RatioAtMost(limit) => ratio.map(|ratio| ratio <= limit),
            Self::AtMost(limit) => Some(ours <= limit),
            Self::AtLeast(limit) => Some(ours >= limit),
        }
    }

    /// The condition in words.
    pub(crate) fn words(self, unit: &str) -> String {
        match self {
            Self::RatioAtLeast(limit) => format!("at least {limit} times"),
            Self::RatioAtMost(limit) => format!("at most {limit} times"),
            Self::AtMost(limit) => format!("at most {limit} {unit}"),
            Self::AtLeast(limit) => format!("at least {limit} {unit}"),
        }
    }
}

impl Goal {
    /// A goal beside another subject.
    pub(crate) fn beside(
        ours: SubjectRef,
        quantity: &'static Quantity,
        case: impl Into<String>,
        peer: SubjectRef,
        must: Must,
    ) -> Self {
        Self { ours, quantity, case: case.into(), baseline: Baseline::Subject(peer), must }
    }

    /// A goal beside another figure of the same subject.
    pub(crate) fn beside_own(
        ours: SubjectRef,
        (quantity, case): (&'static Quantity, &str),
        (other, other_case): (&'static Quantity, &str),
        must: Must,
    ) -> Self {
        let baseline = Baseline::Own { quantity: other, case: other_case.into() };
        Self { ours, quantity, case: case.into(), baseline, must }
    }

    /// A goal that is a number not to be exceeded.
    pub(crate) fn limit(
        ours: SubjectRef,
        quantity: &'static Quantity,
        case: impl Into<String>,
        at_most: f64,
    ) -> Self {
        Self { ours, quantity, case: case.into(), baseline: Baseline::Nothing, must: Must::AtMost(at_most) }
    }

    /// A goal that is a number to be reached.
    pub(crate) fn least(
        ours: SubjectRef,
        quantity: &'static Quantity,
        case: impl Into<String>,
        at_least: f64,
    ) -> Self {
        let must = Must::AtLeast(at_least);
        Self { ours, quantity, case: case.into(), baseline: Baseline::Nothing, must }
    }
}

#[cfg(test)]
mod tests {
    use super::Must;

    #[test]
    fn a_ratio_that_is_unknown_is_neither_met_nor_missed() {
        assert_eq!(Must::RatioAtLeast(2.0).is_met(10.0, Some(2.0)), Some(true));
        assert_eq!(Must::RatioAtMost(2.0).is_met(10.0, Some(2.1)), Some(false));
        assert_eq!(Must::RatioAtMost(2.0).is_met(10.0, None), None);
        assert_eq!(Must::AtMost(30.0).is_met(29.0, None), Some(true));
        assert_eq!(Must::AtLeast(30.0).is_met(29.0, None), Some(false));
    }
}
