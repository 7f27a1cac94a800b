//! Topic configs: how they are written on the command line, and how they are read from the broker.

use std::collections::BTreeMap;

use annals_topics::config::{TOPIC_SPECS, find_topic_spec};
use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, ConfigEntry, ConfigSource, ResourceSpecifier};

use crate::client::{Quiet, admin_options, code_text, explain, wait};
use crate::nearest;

/// A config as `NAME=VALUE`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!("\"{text}\" is not a config; write retention.ms=3600000")),
    }
}

/// What is wrong with the first config that no topic can have, as far as it can be told without the broker.
pub(crate) fn mistake(configs: &[(String, String)]) -> Option<String> {
    configs.iter().find_map(|(name, value)| match find_topic_spec(name) {
        None => {
            let hint = nearest::hint(name, TOPIC_SPECS.iter().map(|spec| spec.name));
            Some(format!("\"{name}\" is not a topic config{hint}"))
        }
        Some(spec) => spec.check(value).err().map(|error| error.to_string()),
    })
}

/// Words for a config that the broker refused: it answers with a code alone, so the likely slip is found
/// here.
pub(crate) fn refusal(configs: &[(String, String)]) -> String {
    mistake(configs).unwrap_or_else(|| {
        "the broker refused a value; see \"annals topic describe --all-configs\"".to_owned()
    })
}

/// All configs of a topic, with where each value comes from.
pub(crate) fn read(admin: &AdminClient<Quiet>, topic: &str) -> Result<Vec<ConfigEntry>> {
    let resources = [ResourceSpecifier::Topic(topic)];
    let answer = wait(admin.describe_configs(&resources, &admin_options(false)))?;
    let answer = answer.map_err(|error| explain(&error)).context("cannot read configs")?;
    match answer.into_iter().next() {
        Some(Ok(resource)) => Ok(resource.entries),
        Some(Err(code)) => bail!("cannot read configs of topic \"{topic}\": {}", code_text(code)),
        None => bail!("the broker gave no configs for topic \"{topic}\""),
    }
}

/// The configs that were set on the topic itself.
pub(crate) fn own(entries: &[ConfigEntry]) -> BTreeMap<String, String> {
    let own = entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    own.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::{parse_pair, refusal};

    #[test]
    fn pairs_are_split_at_the_first_equals_sign() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(parse_pair("a="), Ok(("a".into(), String::new())));
        assert!(parse_pair("retention").unwrap_err().contains("\"retention\""));
    }

    #[test]
    fn a_misspelt_config_is_found() {
        let refusal = |configs: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            refusal(&configs.iter().map(owned).collect::<Vec<_>>())
        };
        let misspelt = refusal(&[("retention.ms", "1"), ("retenton.bytes", "1")]);
        assert!(misspelt.contains("did you mean \"retention.bytes\"?"), "{misspelt}");
        let too_small = refusal(&[("segment.bytes", "200")]);
        assert!(too_small.contains("segment.bytes") && too_small.contains("1048576"), "{too_small}");
        assert!(refusal(&[("annals.durability", "x")]).contains("sync"), "one of our own");
        assert!(refusal(&[("retention.ms", "1")]).contains("the broker refused"));
    }
}
