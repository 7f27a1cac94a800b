//! What recovery reads inside the journal's entries: records of the catalogue and of groups, summaries of partitions.
//!
//! Their checksums were right, so a stranger does not get here; a program of another version may. The first byte says
//! which owner reads the rest. Promised: what cannot be read is refused with an error and changes nothing.

use std::time::Duration;

use annals_topics::catalogue::Catalogue;
use annals_topics::config::Overrides;
use annals_topics::group::{GroupCoordinator, Now, Options};
use annals_topics::partition::Partition;

use crate::input::Input;

/// The first log that a partition may have.
const FIRST_LOG: u64 = 64;

/// Hands `data` to one of the three owners of stored state.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => catalogue(&mut input),
        1 => groups(&mut input),
        _ => summary(input.rest()),
    }
}

fn records(input: &mut Input<'_>, mut apply: impl FnMut(&[u8], Option<&[u8]>)) {
    while !input.is_empty() {
        let is_tombstone = input.byte() == 1;
        let (key, value) = (input.slice(), input.slice());
        apply(key, (!is_tombstone).then_some(value));
    }
}

fn catalogue(input: &mut Input<'_>) {
    let mut catalogue = Catalogue::new(Overrides::default(), FIRST_LOG);
    records(input, |key, value| {
        let _ = catalogue.apply(key, value);
    });
    for topic in catalogue.topics() {
        assert_eq!(catalogue.topic(&topic.name).map(|found| found.id), Some(topic.id), "found by its name");
    }
    let _ = (catalogue.topic_count(), catalogue.partition_count());
    let _ = catalogue.decide_producer_ids(1000);
}

fn groups(input: &mut Input<'_>) {
    let mut groups = GroupCoordinator::new(Options::default());
    records(input, |key, value| {
        let _ = groups.apply(key, value);
    });
    let mut now = Now { wall_ms: 1_767_225_600_000, elapsed: Duration::ZERO };
    groups.finish_loading(now);
    for _ in 0..4 {
        now.elapsed += Duration::from_secs(3600);
        now.wall_ms += 3_600_000;
        let _ = groups.tick(now);
    }
    let ids: Vec<_> = groups.list().map(|listing| listing.group_id.to_string()).collect();
    for id in ids {
        let _ = groups.describe(&id);
    }
}

fn summary(bytes: &[u8]) {
    if let Ok(partition) = Partition::restore(bytes) {
        let again = Partition::restore(&partition.snapshot());
        assert!(again.is_ok(), "a partition that was restored can be restored again");
        assert!(partition.log_start() <= partition.high_watermark());
    }
}
