//! Lists as tools ask for them: some columns, sorted, in pages.
//!
//! Source: RabbitMQ's documentation of pagination in the management API, and what it answers in fact.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use regex_lite::RegexBuilder;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use crate::app::App;

/// Items of a page, unless the request says otherwise.
const PAGE_SIZE: usize = 100;
/// The most items of a page.
const PAGE_SIZE_MAX: usize = 500;
/// The longest pattern that items are looked for by.
const PATTERN_LEN_MAX: usize = 256;

/// How a list is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shape {
    columns: Vec<Vec<String>>,
    sort: Option<Vec<String>>,
    is_reversed: bool,
    page: Option<Page>,
}

#[derive(Clone, Debug, PartialEq)]
struct Page {
    number: usize,
    size: usize,
    name: Option<String>,
    use_regex: bool,
}

impl FromRequestParts<App> for Shape {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Self::read(parts.uri.query().unwrap_or_default())
    }
}

/// The value of a parameter in a query.
pub(super) fn parameter(query: &str, wanted: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
}

impl Shape {
    fn read(query: &str) -> Result<Self, ApiError> {
        let get = |name| parameter(query, name).filter(|value| !value.is_empty());
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let columns = get("columns").map(|columns| columns.split(',').map(path).collect());
        let is_true = |name| get(name).is_some_and(|value| value == "true");
        Ok(Self {
            columns: columns.unwrap_or_default(),
            sort: get("sort").map(|sort| path(&sort)),
            is_reversed: is_true("sort_reverse"),
            page: page(get("page"), get("page_size").as_deref(), get("name"), is_true("use_regex"))?,
        })
    }

    /// The items in the form that was asked for.
    pub(super) fn list(&self, items: Vec<Value>) -> Result<Response, ApiError> {
        Ok(Json(self.shape(items)?).into_response())
    }

    /// One item in the form that was asked for.
    pub(super) fn item(&self, item: &Value) -> Response {
        Json(self.pick(item)).into_response()
    }

    fn shape(&self, items: Vec<Value>) -> Result<Value, ApiError> {
        let total = items.len();
        let mut items = self.found(items)?;
        self.order(&mut items);
        let Some(page) = &self.page else {
            return Ok(items.iter().map(|item| self.pick(item)).collect());
        };
        let filtered = items.len();
        let first = (page.number - 1) * page.size;
        if first >= filtered.max(1) {
            let reason =
                format!("Page out of range, page: {} page size: {}, len: {filtered}", page.number, page.size);
            return Err(ApiError::invalid("page_out_of_range", reason));
        }
        let shown: Vec<Value> =
            items.iter().skip(first).take(page.size).map(|item| self.pick(item)).collect();
        Ok(json!({
            "filtered_count": filtered,
            "item_count": shown.len(),
            "items": shown,
            "page": page.number,
            "page_count": filtered.div_ceil(page.size).max(1),
            "page_size": page.size,
            "total_count": total,
        }))
    }

    /// The items whose name is looked for.
    fn found(&self, mut items: Vec<Value>) -> Result<Vec<Value>, ApiError> {
        let Some((name, use_regex)) =
            self.page.as_ref().and_then(|page| Some((page.name.as_ref()?, page.use_regex)))
        else {
            return Ok(items);
        };
        let invalid = || ApiError::bad_request("Pagination parameters are invalid");
        if use_regex {
            let short = Some(name).filter(|name| name.len() <= PATTERN_LEN_MAX).ok_or_else(invalid)?;
            let pattern = RegexBuilder::new(short).case_insensitive(true).build().map_err(|_| invalid())?;
            items.retain(|item| item["name"].as_str().is_some_and(|name| pattern.is_match(name)));
        } else {
            let wanted = name.to_lowercase();
            items.retain(|item| {
                item["name"].as_str().is_some_and(|name| name.to_lowercase().contains(&wanted))
            });
        }
        Ok(items)
    }

    fn order(&self, items: &mut [Value]) {
        if let Some(path) = &self.sort {
            items.sort_by(|one, other| compare(at(one, path), at(other, path)));
        }
        if self.is_reversed {
            items.reverse();
        }
    }

    /// The columns that are asked for.
    fn pick(&self, item: &Value) -> Value {
        if self.columns.is_empty() {
            return item.clone();
        }
        let mut picked = Map::new();
        for path in &self.columns {
            if let Some(value) = at(item, path) {
                put(&mut picked, path, value);
            }
        }
        Value::Object(picked)
    }
}

fn page(
    number: Option<String>,
    size: Option<&str>,
    name: Option<String>,
    use_regex: bool,
) -> Result<Option<Page>, ApiError> {
    let Some(number) = number else { return Ok(None) };
    let invalid = || {
        let size = size.unwrap_or("undefined");
        let reason = format!("Invalid pagination parameters: page number {number}, page size {size}");
        ApiError::invalid("invalid_pagination_parameters", reason)
    };
    let size = size.map_or(Ok(PAGE_SIZE), str::parse).map_err(|_| invalid())?;
    let parsed: usize = number.parse().map_err(|_| invalid())?;
    let is_good = (1..=1_000_000).contains(&parsed) && (1..=PAGE_SIZE_MAX).contains(&size);
    if is_good { Ok(Some(Page { number: parsed, size, name, use_regex })) } else { Err(invalid()) }
}

fn at<'a>(item: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(item, |value, name| value.get(name))
}

fn put(into: &mut Map<String, Value>, path: &[String], value: &Value) {
    let [name, rest @ ..] = path else { return };
    if rest.is_empty() {
        into.insert(name.clone(), value.clone());
    } else if let Value::Object(inner) = into.entry(name).or_insert_with(|| json!({})) {
        put(inner, rest, value);
    }
}

/// Numbers by value, texts by letter; what is not there comes first.
fn compare(one: Option<&Value>, other: Option<&Value>) -> std::cmp::Ordering {
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => {
            let number = |number: &serde_json::Number| number.as_f64().unwrap_or(0.0);
            number(one).total_cmp(&number(other))
        }
        (Some(Value::String(one)), Some(Value::String(other))) => one.cmp(other),
        (Some(Value::Bool(one)), Some(Value::Bool(other))) => one.cmp(other),
        (one, other) => rank(one).cmp(&rank(other)),
    }
}

fn rank(value: Option<&Value>) -> u8 {
    match value {
        None | Some(Value::Null) => 0,
        Some(Value::Bool(_)) => 1,
        Some(Value::Number(_)) => 2,
        Some(Value::String(_)) => 3,
        Some(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(query: &str) -> Value {
        let items = vec![
            json!({"name": "b", "messages": 10, "stats": {"in": 1, "out": 2}}),
            json!({"name": "A", "messages": 9}),
            json!({"name": "abc"}),
        ];
        let error = |error: ApiError| json!(format!("{error:?}"));
        Shape::read(query).and_then(|shape| shape.shape(items)).unwrap_or_else(error)
    }

    fn names(value: &Value) -> Vec<&str> {
        value.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn columns_are_picked_also_inside_of_others() {
        let expected = json!([{"name": "b", "stats": {"out": 2}}, {"name": "A"}, {"name": "abc"}]);
        assert_eq!(shaped("columns=name,stats.out,nothing"), expected);
    }

    #[test]
    fn numbers_are_sorted_by_value_and_what_is_missing_comes_first() {
        assert_eq!(names(&shaped("sort=messages")), ["abc", "A", "b"]);
        assert_eq!(names(&shaped("sort=messages&sort_reverse=true")), ["b", "A", "abc"]);
        assert_eq!(names(&shaped("sort=name")), ["A", "abc", "b"]);
    }

    #[test]
    fn pages_tell_where_they_are() {
        let second = shaped("page=2&page_size=2&columns=name");
        let expected = json!({
            "filtered_count": 3, "item_count": 1, "items": [{"name": "abc"}], "page": 2, "page_count": 2,
            "page_size": 2, "total_count": 3,
        });
        assert_eq!(second, expected);
        assert_eq!(names(&shaped("page=1&name=a&sort=name")["items"]), ["A", "abc"]);
        assert_eq!(names(&shaped("page=1&name=%5Ea.&use_regex=true")["items"]), ["abc"]);
        for wrong in [
            "page=0",
            "page=1&page_size=501",
            "page=x",
            "page=3&page_size=2",
            "page=1&name=%5B&use_regex=true",
        ] {
            assert!(shaped(wrong).is_string(), "{wrong}");
        }
        assert_eq!(shaped("page=1&name=nothing")["items"], json!([]));
    }
}
