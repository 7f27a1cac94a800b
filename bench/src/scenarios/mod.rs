//! All scenarios, one file for each.

mod catch_up;
mod consume;
mod memory;
mod paced;
mod produce;
mod queue_backlog;
mod queue_durable;
mod queue_fanout;
mod queue_latency;
mod queue_load;
mod queue_many;
mod queue_transient;
mod restart;
mod store_append;
mod store_read;
mod store_streams;
mod tail;
mod tiny;
mod topics;

use anyhow::Result;

use crate::amqp::Flow;
use crate::scenario::Scenario;
use crate::servers::Running;

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
    &queue_durable::QueueDurable,
    &queue_transient::QueueTransient,
    &queue_latency::QueueLatency,
    &queue_fanout::QueueFanout,
    &queue_many::QueueMany,
    &queue_backlog::QueueBacklog,
    &store_append::StoreAppend,
    &store_read::StoreRead,
    &store_streams::StoreStreams,
];

/// The scenario with this name.
pub(crate) fn find(name: &str) -> Option<&'static dyn Scenario> {
    ALL.iter().copied().find(|scenario| scenario.name() == name)
}

/// What is profiled of queues: the loads of their scenarios, each with its queue declared.
///
/// # Errors
/// If a queue cannot be declared.
pub(crate) fn queue_profiles(server: &Running, seconds: f64) -> Result<Vec<(&'static str, Flow<'static>)>> {
    Ok(vec![
        ("queue-durable", queue_durable::profiled(server, seconds)?),
        ("queue-transient", queue_transient::profiled(server, seconds)?),
    ])
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
