//! A table of balances, for everybody who asks in SQL.

use annals::Envelope;
use annals::projection::{Applied, SqliteProjection, Tables};
use annals::rusqlite::Transaction;

use crate::account::AccountEvent;

pub struct Balances;

impl SqliteProjection for Balances {
    type Event = AccountEvent;
    const NAME: &'static str = "balances";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["balances"];

    fn create(&mut self, transaction: &Transaction<'_>, tables: &Tables) -> Applied {
        let balances = tables.name("balances");
        let sql = format!("CREATE TABLE {balances} (account TEXT PRIMARY KEY, cents INTEGER NOT NULL)");
        transaction.execute_batch(&sql)?;
        Ok(())
    }

    fn apply(
        &mut self,
        transaction: &Transaction<'_>,
        tables: &Tables,
        event: &Envelope<AccountEvent>,
    ) -> Applied {
        let cents = match event.event {
            AccountEvent::Opened { .. } => 0,
            AccountEvent::Deposited { cents } => cents,
            AccountEvent::Withdrawn { cents } => -cents,
        };
        let balances = tables.name("balances");
        let sql = format!(
            "INSERT INTO {balances} VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE SET cents = cents + ?2"
        );
        transaction.execute(&sql, (event.stream.id(), cents))?;
        Ok(())
    }
}
