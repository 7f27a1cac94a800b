//! From a Rust type to the schemas of its events: schemars describes the whole enum, and here it is taken apart.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::EventSchema;
use crate::Event;

/// A type whose schema does not have the form of its events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the schema of {type_name} says nothing of its variant {variant}: derive both with the same serde attributes"
)]
pub struct ShapeError {
    /// The Rust type.
    pub type_name: &'static str,
    /// The variant, as serde knows it.
    pub variant: &'static str,
}

/// The schemas of all events of `E`.
///
/// # Errors
/// If `JsonSchema` was written by hand and does not describe the form that serde derives.
pub fn event_schemas<E: Event + JsonSchema>() -> Result<Vec<EventSchema>, ShapeError> {
    let root = |settings: SchemaSettings| settings.into_generator().into_root_schema_for::<E>().to_value();
    let writes = root(SchemaSettings::draft2020_12().for_serialize());
    let reads = root(SchemaSettings::draft2020_12().for_deserialize());
    let schema = |event_type: &crate::EventType| {
        let part = |root: &Value| match event_type.variant {
            None => Ok(without_titles(root.clone())),
            Some(variant) => {
                let found = variant_schema(root, variant);
                found.ok_or(ShapeError { type_name: std::any::type_name::<E>(), variant })
            }
        };
        Ok(EventSchema {
            name: event_type.name.to_owned(),
            version: event_type.version,
            reads_from: event_type.reads,
            writes: part(&writes)?,
            reads: part(&reads)?,
        })
    };
    E::TYPES.iter().map(schema).collect()
}

/// What stands for one variant in the schema of an enum in serde's default form.
fn variant_schema(root: &Value, variant: &str) -> Option<Value> {
    let single = [root.clone()];
    let alternatives = ["oneOf", "anyOf"].iter().find_map(|key| root[*key].as_array());
    let alternatives = alternatives.map_or(single.as_slice(), Vec::as_slice);
    let inner = alternatives.iter().find_map(|alternative| match &alternative["properties"][variant] {
        Value::Null => is_named(alternative, variant).then(|| json!({"type": "object"})),
        inner => Some(inner.clone()),
    })?;
    Some(without_titles(with_definitions(inner, root)))
}

/// Whether this is a variant without fields of that name.
fn is_named(alternative: &Value, variant: &str) -> bool {
    let listed = |names: &Vec<Value>| names.iter().any(|name| name == variant);
    alternative["const"] == variant || alternative["enum"].as_array().is_some_and(listed)
}

/// A part of a schema keeps the definitions that it may refer to.
fn with_definitions(mut part: Value, root: &Value) -> Value {
    if let (Some(part), Some(definitions)) = (part.as_object_mut(), root.get("$defs")) {
        part.insert("$defs".to_owned(), definitions.clone());
    }
    part
}

/// Takes out what says nothing about the data, so that a reworded comment is no new schema.
fn without_titles(mut schema: Value) -> Value {
    strip(&mut schema);
    schema
}

fn strip(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    for word in ["~schema", "title", "description", "default", "examples"] {
        object.remove(word);
    }
    for (word, value) in object.iter_mut() {
        match word.as_str() {
            "properties" | "$defs" | "patternProperties" => strip_each(value.as_object_mut()),
            "oneOf" | "anyOf" | "allOf" | "prefixItems" => {
                value.as_array_mut().into_iter().flatten().for_each(strip);
            }
            "items" | "additionalProperties" | "not" => strip(value),
            _ => {}
        }
    }
}

fn strip_each(schemas: Option<&mut Map<String, Value>>) {
    schemas.into_iter().flat_map(Map::values_mut).for_each(strip);
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    /// A doc comment is no part of a schema.
    #[derive(Event, JsonSchema, Serialize, Deserialize)]
    #[allow(dead_code)]
    enum Sample {
        Emptied,
        #[event(name = "Filled", version = 2, reads = 1)]
        Full {
            /// How much.
            amount: u32,
            #[serde(default)]
            unit: String,
        },
        Wrapped(Inner),
    }

    #[derive(Event, JsonSchema, Serialize, Deserialize)]
    struct Inner {
        title: Option<String>,
    }

    #[test]
    fn each_variant_has_its_own_schemas() {
        let schemas = event_schemas::<Sample>().unwrap();
        assert_eq!(schemas[0].writes["type"], "object");
        let full = &schemas[1];
        assert_eq!((full.name.as_str(), full.version, full.reads_from), ("Filled", 2, 1));
        assert_eq!(full.writes["required"], json!(["amount", "unit"]));
        assert_eq!(full.reads["required"], json!(["amount"]));
        assert_eq!(full.reads["properties"]["amount"].get("description"), None);
        assert_eq!(schemas[2].reads["$ref"], "#/$defs/Inner");
        // A property may be called like a word that is taken out.
        assert!(schemas[2].reads["$defs"]["Inner"]["properties"]["title"].is_object());
    }

    #[test]
    fn a_struct_is_its_own_schema() {
        let schemas = event_schemas::<Inner>().unwrap();
        assert_eq!(schemas[0].reads["properties"]["title"]["type"], json!(["string", "null"]));
        assert_eq!(schemas[0].reads.get("title"), None);
    }
}
