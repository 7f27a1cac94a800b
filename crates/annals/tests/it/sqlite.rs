//! Read models in SQLite.

mod kills;

use std::path::Path;
use std::time::Duration;

use annals::projection::{
    Applied, ModelError, Phase, ProjectionError, ProjectionOptions, SqliteModel, SqliteProjection, Tables,
    WaitError,
};
use annals::rusqlite::{Connection, Transaction};
use annals::store::Position;
use annals::{Envelope, EventStore};

use super::account::{Account, AccountEvent, Command, open, store};

/// What each customer has. The second version counts the events as well.
pub(crate) struct Balances<const VERSION: u32>;

impl<const VERSION: u32> SqliteProjection for Balances<VERSION> {
    type Event = AccountEvent;
    const NAME: &'static str = "balances";
    const VERSION: u32 = VERSION;
    const TABLES: &'static [&'static str] = &["balances"];

    fn create(&mut self, transaction: &Transaction<'_>, tables: &Tables) -> Applied {
        let more = if VERSION >= 2 { ", events INTEGER NOT NULL DEFAULT 0" } else { "" };
        let table = tables.name("balances");
        transaction.execute_batch(&format!(
            "CREATE TABLE {table} (customer TEXT PRIMARY KEY, total INTEGER{more})"
        ))?;
        Ok(())
    }

    fn apply(
        &mut self,
        transaction: &Transaction<'_>,
        tables: &Tables,
        event: &Envelope<AccountEvent>,
    ) -> Applied {
        let (customer, amount) = match &event.event {
            AccountEvent::Opened { customer } => (customer, 0),
            AccountEvent::Deposited { amount: 666, .. } => panic!("no such number"),
            AccountEvent::Deposited { amount: 13, .. } => return Err("unlucky".into()),
            AccountEvent::Deposited { amount, customer } => (customer, *amount),
            AccountEvent::Withdrawn { amount, customer } => (customer, -amount),
        };
        let table = tables.name("balances");
        let sql = format!(
            "INSERT INTO {table} (customer, total) VALUES (?1, ?2) ON CONFLICT (customer) DO UPDATE SET total = total + ?2"
        );
        transaction.execute(&sql, (customer, amount))?;
        if VERSION >= 2 {
            transaction.execute(
                &format!("UPDATE {table} SET events = events + 1 WHERE customer = ?1"),
                [customer],
            )?;
        }
        Ok(())
    }
}

fn model<const VERSION: u32>(path: &Path) -> SqliteModel<Balances<VERSION>> {
    SqliteModel::new(path, Balances::<VERSION>)
}

pub(crate) fn total(path: &Path, customer: &str) -> i64 {
    let connection = Connection::open(path).unwrap();
    connection
        .query_row("SELECT total FROM balances WHERE customer = ?1", [customer], |row| row.get(0))
        .unwrap()
}

async fn head(store: &EventStore) -> Position {
    store.head().await.unwrap().unwrap()
}

fn eager() -> ProjectionOptions {
    ProjectionOptions { pause: Duration::from_millis(5), batch_events_max: 7, ..Default::default() }
}

#[tokio::test]
async fn the_read_model_follows_and_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.db");
    let store = store().await;
    open(&store, "1", "C1", &[1; 50]).await;
    for round in 1..4 {
        let projection = store.project_with(model::<1>(&path), eager());
        let done = store.execute::<Account>("1", Command::Deposit(100)).await.unwrap();
        projection.wait_for(done.position.unwrap()).await.unwrap();
        assert_eq!(total(&path, "C1"), 50 + round * 100);
        projection.stop().await;
    }
}

#[tokio::test]
async fn a_new_version_is_built_beside_the_old_one_and_takes_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.db");
    let store = store().await;
    open(&store, "1", "C1", &[1; 50]).await;
    let old = store.project_with(model::<1>(&path), eager());
    old.wait_for(head(&store).await).await.unwrap();
    let columns = || {
        let connection = Connection::open(&path).unwrap();
        connection.prepare("SELECT * FROM balances").unwrap().column_count()
    };
    assert_eq!(columns(), 2);
    let new = store.project_with(model::<2>(&path), eager());
    new.wait_for(head(&store).await).await.unwrap();
    assert_eq!((columns(), total(&path, "C1")), (3, 50));
    // The old one finds that it is over; an old program that starts again does as well.
    let done = store.execute::<Account>("1", Command::Deposit(1)).await.unwrap().position.unwrap();
    new.wait_for(done).await.unwrap();
    let again = store.project_with(model::<1>(&path), eager());
    for projection in [&old, &again] {
        let WaitError::Stopped(error) = projection.wait_for(done).await.unwrap_err();
        assert!(matches!(&*error.unwrap(), ProjectionError::Model(ModelError::Superseded { version: 2 })));
        assert_eq!(projection.status().phase, Phase::Superseded);
    }
    assert_eq!(total(&path, "C1"), 51);
    let connection = Connection::open(&path).unwrap();
    let left: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master WHERE name = 'balances_v1'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0, "what the old version leaves behind is dropped");
}

#[tokio::test]
async fn a_failure_rolls_its_batch_back_and_is_told() {
    for (amount, message) in [(666, "it panicked: no such number"), (13, "unlucky")] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("models.db");
        let store = store().await;
        open(&store, "1", "C1", &[1, 2]).await;
        let projection = store.project(model::<1>(&path));
        projection.wait_for(head(&store).await).await.unwrap();
        store.execute::<Account>("1", Command::DepositEach(vec![5, amount, 6])).await.unwrap();
        let WaitError::Stopped(error) = projection.wait_for(head(&store).await).await.unwrap_err();
        let error = error.unwrap();
        assert_eq!(error.position(), Some(Position(4)));
        let source = std::error::Error::source(&*error).map(ToString::to_string).unwrap_or_default();
        assert!(format!("{error} {source}").contains(message), "{error} {source}");
        assert_eq!(total(&path, "C1"), 3, "nothing of the batch is there");
        projection.stop().await;
        // A program that knows what to do goes on where it was.
        let options = ProjectionOptions { skip_failures: true, ..eager() };
        let repaired = store.project_with(model::<1>(&path), options);
        repaired.wait_for(head(&store).await).await.unwrap();
        assert_eq!(total(&path, "C1"), 14);
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("not-yet");
    let path = place.join("models.db");
    let store = store().await;
    open(&store, "1", "C1", &[1; 20]).await;
    let projection = store.project_with(model::<1>(&path), eager());
    while projection.status().phase != Phase::Waiting {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(projection.status().error.unwrap().to_string(), "the read model's database is not available");
    std::fs::create_dir(&place).unwrap();
    projection.wait_for(head(&store).await).await.unwrap();
    assert_eq!((total(&path, "C1"), projection.status().error.is_none()), (20, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_model_apply_each_event_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.db");
    let store = store().await;
    open(&store, "1", "C1", &[1; 200]).await;
    let (one, two) =
        (store.project_with(model::<1>(&path), eager()), store.project_with(model::<1>(&path), eager()));
    for _ in 0..50 {
        store.execute::<Account>("1", Command::Deposit(1)).await.unwrap();
    }
    let head = head(&store).await;
    let (first, second) = tokio::join!(one.wait_for(head), two.wait_for(head));
    first.unwrap();
    second.unwrap();
    assert_eq!(total(&path, "C1"), 250);
}

#[tokio::test]
async fn a_projection_stands_still_while_paused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.db");
    let store = store().await;
    open(&store, "1", "C1", &[1]).await;
    let projection = store.project(model::<1>(&path));
    projection.wait_for(head(&store).await).await.unwrap();
    projection.pause().await;
    let done = store.execute::<Account>("1", Command::Deposit(1)).await.unwrap().position.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!((projection.status().phase, total(&path, "C1")), (Phase::Paused, 1));
    projection.resume();
    projection.wait_for(done).await.unwrap();
    assert_eq!(total(&path, "C1"), 2);
}
