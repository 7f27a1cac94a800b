//! Projections that are watched and ordered about through the store, as other processes do it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals::projection::{
    Phase, ProjectionOptions, ProjectionReport, Reaction, ReactionError, Reports, SqliteModel, StartAt,
};
use annals::rusqlite::Connection;
use annals::store::Read;
use annals::{Envelope, EventStore};

use super::account::{Account, AccountEvent, Command, open, store};
use super::live::Total;
use super::sqlite::{Balances, total};

fn eager() -> ProjectionOptions {
    let (pause, reports) = (Duration::from_millis(5), Reports::Every(Duration::from_millis(10)));
    ProjectionOptions { pause, reports, batch_events_max: 7, ..Default::default() }
}

fn model(path: &Path) -> SqliteModel<Balances<1>> {
    SqliteModel::new(path, Balances::<1>)
}

async fn deposit(store: &EventStore, amount: i64) -> annals::store::Position {
    store.execute::<Account>("1", Command::Deposit(amount)).await.unwrap().position.unwrap()
}

/// Waits until the reports say so.
async fn reported(
    store: &EventStore,
    name: &str,
    holds: impl Fn(&ProjectionReport) -> bool,
) -> ProjectionReport {
    for _ in 0..4000 {
        let reports = store.projections().await.unwrap();
        if let Some(report) = reports.into_iter().find(|report| report.name == name && holds(report)) {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{name} never reported that: {:?}", store.projections().await.unwrap());
}

/// Waits until nothing is said for a while.
async fn quiet(store: &EventStore) {
    for _ in 0..100 {
        let before = store.head().await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        if store.head().await.unwrap() == before {
            return;
        }
    }
    panic!("nothing changes, and still something is said");
}

#[tokio::test]
async fn a_projection_says_where_it_stands_and_then_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.db");
    let store = store().await;
    open(&store, "1", "C1", &[1, 2]).await;
    let projection = store.project_with(model(&path), eager());
    let last = deposit(&store, 3).await;
    let live = |report: &ProjectionReport| report.phase == Phase::Live && report.position >= Some(last);
    let report = reported(&store, "balances", live).await;
    assert_eq!((report.version, report.generation, report.serves), (1, 0, true));
    assert_eq!((report.error, report.rebuild), (None, None));
    // Another one that reports to the same store does not keep the first one talking, nor itself.
    let view = store.live_with::<Total>(eager());
    view.ready().await.unwrap();
    quiet(&store).await;
    projection.stop().await;
    reported(&store, "balances", |report| report.phase == Phase::Ended).await;
    // None of that is an event of users.
    assert_eq!(store.raw().read(Read::all()).await.unwrap().events.len(), 4);
}

#[tokio::test]
async fn a_failure_is_reported_with_its_place_and_resumed_from_outside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.db");
    let store = store().await;
    open(&store, "1", "C1", &[1]).await;
    let projection = store.project_with(model(&path), eager());
    projection.ready().await.unwrap();
    let unlucky = deposit(&store, 13).await;
    let report = reported(&store, "balances", |report| report.phase == Phase::Stopped).await;
    assert_eq!(report.error_position, Some(unlucky));
    assert!(report.error.unwrap().ends_with("unlucky"));
    store.resume_projection("balances").await.unwrap();
    // It tries again and fails again: that it has tried is seen in a second look at the same event.
    reported(&store, "balances", |report| report.phase == Phase::Stopped).await;
    assert_eq!(total(&path, "C1"), 1);
}

#[tokio::test]
async fn a_pause_is_obeyed_also_by_who_starts_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.db");
    let store = store().await;
    open(&store, "1", "C1", &[1]).await;
    let projection = store.project_with(model(&path), eager());
    projection.ready().await.unwrap();
    store.pause_projection("balances").await.unwrap();
    reported(&store, "balances", |report| report.phase == Phase::Paused).await;
    deposit(&store, 10).await;
    // What its own program wants does not lift what was ordered.
    projection.resume();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((projection.status().phase, total(&path, "C1")), (Phase::Paused, 1));
    projection.stop().await;
    let later = store.project_with(model(&path), eager());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(total(&path, "C1"), 1);
    let last = deposit(&store, 100).await;
    store.resume_projection("balances").await.unwrap();
    later.wait_for(last).await.unwrap();
    assert_eq!(total(&path, "C1"), 111);
}

/// Tables of the model, and the generation that readers see.
fn tables(path: &Path) -> (Vec<String>, i64) {
    let connection = Connection::open(path).unwrap();
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'balances%' ORDER BY name";
    let mut statement = connection.prepare(sql).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let active = "SELECT max(generation) FROM annals_projections WHERE active = 1";
    (names, connection.query_row(active, [], |row| row.get(0)).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_repairs_a_model_while_it_is_read_and_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.db");
    let store = store().await;
    open(&store, "1", "C1", &[1; 300]).await;
    let projection = store.project_with(model(&path), eager());
    projection.ready().await.unwrap();
    assert_eq!(tables(&path), (vec!["balances_v1".to_owned()], 0));
    // Somebody has spoilt the table.
    Connection::open(&path).unwrap().execute("UPDATE balances_v1 SET total = total + 5000", []).unwrap();
    let mut last = deposit(&store, 1).await;
    projection.wait_for(last).await.unwrap();
    assert_eq!(total(&path, "C1"), 5301);
    for generation in 1..=2 {
        store.rebuild_projection("balances").await.unwrap();
        while projection.status().generation < generation {
            last = deposit(&store, 1).await;
            projection.wait_for(last).await.unwrap();
        }
        let expected = store.load::<Account>("1").await.unwrap().state.balance;
        projection.wait_for(last).await.unwrap();
        assert_eq!(total(&path, "C1"), expected);
        let now = (vec![format!("balances_v1_g{generation}")], generation as i64);
        assert_eq!(tables(&path), now, "what was before is dropped");
    }
    projection.stop().await;
    // A program that is started anew goes on with what was built last, and builds nothing.
    let again = store.project_with(model(&path), eager());
    again.ready().await.unwrap();
    assert_eq!((again.status().generation, tables(&path).1), (2, 2));
}

#[tokio::test]
async fn a_rebuild_that_was_ordered_meanwhile_is_done_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.db");
    let store = store().await;
    open(&store, "1", "C1", &[1, 2]).await;
    let projection = store.project_with(model(&path), eager());
    projection.ready().await.unwrap();
    projection.stop().await;
    Connection::open(&path).unwrap().execute("UPDATE balances_v1 SET total = 0", []).unwrap();
    store.rebuild_projection("balances").await.unwrap();
    let projection = store.project_with(model(&path), eager());
    let rebuilt = reported(&store, "balances", |report| report.generation == 1 && report.serves).await;
    assert_eq!((rebuilt.rebuild, total(&path, "C1")), (None, 3));
    projection.wait_for(store.head().await.unwrap().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_rebuild_that_fails_leaves_the_present_model_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.db");
    let store = store().await;
    open(&store, "1", "C1", &[1]).await;
    let skipping = ProjectionOptions { skip_failures: true, ..eager() };
    let projection = store.project_with(model(&path), skipping);
    let last = deposit(&store, 13).await;
    projection.wait_for(last).await.unwrap();
    projection.stop().await;
    let projection = store.project_with(model(&path), eager());
    projection.ready().await.unwrap();
    store.rebuild_projection("balances").await.unwrap();
    let failed =
        |report: &ProjectionReport| report.rebuild.as_ref().is_some_and(|rebuild| rebuild.error.is_some());
    let report = reported(&store, "balances", failed).await;
    assert_eq!((report.generation, report.phase, report.serves), (0, Phase::Live, true));
    let last = deposit(&store, 5).await;
    projection.wait_for(last).await.unwrap();
    assert_eq!(total(&path, "C1"), 6);
}

#[tokio::test]
async fn a_view_in_memory_is_built_anew_too() {
    let store = store().await;
    open(&store, "1", "C1", &[1, 2]).await;
    let view = store.live_with::<Total>(eager());
    view.ready().await.unwrap();
    let name = std::any::type_name::<Total>();
    store.rebuild_projection(name).await.unwrap();
    while view.status().generation < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let last = deposit(&store, 3).await;
    view.wait_for(last).await.unwrap();
    assert_eq!(view.read(Total::amount), 6);
}

static MAILS: AtomicU64 = AtomicU64::new(0);

struct Mailer;

impl Reaction for Mailer {
    type Event = AccountEvent;
    const NAME: &'static str = "mailer";
    const START: StartAt = StartAt::FirstEvent;

    async fn react(&mut self, _: &Envelope<AccountEvent>) -> Result<(), ReactionError> {
        MAILS.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn a_reaction_is_never_done_again() {
    let store = store().await;
    open(&store, "1", "C1", &[1, 2]).await;
    let mailer = store.react_with(Mailer, eager());
    mailer.wait_for(store.head().await.unwrap().unwrap()).await.unwrap();
    store.rebuild_projection("mailer").await.unwrap();
    let refused = |report: &ProjectionReport| report.rebuild.is_some();
    let report = reported(&store, "mailer", refused).await;
    assert!(report.rebuild.unwrap().error.unwrap().contains("cannot be built anew"));
    let last = deposit(&store, 3).await;
    mailer.wait_for(last).await.unwrap();
    assert_eq!(MAILS.load(Ordering::SeqCst), 4);
}
