//! The read side: three tables that follow the events.

use annals::projection::{Applied, SqliteProjection, Tables};
use annals::rusqlite::Transaction;
use annals::{Envelope, Time};

use crate::OrderEvent;

/// Order summary, customer orders and daily revenue.
///
/// All three are changed in the transaction that also keeps the place, so they always tell of the same moment.
pub struct ReadModels;

impl SqliteProjection for ReadModels {
    type Event = OrderEvent;
    const NAME: &'static str = "orders";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["order_summary", "customer_orders", "daily_revenue"];

    fn create(&mut self, transaction: &Transaction<'_>, tables: &Tables) -> Applied {
        let (summary, customers) = (tables.name("order_summary"), tables.name("customer_orders"));
        let revenue = tables.name("daily_revenue");
        transaction.execute_batch(&format!(
            "CREATE TABLE {summary} (id TEXT PRIMARY KEY, customer TEXT, status TEXT, items INTEGER, total INTEGER);
             CREATE TABLE {customers} (customer TEXT, id TEXT, placed_ms INTEGER, PRIMARY KEY (customer, id));
             CREATE TABLE {revenue} (day TEXT PRIMARY KEY, orders INTEGER, cents INTEGER);"
        ))?;
        Ok(())
    }

    fn apply(
        &mut self,
        transaction: &Transaction<'_>,
        tables: &Tables,
        event: &Envelope<OrderEvent>,
    ) -> Applied {
        let id = event.stream.id().unwrap_or_default();
        match &event.event {
            OrderEvent::OrderCreated { customer, items, total } => {
                let summary = format!(
                    "INSERT INTO {} VALUES (?1, ?2, 'PENDING', ?3, ?4)",
                    tables.name("order_summary")
                );
                let count: u32 = items.iter().map(|item| item.quantity).sum();
                transaction.execute(&summary, (id, customer, count, *total as i64))?;
                let orders = format!("INSERT INTO {} VALUES (?1, ?2, ?3)", tables.name("customer_orders"));
                transaction.execute(&orders, (customer, id, event.recorded_ms))?;
                Ok(())
            }
            OrderEvent::OrderPaid { amount } => {
                set_status(transaction, tables, id, "PAID")?;
                add_revenue(transaction, tables, &event.recorded_at(), 1, *amount as i64)
            }
            OrderEvent::OrderShipped {} => set_status(transaction, tables, id, "SHIPPED"),
            OrderEvent::OrderDelivered {} => set_status(transaction, tables, id, "DELIVERED"),
            OrderEvent::OrderCancelled { refund } => {
                set_status(transaction, tables, id, "CANCELLED")?;
                add_revenue(transaction, tables, &event.recorded_at(), 0, -(*refund as i64))
            }
        }
    }
}

fn set_status(transaction: &Transaction<'_>, tables: &Tables, id: &str, status: &str) -> Applied {
    let sql = format!("UPDATE {} SET status = ?2 WHERE id = ?1", tables.name("order_summary"));
    transaction.execute(&sql, (id, status))?;
    Ok(())
}

fn add_revenue(
    transaction: &Transaction<'_>,
    tables: &Tables,
    at: &Time,
    orders: i64,
    cents: i64,
) -> Applied {
    let sql = format!(
        "INSERT INTO {} VALUES (?1, ?2, ?3)
         ON CONFLICT (day) DO UPDATE SET orders = orders + ?2, cents = cents + ?3",
        tables.name("daily_revenue")
    );
    let day = at.as_str().split('T').next().unwrap_or_default();
    transaction.execute(&sql, (day, orders, cents))?;
    Ok(())
}
