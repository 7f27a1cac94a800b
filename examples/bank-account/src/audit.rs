//! Questions of an auditor.

use annals::store::{Query, Read, Revision, StreamName};
use annals::{Envelope, EventStore, ReadEventsError, Time};

use crate::{AccountEvent, Dollars};

/// Money that went in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its place in the account's history, from 0.
    pub revision: Revision,
    /// When it was recorded, in milliseconds since the Unix epoch.
    pub recorded_ms: i64,
    /// `DepositMade` or `WithdrawalMade`.
    pub name: String,
    /// How much.
    pub amount: Dollars,
}

/// All deposits and withdrawals of `account` over `more_than` dollars, from `since` until `until`.
///
/// # Errors
/// If the events cannot be read.
pub async fn large_transactions(
    store: &EventStore,
    account: StreamName,
    since: &Time,
    until: &Time,
    more_than: Dollars,
) -> Result<Vec<Transaction>, ReadEventsError> {
    let types = Query::types(["DepositMade", "WithdrawalMade"]);
    let events = store.read(Read::stream(account).matching(types).since(since).until(until)).await?;
    let transactions = events.into_iter().filter_map(transaction);
    Ok(transactions.filter(|transaction| transaction.amount > more_than).collect())
}

fn transaction(event: Envelope<AccountEvent>) -> Option<Transaction> {
    use AccountEvent::{DepositMade, WithdrawalMade};
    let (DepositMade { amount, .. } | WithdrawalMade { amount, .. }) = event.event else { return None };
    Some(Transaction { revision: event.revision, recorded_ms: event.recorded_ms, name: event.name, amount })
}
