//! Topic configurations, as CreateTopics and IncrementalAlterConfigs bring them.
//!
//! Each line is a change: `name=value` sets, `+name=words` appends, `-name=words` takes away, `~name` deletes. An empty
//! line ends a request. Promised: what was accepted is accepted again as it is shown, and means the same.

use annals_topics::batch::{ExpandLimits, RecordCheck};
use annals_topics::config::{Change, Overrides, TopicConfig, describe};

/// Applies `data` as a series of alterations of one topic's configuration.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let server = Overrides::default();
    let mut topic = Overrides::default();
    for request in text.split("\n\n") {
        let changes: Vec<_> = request.lines().map(change).collect();
        if let Ok(changed) = topic.changed(&changes) {
            topic = changed;
            check(&server, &topic);
        }
    }
}

fn change(line: &str) -> (&str, Change<'_>) {
    let (name, value) = line.split_once('=').unwrap_or((line, ""));
    if let Some(name) = name.strip_prefix('+') {
        (name, Change::Append(value))
    } else if let Some(name) = name.strip_prefix('-') {
        (name, Change::Subtract(value))
    } else if let Some(name) = name.strip_prefix('~') {
        (name, Change::Delete)
    } else {
        (name, Change::Set(line.contains('=').then_some(value)))
    }
}

fn check(server: &Overrides, topic: &Overrides) {
    let shown: Vec<_> = topic.iter().map(|(name, value)| (name, Some(value))).collect();
    let again = Overrides::from_pairs(shown);
    assert_eq!(again.as_ref(), Ok(topic), "what was accepted is accepted again");
    let config = TopicConfig::resolve(server, topic);
    assert!(config.compaction.min_lag_ms <= config.compaction.max_lag_ms);
    let _ = config.accept_rules(RecordCheck::Always, ExpandLimits::default());
    let _ = describe(server, topic);
}
