//! Killed in the middle, again and again.
//!
//! The process that works is this test program once more, told by its environment. Its events are the same at every start,
//! at the same positions, so all that carries over is the database.

use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use annals::Clock;
use annals::rusqlite::{Connection, OptionalExtension};

use super::{eager, head, model};
use crate::account::{open, store};

const PATH: &str = "ANNALS_TEST_SQLITE_PATH";
const EVENTS: usize = 4000;

/// The nth amount.
fn amount(number: usize) -> i64 {
    1000 + (number as i64 * 7919) % 101
}

/// Not a test of its own: what the test below starts.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(path) = std::env::var(PATH) else { return };
    let store = store().await;
    let amounts: Vec<i64> = (0..EVENTS).map(amount).collect();
    open(&store, "1", "C1", &amounts).await;
    let projection = store.project_with(model::<1>(Path::new(&path)), eager());
    projection.wait_for(head(&store).await).await.unwrap();
}

fn start(path: &Path) -> std::process::Child {
    let mut process = Process::new(std::env::current_exe().unwrap());
    process.args(["--exact", "sqlite::kills::the_process_that_is_killed"]).env(PATH, path);
    process.stdout(Stdio::null()).spawn().unwrap()
}

/// The checkpoint, and the total that is kept beside it.
fn read(path: &Path) -> Option<(i64, i64)> {
    let connection = Connection::open(path).ok()?;
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    let sql =
        "SELECT position, (SELECT total FROM balances_v1 WHERE customer = 'C1') FROM annals_projections";
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional().ok()?
}

#[test]
fn nothing_is_lost_or_applied_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.db");
    let (clock, _) = Clock::manual(0, 11);
    let mut progress = Vec::new();
    for _ in 0..12 {
        let mut process = start(&path);
        std::thread::sleep(Duration::from_millis(30 + clock.random() % 200));
        process.kill().unwrap();
        process.wait().unwrap();
        if let Some((position, total)) = read(&path) {
            // The opening is at position 0.
            let expected: i64 = (0..position as usize).map(amount).sum();
            assert_eq!(total, expected, "at position {position}");
            progress.push(position);
        }
    }
    assert!(progress.is_sorted(), "{progress:?}");
    assert!(start(&path).wait().unwrap().success());
    assert_eq!(read(&path), Some((EVENTS as i64, (0..EVENTS).map(amount).sum())));
}
