//! Persistent subscriptions in their keyed log.
//!
//! Key: `0x71`, id of the store (16 bytes), name (to the end). Value: 1; length of the definition (4 bytes, little-endian) and
//! the definition, a JSON object; then the image of the state.

use std::sync::{Arc, Mutex};

use annals_clock::Uuid;
use annals_eventstore::StreamName;
use annals_eventstore::query::{Query, QueryItem};
use annals_eventstore::subscription::Subscription;
use annals_topics::batch::{Batch, ExpandLimits};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::Group;
use crate::api::stores::Selection;

const KEY_SUBSCRIPTION_V1: u8 = 0x71;
const VALUE_SUBSCRIPTION_V1: u8 = 1;

pub(super) fn key(store: Uuid, name: &str) -> Bytes {
    [&[KEY_SUBSCRIPTION_V1][..], store.as_bytes(), name.as_bytes()].concat().into()
}

pub(super) fn value(selection: &Selection, with_system: bool, image: &[u8]) -> Bytes {
    let definition = json!({"selection": to_json(selection), "withSystem": with_system}).to_string();
    let len = (definition.len() as u32).to_le_bytes();
    [&[VALUE_SUBSCRIPTION_V1][..], &len, definition.as_bytes(), image].concat().into()
}

/// The subscriptions that a batch tells of; none where one was deleted.
pub(super) fn decode(batch: Bytes) -> Vec<(Uuid, Arc<str>, Option<Group>)> {
    let records = Batch::parse(batch).and_then(|batch| batch.records(&ExpandLimits::default()));
    let mut found = Vec::new();
    for record in records.into_iter().flatten().flatten() {
        let Some((store, name)) = record.key.as_deref().and_then(parse_key) else { continue };
        let group = match record.value.as_deref() {
            None => None,
            Some(value) => match parse_value(store, &name, value) {
                Some(group) => Some(group),
                None => {
                    tracing::error!(subscription = %name, "a stored subscription cannot be read");
                    continue;
                }
            },
        };
        found.push((store, name, group));
    }
    found
}

fn parse_key(key: &[u8]) -> Option<(Uuid, Arc<str>)> {
    let (&kind, rest) = key.split_first()?;
    let (store, name) = rest.split_first_chunk::<16>()?;
    let name = std::str::from_utf8(name).ok()?;
    (kind == KEY_SUBSCRIPTION_V1).then(|| (Uuid::from_bytes(*store), name.into()))
}

fn parse_value(store: Uuid, name: &Arc<str>, value: &[u8]) -> Option<Group> {
    let (&version, rest) = value.split_first()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (definition, image) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    if version != VALUE_SUBSCRIPTION_V1 {
        return None;
    }
    let definition: Value = serde_json::from_slice(definition).ok()?;
    Some(Group {
        store,
        name: Arc::clone(name),
        selection: from_json(&definition["selection"])?,
        with_system: definition["withSystem"].as_bool()?,
        state: Mutex::new(Subscription::restore(image).ok()?),
        reading: tokio::sync::Mutex::default(),
        writing: tokio::sync::Mutex::default(),
        ready: Notify::new(),
    })
}

fn to_json(selection: &Selection) -> Value {
    match selection {
        Selection::All => json!({"all": true}),
        Selection::Stream(name) => json!({"stream": name.as_str()}),
        Selection::StreamPrefix(prefix) => json!({"streamPrefix": &**prefix}),
        Selection::Category(name) => json!({"category": &**name}),
        Selection::Type(name) => json!({"type": &**name}),
        Selection::TypePrefix(prefix) => json!({"typePrefix": &**prefix}),
        Selection::Tag(tag) => json!({"tag": &**tag}),
        Selection::Query(query) => {
            let texts = |texts: &[Arc<str>]| texts.iter().map(|text| json!(&**text)).collect::<Vec<_>>();
            let item = |item: &QueryItem| json!({"types": texts(&item.types), "tags": texts(&item.tags)});
            json!({"query": query.items.iter().map(item).collect::<Vec<_>>()})
        }
    }
}

fn from_json(value: &Value) -> Option<Selection> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let text = || value.as_str().map(Arc::<str>::from);
    Some(match kind.as_str() {
        "all" => Selection::All,
        "stream" => Selection::Stream(StreamName::new(value.as_str()?).ok()?),
        "streamPrefix" => Selection::StreamPrefix(text()?),
        "category" => Selection::Category(text()?),
        "type" => Selection::Type(text()?),
        "typePrefix" => Selection::TypePrefix(text()?),
        "tag" => Selection::Tag(text()?),
        "query" => {
            let items = value
                .as_array()?
                .iter()
                .map(|item| Some(QueryItem { types: texts(&item["types"])?, tags: texts(&item["tags"])? }));
            Selection::Query(Query { items: items.collect::<Option<_>>()? })
        }
        _ => return None,
    })
}

fn texts(value: &Value) -> Option<Vec<Arc<str>>> {
    value.as_array()?.iter().map(|text| text.as_str().map(Into::into)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_come_back() {
        let query = Query { items: vec![QueryItem { types: vec!["A".into()], tags: vec!["x".into()] }] };
        for selection in [
            Selection::All,
            Selection::Stream(StreamName::new("a-1").unwrap()),
            Selection::StreamPrefix("a-".into()),
            Selection::Category("a".into()),
            Selection::Type("A".into()),
            Selection::TypePrefix("A".into()),
            Selection::Tag("x".into()),
            Selection::Query(query),
        ] {
            assert_eq!(from_json(&to_json(&selection)), Some(selection));
        }
        assert_eq!(from_json(&json!({"new": 1})), None);
    }
}
