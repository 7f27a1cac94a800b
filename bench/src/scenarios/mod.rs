//! All scenarios, one file for each.

mod catch_up;
mod consume;
mod memory;
mod paced;
mod produce;
mod restart;
mod tail;
mod tiny;
mod topics;

use crate::scenario::Scenario;

/// All scenarios, in the order in which they run.
pub(crate) const ALL: &[&dyn Scenario] = &[
    &produce::Produce,
    &tiny::Tiny,
    &paced::Paced,
    &consume::Consume,
    &tail::Tail,
    &catch_up::CatchUp,
    &topics::Topics,
    &memory::Memory,
    &restart::Restart,
];

/// The scenario with this name.
pub(crate) fn find(name: &str) -> Option<&'static dyn Scenario> {
    ALL.iter().copied().find(|scenario| scenario.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers;

    #[test]
    fn names_are_unique_and_subjects_are_known() {
        let mut names: Vec<_> = ALL.iter().map(|scenario| scenario.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for scenario in ALL {
            assert!(scenario.subjects()[0].is_ours(), "{}", scenario.name());
            assert!(scenario.subjects().iter().all(|subject| servers::find(subject.key()).is_some()));
        }
    }
}
