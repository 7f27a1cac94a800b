//! Whether a reader's schema takes everything that a writer's schema allows.
//!
//! The words of JSON Schema that Rust types lead to are compared one by one; where two schemas differ in a word that is not
//! known here, the reader is taken to accept it. A writer writes the properties that its schema names and no others; a
//! reader passes over what it does not name, unless `additionalProperties` is `false`.

use std::collections::HashSet;
use std::fmt;

use serde_json::{Map, Value};

/// Schemas may refer to themselves; nobody nests deeper than this.
const DEPTH_MAX: usize = 64;

/// One thing that a reader would stumble over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatibility {
    /// Where, as a path of fields: `items[].price`. Empty: the event as a whole.
    pub path: String,
    /// What.
    pub problem: String,
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the event" } else { &self.path };
        write!(f, "{path} {}", self.problem)
    }
}

/// What keeps a program that reads with the schema `reader` from reading data written with the schema `writer`.
///
/// ```
/// use annals::schema::check_reads;
/// use serde_json::json;
///
/// let old = json!({"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]});
/// let new = json!({
///     "type": "object",
///     "properties": {"amount": {"type": "integer"}, "currency": {"type": "string"}},
///     "required": ["amount", "currency"],
/// });
/// assert_eq!(check_reads(&new, &old)[0].to_string(), "currency is required but not always there");
/// assert!(check_reads(&old, &new).is_empty());
/// ```
pub fn check_reads(reader: &Value, writer: &Value) -> Vec<Incompatibility> {
    let mut check = Check { reader, writer, seen: HashSet::new(), found: Vec::new() };
    check.compare(reader, writer, "", 0);
    check.found
}

struct Check<'a> {
    reader: &'a Value,
    writer: &'a Value,
    /// Pairs of references that are compared already or just now.
    seen: HashSet<(&'a str, &'a str)>,
    found: Vec<Incompatibility>,
}

impl<'a> Check<'a> {
    fn report(&mut self, path: &str, problem: impl Into<String>) {
        self.found.push(Incompatibility { path: path.to_owned(), problem: problem.into() });
    }

    fn compare(&mut self, reader: &'a Value, writer: &'a Value, path: &str, depth: usize) {
        if let (Some(wanted), Some(written)) = (reference(reader), reference(writer))
            && !self.seen.insert((wanted, written))
        {
            return;
        }
        if depth > DEPTH_MAX {
            return;
        }
        // References go down as they are, so that a pair of them is known again.
        let (whole_reader, whole_writer) = (reader, writer);
        let (reader, writer) = (resolve(reader, self.reader), resolve(writer, self.writer));
        if accepts_all(reader) {
            return;
        }
        if accepts_all(writer) {
            return self.report(path, "could be anything and is now restricted");
        }
        if let Some(alternatives) = alternatives(writer) {
            for alternative in alternatives {
                self.compare(whole_reader, alternative, path, depth + 1);
            }
            return;
        }
        if let Some(alternatives) = alternatives(reader) {
            return self.compare_any(alternatives, whole_writer, path, depth);
        }
        for part in reader["allOf"].as_array().into_iter().flatten() {
            self.compare(part, writer, path, depth + 1);
        }
        if self.compare_types(reader, writer, path) {
            self.compare_values(reader, writer, path);
            self.compare_limits(reader, writer, path);
            self.compare_objects(reader, writer, path, depth);
            self.compare_arrays(reader, writer, path, depth);
        }
    }

    /// The writer's schema must fit one of the reader's.
    fn compare_any(&mut self, alternatives: &'a [Value], writer: &'a Value, path: &str, depth: usize) {
        let mut closest: Option<Vec<Incompatibility>> = None;
        for alternative in alternatives {
            let mut check = Check {
                reader: self.reader,
                writer: self.writer,
                seen: self.seen.clone(),
                found: Vec::new(),
            };
            check.compare(alternative, writer, path, depth + 1);
            if check.found.is_empty() {
                return;
            }
            if closest.as_ref().is_none_or(|found| check.found.len() < found.len()) {
                closest = Some(check.found);
            }
        }
        match closest {
            Some(found) if alternatives.len() == 1 => self.found.extend(found),
            _ => self.report(path, "has a form that is none of those that are read"),
        }
    }

    /// Whether the rest is worth comparing.
    fn compare_types(&mut self, reader: &Value, writer: &Value, path: &str) -> bool {
        let wanted = types(reader);
        if wanted.is_empty() {
            return true;
        }
        let written = types(writer);
        if written.is_empty() {
            let known = writer.get("const").is_some() || writer.get("enum").is_some();
            if !known {
                self.report(path, format!("could be anything and must now be {}", wanted.join(" or ")));
            }
            return known;
        }
        let fits = |kind: &&str| wanted.contains(kind) || (*kind == "integer" && wanted.contains(&"number"));
        let strange: Vec<&str> = written.iter().filter(|kind| !fits(kind)).copied().collect();
        if !strange.is_empty() {
            let (strange, wanted) = (strange.join(" or "), wanted.join(" or "));
            self.report(path, format!("is written as {strange} and read as {wanted}"));
        }
        strange.is_empty()
    }

    fn compare_values(&mut self, reader: &Value, writer: &Value, path: &str) {
        let Some(wanted) = values(reader) else { return };
        let Some(written) = values(writer) else {
            return self.report(path, "could have any value and must now have one of a few");
        };
        for value in written.iter().filter(|value| !wanted.contains(value)) {
            self.report(path, format!("may be {value}, which is not read"));
        }
    }

    fn compare_limits(&mut self, reader: &Value, writer: &Value, path: &str) {
        for (word, is_tighter) in LIMITS {
            let Some(limit) = reader.get(*word).and_then(Value::as_f64) else { continue };
            let written = writer.get(*word).and_then(Value::as_f64);
            if written.is_none_or(|written| is_tighter(limit, written)) && !follows(writer, word, limit) {
                self.report(path, format!("is now limited by {word} {}", reader[*word]));
            }
        }
        for word in ["pattern", "format"] {
            let (wanted, written) = (reader.get(word), writer.get(word));
            if let Some(wanted) = wanted.filter(|wanted| Some(*wanted) != written)
                && !widens(wanted, written)
            {
                self.report(path, format!("must now have the {word} {wanted}"));
            }
        }
    }

    fn compare_objects(&mut self, reader: &'a Value, writer: &'a Value, path: &str, depth: usize) {
        let always: Vec<&str> = names(writer);
        for name in names(reader).into_iter().filter(|name| !always.contains(name)) {
            self.report(&join(path, name), "is required but not always there");
        }
        let empty = Map::new();
        let wanted = reader["properties"].as_object().unwrap_or(&empty);
        let wanted: Vec<&str> = wanted.keys().map(String::as_str).collect();
        for (name, written) in writer["properties"].as_object().into_iter().flatten() {
            let path = join(path, name);
            if wanted.contains(&name.as_str()) {
                self.compare(&reader["properties"][name.as_str()], written, &path, depth + 1);
            } else if let Some(others) = reader.get("additionalProperties") {
                self.compare_unknown(others, written, &path, depth);
            }
        }
        if let (Some(others @ Value::Object(_)), Some(written @ Value::Object(_))) =
            (reader.get("additionalProperties"), writer.get("additionalProperties"))
        {
            self.compare(others, written, &join(path, "*"), depth + 1);
        }
    }

    /// A field that the reader has no name for.
    fn compare_unknown(&mut self, others: &'a Value, written: &'a Value, path: &str, depth: usize) {
        match others {
            Value::Bool(false) => self.report(path, "is written and fields that are not known are refused"),
            others => self.compare(others, written, path, depth + 1),
        }
    }

    fn compare_arrays(&mut self, reader: &'a Value, writer: &'a Value, path: &str, depth: usize) {
        let path = format!("{path}[]");
        if let (Some(wanted), Some(written)) = (reader.get("items"), writer.get("items")) {
            self.compare(wanted, written, &path, depth + 1);
        }
        let fields =
            |schema: &'a Value| schema["prefixItems"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        for (wanted, written) in fields(reader).iter().zip(fields(writer)) {
            self.compare(wanted, written, &path, depth + 1);
        }
    }
}

/// A word that limits, and whether the reader's number allows less than the writer's.
type Limit = (&'static str, fn(f64, f64) -> bool);

const LIMITS: &[Limit] = &[
    ("minimum", |reader, writer| reader > writer),
    ("exclusiveMinimum", |reader, writer| reader > writer),
    ("maximum", |reader, writer| reader < writer),
    ("exclusiveMaximum", |reader, writer| reader < writer),
    ("minLength", |reader, writer| reader > writer),
    ("maxLength", |reader, writer| reader < writer),
    ("minItems", |reader, writer| reader > writer),
    ("maxItems", |reader, writer| reader < writer),
];

/// Whether a limit follows from the writer's integer format: a `uint16` is never above 65535.
fn follows(writer: &Value, word: &str, limit: f64) -> bool {
    let Some((lowest, highest)) = writer.get("format").and_then(Value::as_str).and_then(range) else {
        return false;
    };
    match word {
        "minimum" => lowest >= limit,
        "maximum" => highest <= limit,
        _ => false,
    }
}

/// The least and the greatest number of an integer format.
fn range(format: &str) -> Option<(f64, f64)> {
    let (signed, bits) = match format.strip_prefix('u') {
        Some(rest) => (false, rest.strip_prefix("int")?),
        None => (true, format.strip_prefix("int")?),
    };
    let bits: i32 = if bits.is_empty() { 64 } else { bits.parse().ok()? };
    let power = |bits: i32| 2f64.powi(bits);
    Some(if signed { (-power(bits - 1), power(bits - 1) - 1.0) } else { (0.0, power(bits) - 1.0) })
}

/// Whether the reader's number format holds all numbers of the writer's.
fn widens(wanted: &Value, written: Option<&Value>) -> bool {
    let (Some(wanted), written) = (wanted.as_str(), written.and_then(Value::as_str)) else { return false };
    match (wanted, written) {
        ("double", _) | ("float", Some("float")) => true,
        (wanted, Some(written)) => match (range(wanted), range(written)) {
            (Some(wanted), Some(written)) => wanted.0 <= written.0 && wanted.1 >= written.1,
            _ => false,
        },
        (_, None) => false,
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()
}

fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH_MAX {
        let Some(pointer) = reference(schema).and_then(|name| name.strip_prefix('#')) else { return schema };
        schema = root.pointer(pointer).unwrap_or(&Value::Bool(true));
    }
    schema
}

fn accepts_all(schema: &Value) -> bool {
    match schema {
        Value::Bool(all) => *all,
        Value::Object(words) => words.keys().all(|word| word == "$defs"),
        _ => true,
    }
}

fn alternatives(schema: &Value) -> Option<&[Value]> {
    ["oneOf", "anyOf"].iter().find_map(|word| schema.get(*word)?.as_array().map(Vec::as_slice))
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn values(schema: &Value) -> Option<Vec<&Value>> {
    let one = schema.get("const").map(|value| vec![value]);
    one.or_else(|| Some(schema.get("enum")?.as_array()?.iter().collect()))
}

fn names(schema: &Value) -> Vec<&str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "a schema is written where it is used")]
    fn problems(reader: Value, writer: Value) -> Vec<String> {
        check_reads(&reader, &writer).iter().map(Incompatibility::to_string).collect()
    }

    #[expect(clippy::needless_pass_by_value, reason = "a schema is written where it is used")]
    fn field(schema: Value) -> Value {
        json!({"type": "object", "properties": {"a": schema}, "required": ["a"]})
    }

    #[test]
    fn equal_schemas_are_compatible() {
        for schema in
            [json!(true), json!({}), field(json!({"type": "string", "format": "uuid", "maxLength": 3}))]
        {
            assert_eq!(problems(schema.clone(), schema), [""; 0]);
        }
    }

    #[test]
    fn types_may_widen_and_not_narrow() {
        let cases = [
            (json!({"type": "number"}), json!({"type": "integer"}), true),
            (json!({"type": "integer"}), json!({"type": "number"}), false),
            (json!({"type": ["string", "null"]}), json!({"type": "string"}), true),
            (json!({"type": "string"}), json!({"type": ["string", "null"]}), false),
            (
                json!({"type": "integer", "format": "int64"}),
                json!({"type": "integer", "format": "int32"}),
                true,
            ),
            (
                json!({"type": "integer", "format": "int32"}),
                json!({"type": "integer", "format": "int64"}),
                false,
            ),
            (
                json!({"type": "integer", "format": "int64"}),
                json!({"type": "integer", "format": "uint32", "minimum": 0}),
                true,
            ),
            (
                json!({"type": "integer", "format": "uint8", "minimum": 0, "maximum": 255}),
                json!({"type": "integer", "format": "uint16", "minimum": 0, "maximum": 65535}),
                false,
            ),
            (
                json!({"type": "number", "format": "double"}),
                json!({"type": "integer", "format": "int64"}),
                true,
            ),
            (json!({"type": "string", "format": "date-time"}), json!({"type": "string"}), false),
            (json!({"type": "string"}), json!({"type": "string", "format": "date-time"}), true),
            (json!({"type": "string", "maxLength": 5}), json!({"type": "string", "maxLength": 4}), true),
            (json!({"type": "string", "maxLength": 5}), json!({"type": "string"}), false),
            (json!(true), json!({"type": "string"}), true),
            (json!({"type": "string"}), json!(true), false),
        ];
        for (reader, writer, fits) in cases {
            let found = problems(field(reader.clone()), field(writer.clone()));
            assert_eq!(found.is_empty(), fits, "{reader} reads {writer}: {found:?}");
        }
    }

    #[test]
    fn fields_come_and_go() {
        let one = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
        let two = json!({
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
            "required": ["a"],
        });
        assert_eq!(problems(two.clone(), one.clone()), [""; 0]);
        assert_eq!(problems(one.clone(), two.clone()), [""; 0]);
        let mut strict = one.clone();
        strict["additionalProperties"] = json!(false);
        assert_eq!(problems(strict, two), ["b is written and fields that are not known are refused"]);
        assert_eq!(problems(one, json!({"type": "object"})), ["a is required but not always there"]);
    }

    #[test]
    fn alternatives_may_be_added_and_not_taken_away() {
        let small = json!({"oneOf": [{"const": "RED"}, {"const": "BLUE"}]});
        let large = json!({"type": "string", "enum": ["RED", "BLUE", "GREEN"]});
        assert_eq!(problems(field(large.clone()), field(small.clone())), [""; 0]);
        assert_eq!(problems(field(small), field(large.clone())).len(), 1);
        let two = json!({"type": "string", "enum": ["RED", "BLUE"]});
        assert_eq!(problems(field(two), field(large)), ["a may be \"GREEN\", which is not read"]);
    }

    #[test]
    fn references_are_followed_even_in_circles() {
        let tree = |leaf: &str| {
            json!({
                "$ref": "#/$defs/Tree",
                "$defs": {"Tree": {
                    "type": "object",
                    "properties": {"leaf": {"type": leaf}, "next": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]}},
                }},
            })
        };
        assert_eq!(problems(tree("string"), tree("string")), [""; 0]);
        assert_eq!(
            problems(tree("string"), tree("integer")),
            ["leaf is written as integer and read as string"]
        );
    }

    #[test]
    fn items_are_compared() {
        let list = |item: &str| field(json!({"type": "array", "items": {"type": item}}));
        assert_eq!(problems(list("number"), list("integer")), [""; 0]);
        assert_eq!(
            problems(list("string"), list("integer")),
            ["a[] is written as integer and read as string"]
        );
        let pair = |second: &str| {
            field(json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": second}]}))
        };
        assert_eq!(problems(pair("string"), pair("integer")).len(), 1);
    }
}
