//! Read models in PostgreSQL: a server of its own for each test, where PostgreSQL is installed.

mod server;

use std::process::{Command as Process, Stdio};
use std::time::Duration;

use annals::projection::{
    Applied, ModelError, Phase, PostgresModel, PostgresProjection, ProjectionError, ProjectionOptions,
    Tables, WaitError,
};
use annals::store::Position;
use annals::tokio_postgres::{Client, Transaction};
use annals::{Clock, Envelope, EventStore};

use super::account::{Account, AccountEvent, Command, open, store};
use server::Server;

struct Balances<const VERSION: u32>;

impl<const VERSION: u32> PostgresProjection for Balances<VERSION> {
    type Event = AccountEvent;
    const NAME: &'static str = "balances";
    const VERSION: u32 = VERSION;
    const TABLES: &'static [&'static str] = &["balances"];

    async fn create(&mut self, transaction: &Transaction<'_>, tables: &Tables) -> Applied {
        let more = if VERSION >= 2 { ", events bigint NOT NULL DEFAULT 0" } else { "" };
        let table = tables.name("balances");
        transaction
            .batch_execute(&format!("CREATE TABLE {table} (customer text PRIMARY KEY, total bigint{more})"))
            .await?;
        Ok(())
    }

    async fn apply(
        &mut self,
        transaction: &Transaction<'_>,
        tables: &Tables,
        event: &Envelope<AccountEvent>,
    ) -> Applied {
        let (customer, amount) = match &event.event {
            AccountEvent::Opened { customer } => (customer, 0),
            AccountEvent::Deposited { amount: 666, .. } => panic!("no such number"),
            AccountEvent::Deposited { amount, customer } => (customer, *amount),
            AccountEvent::Withdrawn { amount, customer } => (customer, -amount),
        };
        let table = tables.name("balances");
        let sql = format!(
            "INSERT INTO {table} AS b (customer, total) VALUES ($1, $2)
             ON CONFLICT (customer) DO UPDATE SET total = b.total + $2"
        );
        transaction.execute(&sql, &[customer, &amount]).await?;
        Ok(())
    }
}

fn model<const VERSION: u32>(config: &str) -> PostgresModel<Balances<VERSION>> {
    PostgresModel::new(config, Balances::<VERSION>).unwrap()
}

fn eager() -> ProjectionOptions {
    ProjectionOptions { pause: Duration::from_millis(5), batch_events_max: 7, ..Default::default() }
}

async fn head(store: &EventStore) -> Position {
    store.head().await.unwrap().unwrap()
}

async fn total(client: &Client, table: &str) -> i64 {
    let sql = format!("SELECT total FROM {table} WHERE customer = 'C1'");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_read_model_follows_a_server_that_goes_and_returns() {
    let Some(mut server) = Server::start().await else { return };
    let store = store().await;
    open(&store, "1", "C1", &[1; 100]).await;
    let projection = store.project_with(model::<1>(&server.config), eager());
    projection.wait_for(head(&store).await).await.unwrap();
    for _ in 0..2 {
        server.stop().await;
        let done = store.execute::<Account>("1", Command::Deposit(1)).await.unwrap().position.unwrap();
        while projection.status().phase != Phase::Waiting {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server.resume().await;
        projection.wait_for(done).await.unwrap();
    }
    assert_eq!(total(&server.client().await, "balances").await, 102);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_failures_and_rivals() {
    let Some(server) = Server::start().await else { return };
    let client = server.client().await;
    let store = store().await;
    open(&store, "1", "C1", &[1; 50]).await;
    let (old, rival) = (
        store.project_with(model::<1>(&server.config), eager()),
        store.project_with(model::<1>(&server.config), eager()),
    );
    let at = head(&store).await;
    let (first, second) = tokio::join!(old.wait_for(at), rival.wait_for(at));
    first.unwrap();
    second.unwrap();
    assert_eq!(total(&client, "balances").await, 50, "two processes apply each event once");

    let new = store.project_with(model::<2>(&server.config), eager());
    new.wait_for(at).await.unwrap();
    client.query("SELECT events FROM balances", &[]).await.expect("the view shows the second version");
    let done = store.execute::<Account>("1", Command::Deposit(1)).await.unwrap().position.unwrap();
    new.wait_for(done).await.unwrap();
    let WaitError::Stopped(error) = old.wait_for(done).await.unwrap_err();
    assert!(matches!(&*error.unwrap(), ProjectionError::Model(ModelError::Superseded { version: 2 })));

    store.execute::<Account>("1", Command::DepositEach(vec![5, 666, 6])).await.unwrap();
    let WaitError::Stopped(error) = new.wait_for(head(&store).await).await.unwrap_err();
    assert_eq!(
        error.unwrap().to_string(),
        "the projection failed at position 53: it panicked: no such number"
    );
    assert_eq!(total(&client, "balances").await, 51, "nothing of the batch is there");
}

const CONFIG: &str = "ANNALS_TEST_POSTGRES_CONFIG";
const EVENTS: usize = 3000;

/// The nth amount.
fn amount(number: usize) -> i64 {
    1000 + (number as i64 * 7919) % 101
}

/// Not a test of its own: what the test below starts.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(config) = std::env::var(CONFIG) else { return };
    let store = store().await;
    let amounts: Vec<i64> = (0..EVENTS).map(amount).collect();
    open(&store, "1", "C1", &amounts).await;
    let projection = store.project_with(model::<1>(&config), eager());
    projection.wait_for(head(&store).await).await.unwrap();
}

fn start(config: &str) -> std::process::Child {
    let mut process = Process::new(std::env::current_exe().unwrap());
    process.args(["--exact", "postgres::the_process_that_is_killed"]).env(CONFIG, config);
    process.stdout(Stdio::null()).spawn().unwrap()
}

/// The checkpoint, and the total that is kept beside it.
async fn read(client: &Client) -> Option<(i64, i64)> {
    let sql =
        "SELECT position, (SELECT total FROM balances_v1 WHERE customer = 'C1') FROM annals_projections";
    let row = client.query_opt(sql, &[]).await.ok()??;
    Some((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_nothing_is_lost_or_applied_twice() {
    let Some(server) = Server::start().await else { return };
    let client = server.client().await;
    let (clock, _) = Clock::manual(0, 12);
    let mut progress = Vec::new();
    for _ in 0..12 {
        let mut process = start(&server.config);
        tokio::time::sleep(Duration::from_millis(50 + clock.random() % 250)).await;
        process.kill().unwrap();
        process.wait().unwrap();
        if let Some((position, total)) = read(&client).await {
            // The opening is at position 0.
            let expected: i64 = (0..position as usize).map(amount).sum();
            assert_eq!(total, expected, "at position {position}");
            progress.push(position);
        }
    }
    assert!(progress.is_sorted(), "{progress:?}");
    assert!(start(&server.config).wait().unwrap().success());
    assert_eq!(read(&client).await, Some((EVENTS as i64, (0..EVENTS).map(amount).sum())));
}
