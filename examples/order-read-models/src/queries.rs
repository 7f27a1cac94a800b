//! What readers ask. They know the views and nothing of events.

use std::path::Path;

use annals::rusqlite::{Connection, OptionalExtension, Result};

/// One order at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whose it is.
    pub customer: String,
    /// `PENDING`, `PAID`, `SHIPPED`, `DELIVERED` or `CANCELLED`.
    pub status: String,
    /// How many things are in it.
    pub items: u32,
    /// What it costs, in cents.
    pub total: i64,
}

/// A reader's connection.
pub struct Queries {
    connection: Connection,
}

impl Queries {
    /// Reads from the file at `path`.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { connection: Connection::open(path)? })
    }

    /// One order.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn order(&self, id: &str) -> Result<Option<Summary>> {
        let sql = "SELECT customer, status, items, total FROM order_summary WHERE id = ?1";
        let summary = |row: &annals::rusqlite::Row<'_>| {
            Ok(Summary { customer: row.get(0)?, status: row.get(1)?, items: row.get(2)?, total: row.get(3)? })
        };
        self.connection.query_row(sql, [id], summary).optional()
    }

    /// The orders of a customer, the latest first.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn of_customer(&self, customer: &str) -> Result<Vec<String>> {
        let sql = "SELECT id FROM customer_orders WHERE customer = ?1 ORDER BY placed_ms DESC, id DESC";
        self.connection.prepare(sql)?.query_map([customer], |row| row.get(0))?.collect()
    }

    /// Day, paid orders and cents, from the first day on.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn revenue(&self) -> Result<Vec<(String, i64, i64)>> {
        let sql = "SELECT day, orders, cents FROM daily_revenue ORDER BY day";
        let row = |row: &annals::rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        self.connection.prepare(sql)?.query_map([], row)?.collect()
    }
}
