//! What is looked for: events by type and tag, and the condition that none came in.
//!
//! A query is any of its items; an item is any of its types and all of its tags. The form is that of dynamic consistency
//! boundaries (dcb.events): what a decision read is a query, and its condition is that the same query finds nothing new.

use std::sync::Arc;

use crate::name::check_tag;
use crate::record::RecordedEvent;
use crate::store::terms_of;
use crate::{NameError, Position, TermKey, Terms};

/// Items of a query.
pub const QUERY_ITEMS_MAX: usize = 64;
/// Types and tags of one item.
pub const QUERY_TERMS_MAX: usize = 64;

/// Events that any of the items describes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// The items.
    pub items: Vec<QueryItem>,
}

/// Events of any of these types, with all of these tags.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QueryItem {
    /// Any of these types; every type if there are none.
    pub types: Vec<Arc<str>>,
    /// All of these tags.
    pub tags: Vec<Arc<str>>,
}

/// A demand that nothing a query finds has been appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// What must not be there.
    pub query: Query,
    /// Behind this position; `None` is from the beginning.
    pub after: Option<Position>,
}

/// Why a query cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It has no item, or too many.
    #[error("a query has 1 to {QUERY_ITEMS_MAX} items, this one has {items}")]
    Items {
        /// How many it has.
        items: usize,
    },
    /// An item has no type and no tag, or too many.
    #[error("an item of a query has 1 to {QUERY_TERMS_MAX} types and tags, this one has {terms}")]
    Terms {
        /// Which item, from zero.
        item: usize,
        /// How many it has.
        terms: usize,
    },
    /// A type is not possible.
    #[error("{text:?} is no type: {reason}")]
    Type {
        /// Which item, from zero.
        item: usize,
        /// Which of its types, from zero.
        index: usize,
        /// The type.
        text: Arc<str>,
        /// What is wrong with it.
        reason: NameError,
    },
    /// A tag is not possible.
    #[error("{text:?} is no tag: {reason}")]
    Tag {
        /// Which item, from zero.
        item: usize,
        /// Which of its tags, from zero.
        index: usize,
        /// The tag.
        text: Arc<str>,
        /// What is wrong with it.
        reason: NameError,
    },
}

impl QueryError {
    /// The path in the query of what is wrong: `items`, `items[0].tags[2]`.
    pub fn path(&self) -> String {
        match self {
            Self::Items { .. } => "items".to_owned(),
            Self::Terms { item, .. } => format!("items[{item}]"),
            Self::Type { item, index, .. } => format!("items[{item}].types[{index}]"),
            Self::Tag { item, index, .. } => format!("items[{item}].tags[{index}]"),
        }
    }
}

impl Query {
    /// Events of this type.
    pub fn of_type(name: &str) -> Self {
        Self { items: vec![QueryItem { types: vec![name.into()], tags: Vec::new() }] }
    }

    /// Events with this tag.
    pub fn tagged(tag: &str) -> Self {
        Self { items: vec![QueryItem { types: Vec::new(), tags: vec![tag.into()] }] }
    }

    /// Checks the query and makes its keys.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn prepare(&self, terms: &Terms) -> Result<PreparedQuery, QueryError> {
        let items = self.items.len();
        if items == 0 || items > QUERY_ITEMS_MAX {
            return Err(QueryError::Items { items });
        }
        let items = self.items.iter().enumerate();
        let items = items.map(|(number, item)| item.prepare(number, terms)).collect::<Result<_, _>>()?;
        Ok(PreparedQuery { items })
    }
}

impl QueryItem {
    fn prepare(&self, item: usize, terms: &Terms) -> Result<PreparedItem, QueryError> {
        let count = self.types.len() + self.tags.len();
        if count == 0 || count > QUERY_TERMS_MAX {
            return Err(QueryError::Terms { item, terms: count });
        }
        for (index, text) in self.types.iter().enumerate() {
            let wrong = |reason| QueryError::Type { item, index, text: Arc::clone(text), reason };
            check_tag(text).map_err(wrong)?;
        }
        for (index, text) in self.tags.iter().enumerate() {
            let wrong = |reason| QueryError::Tag { item, index, text: Arc::clone(text), reason };
            check_tag(text).map_err(wrong)?;
        }
        let types = self.types.iter().map(|name| terms.type_name(name)).collect();
        let tags = self.tags.iter().map(|tag| terms.tag(tag)).collect();
        Ok(PreparedItem { types, tags })
    }
}

/// A query by its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedQuery {
    pub(crate) items: Vec<PreparedItem>,
}

/// An item by its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PreparedItem {
    pub(crate) types: Vec<TermKey>,
    pub(crate) tags: Vec<TermKey>,
}

impl PreparedQuery {
    /// Events of all streams of a category.
    pub fn of_category(name: &str, terms: &Terms) -> Self {
        // An event has its category among its keys, as it has its tags.
        Self { items: vec![PreparedItem { types: Vec::new(), tags: vec![terms.category(name)] }] }
    }

    /// Whether it finds this event.
    pub fn finds(&self, event: &RecordedEvent, terms: &Terms) -> bool {
        let keys = terms_of(event, terms);
        self.items.iter().any(|item| item.matches(&keys))
    }
}

impl PreparedItem {
    pub(crate) fn matches(&self, terms: &[TermKey]) -> bool {
        let is_type = self.types.is_empty() || self.types.iter().any(|key| terms.contains(key));
        is_type && self.tags.iter().all(|key| terms.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_any_type_and_all_tags() {
        let terms = Terms::new([7; 16]);
        let item = QueryItem { types: vec!["A".into(), "B".into()], tags: vec!["x".into(), "y".into()] };
        let query = Query { items: vec![item] }.prepare(&terms).unwrap();
        let event = |kind: &str, tags: &[&str]| {
            let mut keys = vec![terms.type_name(kind)];
            keys.extend(tags.iter().map(|tag| terms.tag(tag)));
            keys
        };
        assert!(query.items[0].matches(&event("A", &["y", "x", "z"])));
        assert!(query.items[0].matches(&event("B", &["x", "y"])));
        assert!(!query.items[0].matches(&event("C", &["x", "y"])));
        assert!(!query.items[0].matches(&event("A", &["x"])));
    }

    #[test]
    fn empty_and_endless_queries_are_refused() {
        let terms = Terms::new([7; 16]);
        assert_eq!(Query::default().prepare(&terms), Err(QueryError::Items { items: 0 }));
        let empty = Query { items: vec![QueryItem::default()] };
        assert_eq!(empty.prepare(&terms), Err(QueryError::Terms { item: 0, terms: 0 }));
        let many = Query { items: vec![Query::tagged("x").items[0].clone(); 65] };
        assert_eq!(many.prepare(&terms), Err(QueryError::Items { items: 65 }));
        let wrong = Query::tagged("").prepare(&terms).unwrap_err();
        assert!(matches!(wrong, QueryError::Tag { .. }));
        assert_eq!(wrong.path(), "items[0].tags[0]");
    }
}
