//! Which events are asked for, and from where to where: as parameters and as members of a body.

use std::sync::Arc;

use annals_broker::api::stores::{
    Direction, Place, Position, Query, QueryItem, ReadEvents, Revision, Selection,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Problem;
use crate::input::{json, stream_name};
use crate::query::{Params, parse_time_ms};

/// Bytes of one answer, unless asked for otherwise.
const BYTES_DEFAULT: usize = 4 << 20;
/// Bytes of one answer at most.
const BYTES_MAX: usize = 16 << 20;
/// Events of one answer, unless asked for otherwise.
const LIMIT_DEFAULT: usize = 1000;

/// Events that any of the items describes.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryBody {
    /// 1 to 64 items.
    items: Vec<ItemBody>,
}

/// Events of any of these types, with all of these tags.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemBody {
    /// Any of these types; every type if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    /// All of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

impl QueryBody {
    pub(crate) fn build(self) -> Query {
        let shared = |names: Vec<String>| names.into_iter().map(Arc::from).collect();
        let item = |item: ItemBody| QueryItem { types: shared(item.types), tags: shared(item.tags) };
        Query { items: self.items.into_iter().map(item).collect() }
    }

    pub(crate) fn of(query: &Query) -> Self {
        let plain = |names: &[Arc<str>]| names.iter().map(ToString::to_string).collect();
        let item = |item: &QueryItem| ItemBody { types: plain(&item.types), tags: plain(&item.tags) };
        Self { items: query.items.iter().map(item).collect() }
    }
}

/// Which events: at most one of these. None is all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    pub(crate) stream: Option<String>,
    pub(crate) stream_prefix: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) type_name: Option<String>,
    pub(crate) type_prefix: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) query: Option<QueryBody>,
}

impl Choice {
    /// Takes it from the parameters of a request.
    pub(crate) fn take(params: &mut Params) -> Result<Self, Problem> {
        let query = params.take("query")?;
        let query = query
            .map(|text| json(text.as_bytes()).map_err(|problem| inside("query", problem)))
            .transpose()?;
        Ok(Self {
            stream: params.take("stream")?,
            stream_prefix: params.take("stream_prefix")?,
            category: params.take("category")?,
            type_name: params.take("type")?,
            type_prefix: params.take("type_prefix")?,
            tag: params.take("tag")?,
            query,
        })
    }

    /// What it chooses.
    ///
    /// # Errors
    /// If it chooses twice.
    pub(crate) fn build(self) -> Result<Selection, Problem> {
        let stream = self.stream.map(|name| stream_name("stream", &name)).transpose()?;
        let mut chosen = [
            stream.map(|name| ("stream", Selection::Stream(name))),
            self.stream_prefix.map(|prefix| ("stream_prefix", Selection::StreamPrefix(prefix.into()))),
            self.category.map(|name| ("category", Selection::Category(name.into()))),
            self.type_name.map(|name| ("type", Selection::Type(name.into()))),
            self.type_prefix.map(|prefix| ("type_prefix", Selection::TypePrefix(prefix.into()))),
            self.tag.map(|tag| ("tag", Selection::Tag(tag.into()))),
            self.query.map(|query| ("query", Selection::Query(query.build()))),
        ]
        .into_iter()
        .flatten();
        let first = chosen.next();
        match (first, chosen.next()) {
            (None, _) => Ok(Selection::All),
            (Some((_, selection)), None) => Ok(selection),
            (Some((first, _)), Some((second, _))) => {
                let detail = format!(
                    "{first} and {second} both choose events, and only one may: a query can ask for types and tags at once"
                );
                Err(Problem::invalid(second, detail))
            }
        }
    }
}

/// The problem of a part, whose path goes on from that of the whole.
pub(crate) fn inside(path: &str, mut problem: Problem) -> Problem {
    let field = problem.members.get("field").and_then(|field| field.as_str()).unwrap_or_default();
    let field = crate::event::incoming::join(path, field);
    problem.members.insert("field".to_owned(), field.into());
    problem
}

/// A place, in one of three ways.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bound {
    /// A revision of the one stream, or else a position.
    pub(crate) number: Option<u64>,
    pub(crate) position: Option<u64>,
    pub(crate) time: Option<String>,
}

impl Bound {
    fn take(params: &mut Params, name: &str) -> Result<Self, Problem> {
        Ok(Self {
            number: params.number(name)?,
            position: params.number(&format!("{name}_position"))?,
            time: params.take(&format!("{name}_time"))?,
        })
    }

    fn build(self, name: &str, of_stream: bool) -> Result<Option<Place>, Problem> {
        let time_name = format!("{name}_time");
        let time = self.time.map(|text| parse_time_ms(&time_name, &text)).transpose()?;
        let number = self.number.map(|number| match of_stream {
            true => Place::Revision(Revision(number)),
            false => Place::Position(Position(number)),
        });
        let position = self.position.map(|position| Place::Position(Position(position)));
        match (number, position, time.map(Place::Time)) {
            (place, None, None) | (None, place, None) | (None, None, place) => Ok(place),
            _ => Err(Problem::invalid(
                name,
                format!("one of {name}, {name}_position and {name}_time is enough"),
            )),
        }
    }
}

/// A read, before it is known whether it makes sense.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) choice: Choice,
    pub(crate) backward: bool,
    pub(crate) from: Bound,
    pub(crate) until: Bound,
    pub(crate) limit: Option<usize>,
    pub(crate) max_bytes: Option<usize>,
    pub(crate) system: bool,
}

impl Wanted {
    /// Takes it from the parameters of a request, which may hold nothing else. With `stream`, the choice is made already.
    pub(crate) fn take(mut params: Params, stream: Option<String>) -> Result<Self, Problem> {
        let choice = match stream {
            None => Choice::take(&mut params)?,
            stream => Choice { stream, ..Choice::default() },
        };
        let direction = params.take("direction")?;
        let wanted = Self {
            choice,
            backward: direction.map_or(Ok(false), |direction| is_backward(&direction))?,
            from: Bound::take(&mut params, "from")?,
            until: Bound::take(&mut params, "until")?,
            limit: params.number("limit")?,
            max_bytes: params.number("max_bytes")?,
            system: params.flag("system")?,
        };
        params.finish()?;
        Ok(wanted)
    }

    /// The request to the broker.
    pub(crate) fn build(self, store: &str) -> Result<ReadEvents, Problem> {
        let selection = self.choice.build()?;
        let of_stream = matches!(selection, Selection::Stream(_));
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=10_000).contains(&limit) {
            return Err(Problem::invalid("limit", "limit must be from 1 to 10000"));
        }
        let bytes_max = self.max_bytes.unwrap_or(BYTES_DEFAULT);
        if !(1..=BYTES_MAX).contains(&bytes_max) {
            return Err(Problem::invalid("max_bytes", format!("max_bytes must be from 1 to {BYTES_MAX}")));
        }
        Ok(ReadEvents {
            direction: if self.backward { Direction::Backward } else { Direction::Forward },
            from: self.from.build("from", of_stream)?,
            until: self.until.build("until", of_stream)?,
            limit,
            bytes_max,
            with_system: self.system,
            ..ReadEvents::new(store, selection)
        })
    }
}

pub(crate) fn is_backward(direction: &str) -> Result<bool, Problem> {
    match direction {
        "forward" => Ok(false),
        "backward" => Ok(true),
        _ => Err(Problem::invalid("direction", "direction must be forward or backward")),
    }
}

/// A read as a body.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReadBody {
    /// Events of types and with tags. At most one of this and the next six.
    query: Option<QueryBody>,
    /// Events of one stream.
    stream: Option<String>,
    /// Events of streams whose names start so.
    stream_prefix: Option<String>,
    /// Events of all streams of a category.
    category: Option<String>,
    /// Events of one type.
    #[serde(rename = "type")]
    type_name: Option<String>,
    /// Events whose types start so.
    type_prefix: Option<String>,
    /// Events with one tag.
    tag: Option<String>,
    /// `forward` (the default) or `backward`.
    direction: Option<String>,
    /// Where to begin: a revision of the stream, or else a position.
    from: Option<u64>,
    /// Where to begin: a position.
    from_position: Option<u64>,
    /// Where to begin: a moment, RFC 3339.
    from_time: Option<String>,
    /// The last that may be given: a revision of the stream, or else a position.
    until: Option<u64>,
    /// The last that may be given: a position.
    until_position: Option<u64>,
    /// The last that may be given: a moment, RFC 3339.
    until_time: Option<String>,
    /// At most so many events, 1 to 10,000. Default 1,000.
    limit: Option<usize>,
    /// Stop when the events have so many bytes. Default 4 MiB.
    max_bytes: Option<usize>,
    /// Gives the store's own events as well.
    system: bool,
}

impl ReadBody {
    pub(crate) fn into_wanted(self) -> Result<Wanted, Problem> {
        Ok(Wanted {
            choice: Choice {
                stream: self.stream,
                stream_prefix: self.stream_prefix,
                category: self.category,
                type_name: self.type_name,
                type_prefix: self.type_prefix,
                tag: self.tag,
                query: self.query,
            },
            backward: self.direction.map_or(Ok(false), |direction| is_backward(&direction))?,
            from: Bound { number: self.from, position: self.from_position, time: self.from_time },
            until: Bound { number: self.until, position: self.until_position, time: self.until_time },
            limit: self.limit,
            max_bytes: self.max_bytes,
            system: self.system,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &str) -> Result<ReadEvents, Problem> {
        Wanted::take(Params::parse(query), None)?.build("shop")
    }

    #[test]
    fn a_read_without_parameters_is_all_from_the_start() {
        let read = wanted("").unwrap();
        assert_eq!((read.selection, read.direction), (Selection::All, Direction::Forward));
        assert_eq!((read.from, read.until, read.limit, read.with_system), (None, None, 1000, false));
    }

    #[test]
    fn numbers_are_revisions_of_a_stream_and_positions_otherwise() {
        let read = wanted("stream=order-1&from=3&until_position=9").unwrap();
        assert_eq!(read.from, Some(Place::Revision(Revision(3))));
        assert_eq!(read.until, Some(Place::Position(Position(9))));
        let read =
            wanted("category=order&from=3&until_time=1970-01-01T00:00:01Z&direction=backward").unwrap();
        assert_eq!(read.from, Some(Place::Position(Position(3))));
        assert_eq!((read.until, read.direction), (Some(Place::Time(1000)), Direction::Backward));
    }

    #[test]
    fn a_query_is_json() {
        let text: String =
            form_urlencoded::byte_serialize(br#"{"items":[{"types":["A"],"tags":["x","y"]}]}"#).collect();
        let item = QueryItem { types: vec!["A".into()], tags: vec!["x".into(), "y".into()] };
        assert_eq!(
            wanted(&format!("query={text}")).unwrap().selection,
            Selection::Query(Query { items: vec![item] })
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let field = |query: &str| {
            let problem = wanted(query).expect_err(query);
            problem.members["field"].as_str().unwrap().to_owned()
        };
        assert_eq!(field("category=a&tag=b"), "tag");
        assert_eq!(field("from=1&from_time=5"), "from");
        assert_eq!(field("limit=0"), "limit");
        assert_eq!(field("limit=10001"), "limit");
        assert_eq!(field("max_bytes=0"), "max_bytes");
        assert_eq!(field("direction=sideways"), "direction");
        assert_eq!(field("stream=%24own"), "stream");
        assert_eq!(field("query=5"), "query");
        assert_eq!(field("query=%7B%22items%22:%5B%7B%22type%22:1%7D%5D%7D"), "query.items[0].type");
        assert_eq!(field("until_time=soon"), "until_time");
    }
}
