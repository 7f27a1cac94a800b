//! The names of a read model's tables in a database.
//!
//! Each version of a model has tables of its own, `orders_v2`, and readers ask the view `orders`, which shows those of the
//! active version. So a new version is built beside the old one, and becoming active is one transaction that replaces views.
//! The same goes for a version that is built anew: the tables of its generation 7 are `orders_v2_g7`.

use std::fmt;

/// The longest name of a table, so that a version fits behind it everywhere.
const TABLE_BYTES_MAX: usize = 48;
/// The table in which checkpoints are kept.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) const CHECKPOINTS: &str = "annals_projections";

/// The tables of one version of a read model.
///
/// ```
/// use annals::projection::Tables;
///
/// let tables = Tables::new(&["orders", "order_lines"], 2)?;
/// assert_eq!(tables.name("orders"), "orders_v2");
/// # Ok::<(), annals::projection::InvalidTable>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tables {
    names: Vec<&'static str>,
    version: u32,
    generation: u64,
}

/// A name that no table can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTable {
    name: &'static str,
}

impl fmt::Display for InvalidTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the name of a table has 1 to {TABLE_BYTES_MAX} lower-case letters, digits and `_` and begins with a letter: {:?}",
            self.name
        )
    }
}

impl std::error::Error for InvalidTable {}

impl Tables {
    /// The tables of a version.
    ///
    /// # Errors
    /// If a name is not good for a table.
    pub fn new(names: &[&'static str], version: u32) -> Result<Self, InvalidTable> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit();
        let valid = |name: &&&'static str| {
            name.len() <= TABLE_BYTES_MAX
                && name.starts_with(|first: char| first.is_ascii_lowercase())
                && name.bytes().all(letter)
        };
        match names.iter().find(|name| !valid(name)) {
            None => Ok(Self { names: names.to_vec(), version, generation: 0 }),
            Some(name) => Err(InvalidTable { name }),
        }
    }

    /// The name of this version's table for what readers call `name`.
    pub fn name(&self, name: &str) -> String {
        match self.generation {
            0 => format!("{name}_v{}", self.version),
            generation => format!("{name}_v{}_g{generation}", self.version),
        }
    }

    /// The tables of another generation of this version: it was built anew.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(super) fn of_generation(self, generation: u64) -> Self {
        Self { generation, ..self }
    }

    /// What readers call them.
    pub fn views(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().copied()
    }

    /// All tables of this version, as they are kept beside its checkpoint.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(super) fn list(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| self.name(name)).collect();
        names.join(",")
    }
}

/// Positions are stored as the signed numbers that databases have.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) fn to_stored(position: crate::store::Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) fn from_stored(position: Option<i64>) -> Option<crate::store::Position> {
    position.and_then(|position| u64::try_from(position).ok()).map(crate::store::Position)
}

#[cfg(test)]
mod tests {
    use super::Tables;

    #[test]
    fn names_that_need_quotes_are_refused() {
        assert!(Tables::new(&["orders", "order_2"], 1).is_ok());
        let long: &'static str = "a234567890123456789012345678901234567890123456789";
        for name in ["", "Orders", "2orders", "order-lines", "orders; drop table x", "_o", long] {
            assert!(Tables::new(&[name], 1).is_err(), "{name}");
        }
    }
}
