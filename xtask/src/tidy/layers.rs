//! Arrows point down only.
//!
//! Every crate stands in a layer, or outside of them (applications, tools and tests, on which no layer may build). A
//! crate imports from lower layers. Within a layer it may import those that stand before it, where the layer says
//! so; engines and front-ends never import each other. A development dependency keeps the same rule, but may also
//! reach outside, for the tools that a test needs.

use crate::workspace::{Crate, Import};

struct Layer {
    name: &'static str,
    crates: &'static [&'static str],
    /// Whether a crate may import those that stand before it in the list.
    siblings: bool,
}

/// From the bottom to the top.
const LAYERS: &[Layer] = &[
    Layer { name: "L0", crates: &["annals-clock", "annals-event", "annals-listener"], siblings: true },
    Layer { name: "L1", crates: &["annals-journal"], siblings: false },
    Layer {
        name: "L2 (engines)",
        crates: &["annals-topics", "annals-queues", "annals-eventstore"],
        siblings: false,
    },
    Layer { name: "L3", crates: &["annals-processor", "annals-sql", "annals-saga"], siblings: true },
    Layer { name: "L4", crates: &["annals-broker"], siblings: false },
    Layer {
        name: "L5 (front-ends)",
        crates: &["annals-kafka", "annals-amqp", "annals-http", "annals-console"],
        siblings: false,
    },
    Layer { name: "L6", crates: &["annals-server"], siblings: false },
];

/// Crates on which no layer builds. Names that start with `annals-example-` or `annals-test-` are outside as well.
const OUTSIDE: &[&str] = &["annals", "annals-bench", "annals-derive", "annals-fuzz", "xtask"];

/// The library, which is for applications. The command line of the top layer is one.
const LIBRARY: &str = "annals";

/// A crate's place: the number of its layer and its place in that layer.
type Place = (usize, usize);

/// Returns one finding for each arrow that does not point down, and for each crate that has no place.
pub(super) fn check(crates: &[Crate]) -> Vec<String> {
    crates.iter().flat_map(check_crate).collect()
}

fn check_crate(member: &Crate) -> Vec<String> {
    if is_outside(&member.name) {
        return Vec::new();
    }
    let Some(place) = place(&member.name) else {
        return vec![format!(
            "{} stands in no layer: give it one in xtask/src/tidy/layers.rs and in ARCHITECTURE.md",
            member.name
        )];
    };
    // A crate that imports itself turns on a feature of its own for its tests.
    let others = member.imports.iter().filter(|import| import.name != member.name);
    others.filter_map(|import| check_import(&member.name, place, import)).collect()
}

fn check_import(name: &str, from: Place, import: &Import) -> Option<String> {
    let layer = &LAYERS[from.0];
    let Some(to) = place(&import.name) else {
        // A crate without a place has a finding of its own.
        let is_application = from.0 + 1 == LAYERS.len() && import.name == LIBRARY;
        let wrong = is_outside(&import.name) && !import.dev && !is_application;
        return wrong
            .then(|| format!("{name} is in {} and imports {} from outside", layer.name, import.name));
    };
    let down = to.0 < from.0 || (to.0 == from.0 && layer.siblings && to.1 < from.1);
    let above = LAYERS[to.0].name;
    (!down).then(|| {
        format!("{name} is in {} and imports {} from {above}: arrows point down", layer.name, import.name)
    })
}

fn place(name: &str) -> Option<Place> {
    LAYERS.iter().enumerate().find_map(|(number, layer)| {
        let place = layer.crates.iter().position(|member| *member == name)?;
        Some((number, place))
    })
}

fn is_outside(name: &str) -> bool {
    let folders = ["annals-example-", "annals-test-"];
    OUTSIDE.contains(&name) || folders.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks one crate whose imports are given as names, `+name` for a development dependency.
    fn findings(name: &str, imports: &[&str]) -> Vec<String> {
        let import = |text: &&str| Import {
            name: text.trim_start_matches('+').to_owned(),
            dev: text.starts_with('+'),
        };
        let imports = imports.iter().map(import).collect();
        check(&[Crate { name: name.into(), manifest: "".into(), description: None, imports }])
    }

    #[test]
    fn arrows_that_point_down_are_fine() {
        assert_eq!(findings("annals-server", &["annals-kafka", "annals-broker", "annals-clock"]), [""; 0]);
        assert_eq!(findings("annals-event", &["annals-clock"]), [""; 0]);
        assert_eq!(findings("annals-sql", &["annals-processor", "annals-topics"]), [""; 0]);
    }

    #[test]
    fn arrows_up_and_across_are_found() {
        assert_eq!(
            findings("annals-journal", &["annals-topics"]),
            ["annals-journal is in L1 and imports annals-topics from L2 (engines): arrows point down"]
        );
        assert_eq!(findings("annals-queues", &["annals-topics"]).len(), 1);
        assert_eq!(findings("annals-http", &["annals-kafka"]).len(), 1);
        assert_eq!(findings("annals-clock", &["annals-event"]).len(), 1);
    }

    #[test]
    fn only_tests_reach_outside() {
        assert_eq!(findings("annals-kafka", &["+annals-test-support"]), [""; 0]);
        assert_eq!(findings("annals-kafka", &["annals-test-support"]).len(), 1);
        assert_eq!(findings("annals-kafka", &["annals"]).len(), 1);
        assert_eq!(findings("annals-server", &["annals"]), [""; 0]);
        assert_eq!(findings("annals-kafka", &["+annals-server"]).len(), 1);
        assert_eq!(findings("annals-journal", &["+annals-journal"]), [""; 0]);
        assert_eq!(findings("annals", &["annals-server"]), [""; 0]);
    }

    #[test]
    fn a_crate_without_a_place_is_told_where_to_get_one() {
        assert!(findings("annals-sqs", &[])[0].contains("xtask/src/tidy/layers.rs"));
    }
}
