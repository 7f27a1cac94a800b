//! Field tables: arguments, headers, properties of clients.
//!
//! A table stays the bytes that came, so that what a client set is what another client gets, to the byte: duplicate
//! keys, their order and the types of numbers included. It is checked once, when it comes in; reading it later cannot fail.

use bytes::{BufMut, Bytes, BytesMut};

use super::Malformed;
use super::cursor::{Cursor, put_text};
use super::text::{TEXT_BYTES_MAX, Text};
use super::value::Value;

/// Tables within tables, at most.
pub(crate) const DEPTH_MAX: usize = 16;

/// A table's content, without the length in front.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Table(Bytes);

impl Table {
    /// Checks a table and everything in it.
    pub(crate) fn from_wire(bytes: Bytes) -> Result<Self, Malformed> {
        let table = Self(bytes);
        table.check(DEPTH_MAX)?;
        Ok(table)
    }

    /// A part of a table that is checked as a whole.
    pub(super) fn unchecked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// A table of these entries.
    pub(crate) fn from_entries<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let mut out = BytesMut::new();
        entries.into_iter().for_each(|(name, value)| put_entry(&mut out, name, &value));
        Self(out.freeze())
    }

    /// A table of names that are any bytes; one that is too long to be a name is cut.
    pub(crate) fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a [u8], Value)>) -> Self {
        let mut out = BytesMut::new();
        for (name, value) in pairs {
            let name = &name[..name.len().min(TEXT_BYTES_MAX)];
            out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.put_slice(name);
            value.write(&mut out);
        }
        Self(out.freeze())
    }

    pub(crate) fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries in the order in which they came.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Text, Value)> {
        let mut cursor = Cursor::new(self.0.clone());
        std::iter::from_fn(move || Some((cursor.text().ok()?, Value::read(&mut cursor).ok()?)))
    }

    /// The first value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        self.entries().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
    }

    /// The string of this name.
    pub(crate) fn get_string(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|value| value.as_str().map(str::to_owned))
    }

    /// Whether this name is set to true.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    /// This table, with these names set anew, or taken out where there is no value.
    pub(crate) fn with(&self, changes: &[(&str, Option<Value>)]) -> Self {
        let mut out = BytesMut::with_capacity(self.0.len() + 64);
        for (name, value) in self.entries() {
            if !changes.iter().any(|(changed, _)| *changed == name.as_str()) {
                put_entry(&mut out, &name, &value);
            }
        }
        for (name, value) in changes {
            if let Some(value) = value {
                put_entry(&mut out, name, value);
            }
        }
        Self(out.freeze())
    }

    fn check(&self, depth: usize) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(self.0.clone());
        while !cursor.is_empty() {
            cursor.text()?;
            check_value(&mut cursor, depth)?;
        }
        Ok(())
    }
}

fn check_value(cursor: &mut Cursor, depth: usize) -> Result<(), Malformed> {
    let inner = depth.checked_sub(1).ok_or(Malformed::Depth);
    match Value::read(cursor)? {
        Value::Table(table) => table.check(inner?),
        Value::Array(bytes) => {
            let (mut cursor, inner) = (Cursor::new(bytes), inner?);
            while !cursor.is_empty() {
                check_value(&mut cursor, inner)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn put_entry(out: &mut BytesMut, name: &str, value: &Value) {
    put_text(out, &Text::cut(name));
    value.write(out);
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.entries()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_types() -> Vec<(&'static str, Value)> {
        vec![
            ("t", Value::Bool(true)),
            ("b", Value::I8(-1)),
            ("B", Value::U8(200)),
            ("s", Value::I16(-2)),
            ("u", Value::U16(40_000)),
            ("I", Value::I32(-3)),
            ("i", Value::U32(4_000_000_000)),
            ("l", Value::I64(-4)),
            ("f", Value::F32(1.5)),
            ("d", Value::F64(-2.5)),
            ("D", Value::Decimal(2, 314)),
            ("S", Value::string("grüße")),
            ("A", Value::array([Value::Void, Value::string("x")])),
            ("T", Value::Timestamp(1_700_000_000)),
            ("F", Value::Table(Table::from_entries([("inner", Value::I32(1))]))),
            ("x", Value::Bytes(Bytes::from_static(b"\0\xff"))),
            ("V", Value::Void),
        ]
    }

    #[test]
    fn every_type_comes_back() {
        let table = Table::from_entries(all_types());
        let table = Table::from_wire(table.as_bytes().clone()).expect("well formed");
        let entries: Vec<_> = table.entries().collect();
        let names = entries.iter().map(|(name, _)| name.as_str());
        assert!(names.eq(all_types().iter().map(|(name, _)| *name)));
        assert!(
            entries.into_iter().map(|(_, value)| value).eq(all_types().into_iter().map(|(_, value)| value))
        );
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let table = Table::from_entries([("k", Value::string("v")), ("n", Value::I32(258))]);
        assert_eq!(table.as_bytes(), &b"\x01kS\0\0\0\x01v\x01nI\0\0\x01\x02"[..]);
    }

    #[test]
    fn duplicate_keys_stay_and_the_first_one_counts() {
        let table = Table::from_entries([("k", Value::I32(1)), ("k", Value::I32(2))]);
        assert_eq!((table.entries().count(), table.get("k")), (2, Some(Value::I32(1))));
    }

    #[test]
    fn changes_leave_the_rest_alone() {
        let table = Table::from_entries([("a", Value::I32(1)), ("b", Value::I32(2))]);
        let changed = table.with(&[("a", None), ("c", Some(Value::Bool(false)))]);
        let names: Vec<_> = changed.entries().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["b", "c"]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let check = |bytes: &'static [u8]| Table::from_wire(Bytes::from_static(bytes)).map(drop);
        assert_eq!(check(b"\x01kS\0\0\0\x09v"), Err(Malformed::Short));
        assert_eq!(check(b"\x01k?"), Err(Malformed::Type('?')));
        assert_eq!(check(b"\x05k"), Err(Malformed::Short));
        assert_eq!(check(b"\x01kF\0\0\0\x02\x01k"), Err(Malformed::Short), "within a table");
        assert_eq!(check(b"\x01kA\0\0\0\x01?"), Err(Malformed::Type('?')), "within an array");
    }

    #[test]
    fn nesting_has_an_end() {
        let nest = |depth| {
            let inner = Table::default();
            (0..depth).fold(inner, |table, _| Table::from_entries([("k", Value::Table(table))]))
        };
        Table::from_wire(nest(DEPTH_MAX).as_bytes().clone()).expect("not too deep");
        assert_eq!(Table::from_wire(nest(DEPTH_MAX + 1).as_bytes().clone()), Err(Malformed::Depth));
    }
}
