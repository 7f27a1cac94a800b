//! Configuration as DescribeConfigs shows it: each value, where it came from, and what else could have set it.

use super::spec::TOPIC_SPECS;
use super::{Effect, Kind, Overrides, Spec};

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// It was set on the topic.
    Topic,
    /// It was set for the server when it started.
    Server,
    /// It is the default.
    Default,
}

/// One place that gives a configuration a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synonym {
    /// The name there.
    pub name: &'static str,
    /// The value there.
    pub value: String,
    /// The place.
    pub source: Source,
}

/// One configuration with its value.
#[derive(Clone, PartialEq, Debug)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Where the value came from.
    pub source: Source,
    /// Its type and range.
    pub kind: Kind,
    /// Whether a client can change it.
    pub read_only: bool,
    /// Whether it changes anything here.
    pub effect: Effect,
    /// Every place that gives it a value; the first one counts.
    pub synonyms: Vec<Synonym>,
    /// What it means.
    pub doc: &'static str,
}

/// A topic's configuration, all of it, by name.
pub fn describe(server: &Overrides, topic: &Overrides) -> Vec<Described> {
    TOPIC_SPECS.iter().map(|spec| describe_one(spec, server, topic)).collect()
}

fn describe_one(spec: &'static Spec, server: &Overrides, topic: &Overrides) -> Described {
    let server_name = spec.server_names.first().copied().unwrap_or(spec.name);
    let places = [
        topic.get(spec.name).map(|value| (spec.name, value, Source::Topic)),
        server.get(spec.name).map(|value| (server_name, value, Source::Server)),
        Some((server_name, spec.default, Source::Default)),
    ];
    let synonym = |(name, value, source): (_, &str, _)| Synonym { name, value: value.to_owned(), source };
    let synonyms: Vec<_> = places.into_iter().flatten().map(synonym).collect();
    Described::of(spec, synonyms, false)
}

impl Described {
    /// `synonyms` has at least the default.
    pub(super) fn of(spec: &Spec, synonyms: Vec<Synonym>, read_only: bool) -> Self {
        let first = synonyms.first();
        Self {
            name: spec.name,
            value: first.map_or_else(String::new, |synonym| synonym.value.clone()),
            source: first.map_or(Source::Default, |synonym| synonym.source),
            kind: spec.kind,
            read_only,
            effect: spec.effect,
            synonyms,
            doc: spec.doc,
        }
    }
}
