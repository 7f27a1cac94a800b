//! The program of the tutorial in docs/tutorial-event-sourcing.md.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it is what a first program looks like"
)]

mod account;
mod balances;

use account::{Account, AccountEvent, Command};
use annals::projection::SqliteModel;
use annals::rusqlite::Connection;
use annals::store::{Read, StreamName};
use annals::{Annals, SnapshotPolicy};
use balances::Balances;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let annals = Annals::open("./data").await?;
    let store = annals
        .store("bank")
        .events::<AccountEvent>()
        .snapshots::<Account>(SnapshotPolicy::every_events(100))
        .await?;

    let commands = [
        ("open", Command::Open { customer: "Ada".into() }),
        ("salary", Command::Deposit { cents: 100_000 }),
        ("rent", Command::Withdraw { cents: 60_000 }),
    ];
    for (key, command) in commands {
        let done = store.execute::<Account>("123", command).idempotency_key(key).await?;
        println!("{key}: {} cents", done.state.cents);
    }

    let refused = store.execute::<Account>("123", Command::Withdraw { cents: 60_000 }).await;
    println!("once more: {}", refused.unwrap_err());

    let before_rent = store.load::<Account>("123").at_revision(1).await?;
    println!("before the rent: {} cents", before_rent.state.cents);

    let history = store.read::<AccountEvent>(Read::stream(StreamName::of("account", "123")?)).await?;
    for event in history {
        println!("{} {}", event.revision, event.name);
    }

    let projection = store.project(SqliteModel::new("balances.db", Balances));
    let bonus =
        store.execute::<Account>("123", Command::Deposit { cents: 5_000 }).idempotency_key("bonus").await?;
    if let Some(position) = bonus.position {
        projection.wait_for(position).await?;
    }
    let database = Connection::open("balances.db")?;
    let cents: i64 =
        database.query_row("SELECT cents FROM balances WHERE account = '123'", [], |row| row.get(0))?;
    println!("in the table: {cents} cents");

    projection.stop().await;
    annals.close().await;
    Ok(())
}
