//! Read models in SQLite.
//!
//! One connection, on a thread that may block. Each batch is one transaction that begins immediately, so that two
//! processes on one file follow each other; it compares the place that the file has with the one that it was read from.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};

use super::model::{Changes, ModelError, Opened, ReadModel};
use super::tables::{CHECKPOINTS, Tables, from_stored, to_stored};
use crate::store::Position;
use crate::{Envelope, Event};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long to wait for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// What events change in SQLite.
///
/// ```no_run
/// use annals::projection::{SqliteModel, SqliteProjection, Tables};
/// use annals::rusqlite::Transaction;
/// use annals::{Envelope, Event, EventStore};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, Serialize, Deserialize)]
/// enum OrderEvent {
///     OrderPlaced { customer: String, total: u64 },
/// }
///
/// struct SpentByCustomer;
///
/// impl SqliteProjection for SpentByCustomer {
///     type Event = OrderEvent;
///     const NAME: &'static str = "spent-by-customer";
///     const VERSION: u32 = 1;
///     const TABLES: &'static [&'static str] = &["spent"];
///
///     fn create(&mut self, transaction: &Transaction<'_>, tables: &Tables) -> annals::projection::Applied {
///         let spent = tables.name("spent");
///         transaction.execute_batch(&format!("CREATE TABLE {spent} (customer TEXT PRIMARY KEY, total INTEGER)"))?;
///         Ok(())
///     }
///
///     fn apply(
///         &mut self,
///         transaction: &Transaction<'_>,
///         tables: &Tables,
///         event: &Envelope<OrderEvent>,
///     ) -> annals::projection::Applied {
///         let OrderEvent::OrderPlaced { customer, total } = &event.event;
///         let sql = format!(
///             "INSERT INTO {} VALUES (?1, ?2) ON CONFLICT (customer) DO UPDATE SET total = total + ?2",
///             tables.name("spent")
///         );
///         transaction.execute(&sql, (customer, *total as i64))?;
///         Ok(())
///     }
/// }
///
/// # fn start(store: EventStore) {
/// let projection = store.project(SqliteModel::new("read-models.db", SpentByCustomer));
/// # }
/// ```
pub trait SqliteProjection: Send + 'static {
    /// The events that it looks at.
    type Event: Event;

    /// What it is called.
    const NAME: &'static str;
    /// The version of its tables and its logic. A higher one is built beside the present one and then takes its place.
    const VERSION: u32;
    /// What readers call its tables.
    const TABLES: &'static [&'static str];

    /// Makes the tables of this version.
    ///
    /// # Errors
    /// Whatever goes wrong.
    fn create(&mut self, transaction: &Transaction<'_>, tables: &Tables) -> super::Applied;

    /// Takes in one event. What it changes is rolled back if this or a later event of its batch fails.
    ///
    /// # Errors
    /// Whatever goes wrong. The projection stops at this event, unless the database was only busy.
    fn apply(
        &mut self,
        transaction: &Transaction<'_>,
        tables: &Tables,
        event: &Envelope<Self::Event>,
    ) -> super::Applied;
}

/// A read model in a file of SQLite.
pub struct SqliteModel<P> {
    work: Arc<Mutex<Work<P>>>,
}

struct Work<P> {
    path: PathBuf,
    /// Shared with the generation that is built anew beside this one.
    projection: Arc<Mutex<P>>,
    connection: Option<Connection>,
    /// Which generation this is; none: the one that is there.
    wanted: Option<u64>,
    /// Which generation was opened.
    generation: u64,
}

impl<P: SqliteProjection> SqliteModel<P> {
    /// The model in the file `path`, which is made if it is not there.
    pub fn new(path: impl Into<PathBuf>, projection: P) -> Self {
        Self::of(path.into(), Arc::new(Mutex::new(projection)), None)
    }

    fn of(path: PathBuf, projection: Arc<Mutex<P>>, wanted: Option<u64>) -> Self {
        let work = Work { path, projection, connection: None, wanted, generation: 0 };
        Self { work: Arc::new(Mutex::new(work)) }
    }

    /// Does something that blocks where it may.
    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Work<P>) -> Result<R, ModelError> + Send + 'static,
    ) -> Result<R, ModelError> {
        let shared = Arc::clone(&self.work);
        let done = tokio::task::spawn_blocking(move || {
            // A panic in the middle has rolled its transaction back.
            work(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match done.await {
            Ok(done) => done,
            Err(error) => Err(ModelError::Setup(error.into())),
        }
    }
}

impl<P: SqliteProjection> ReadModel for SqliteModel<P> {
    type Event = P::Event;

    fn name(&self) -> &str {
        P::NAME
    }

    fn version(&self) -> u32 {
        P::VERSION
    }

    async fn open(&mut self) -> Result<Opened, ModelError> {
        self.blocking(Work::open).await
    }

    async fn apply(&mut self, batch: Changes<P::Event>) -> Result<(), ModelError> {
        self.blocking(move |work| work.apply(&batch)).await
    }

    async fn activate(&mut self) -> Result<(), ModelError> {
        self.blocking(Work::activate).await
    }

    fn anew(&self, generation: u64) -> Option<Self> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Self::of(work.path.clone(), Arc::clone(&work.projection), Some(generation)))
    }
}

impl<P: SqliteProjection> Work<P> {
    fn open(&mut self) -> Result<Opened, ModelError> {
        self.connection = None;
        let connection = self.connection.insert(connect(&self.path).map_err(setup_error)?);
        let transaction = begin(connection)?;
        check_version::<P>(&transaction)?;
        self.generation = match self.wanted {
            Some(generation) => generation,
            None => present::<P>(&transaction).map_err(setup_error)?,
        };
        check_generation::<P>(&transaction, self.generation)?;
        let opened = match place::<P>(&transaction, self.generation).map_err(setup_error)? {
            Some(opened) => opened,
            None => {
                let tables = tables::<P>(self.generation)?;
                let made = lock(&self.projection).create(&transaction, &tables);
                made.map_err(|error| outcome(error, ModelError::Setup))?;
                enter::<P>(&transaction, &tables, self.generation).map_err(setup_error)?;
                Opened { position: None, active: false, generation: self.generation }
            }
        };
        transaction.commit().map_err(setup_error)?;
        Ok(opened)
    }

    fn apply(&mut self, batch: &Changes<P::Event>) -> Result<(), ModelError> {
        let tables = tables::<P>(self.generation)?;
        let transaction = begin(connected(&mut self.connection)?)?;
        check_version::<P>(&transaction)?;
        check_generation::<P>(&transaction, self.generation)?;
        let opened = place::<P>(&transaction, self.generation).map_err(setup_error)?;
        let actual = opened.and_then(|opened| opened.position);
        if actual != batch.from {
            return Err(ModelError::Moved { expected: batch.from, actual });
        }
        for event in &batch.events {
            apply_one(&mut *lock(&self.projection), &transaction, &tables, event)?;
        }
        move_to::<P>(&transaction, self.generation, batch.through).map_err(setup_error)?;
        transaction.commit().map_err(setup_error)
    }

    fn activate(&mut self) -> Result<(), ModelError> {
        let tables = tables::<P>(self.generation)?;
        let transaction = begin(connected(&mut self.connection)?)?;
        check_version::<P>(&transaction)?;
        check_generation::<P>(&transaction, self.generation)?;
        swap::<P>(&transaction, &tables, self.generation).map_err(setup_error)?;
        transaction.commit().map_err(setup_error)
    }
}

fn lock<P>(projection: &Mutex<P>) -> std::sync::MutexGuard<'_, P> {
    // A panic in the middle has rolled its transaction back.
    projection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tables<P: SqliteProjection>(generation: u64) -> Result<Tables, ModelError> {
    let tables = Tables::new(P::TABLES, P::VERSION).map_err(|error| ModelError::Setup(error.into()))?;
    Ok(tables.of_generation(generation))
}

fn connect(path: &std::path::Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    // Readers go on while a batch is written. What a loss of power takes away is a whole batch with its checkpoint.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    Ok(connection)
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, ModelError> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(setup_error)?;
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {CHECKPOINTS} (name TEXT NOT NULL, version INTEGER NOT NULL,
         generation INTEGER NOT NULL DEFAULT 0, position INTEGER, active INTEGER NOT NULL DEFAULT 0,
         tables TEXT NOT NULL, PRIMARY KEY (name, version, generation))"
    );
    transaction.execute_batch(&sql).map_err(setup_error)?;
    Ok(transaction)
}

fn connected(connection: &mut Option<Connection>) -> Result<&mut Connection, ModelError> {
    connection.as_mut().ok_or_else(|| ModelError::Unavailable("the file is not open".into()))
}

fn check_version<P: SqliteProjection>(transaction: &Transaction<'_>) -> Result<(), ModelError> {
    let sql = format!("SELECT max(version) FROM {CHECKPOINTS} WHERE name = ?1 AND active = 1");
    let active: Option<u32> =
        transaction.query_row(&sql, [P::NAME], |row| row.get(0)).map_err(setup_error)?;
    match active.filter(|active| *active > P::VERSION) {
        Some(version) => Err(ModelError::Superseded { version }),
        None => Ok(()),
    }
}

/// Fails if this version was built anew meanwhile.
fn check_generation<P: SqliteProjection>(
    transaction: &Transaction<'_>,
    generation: u64,
) -> Result<(), ModelError> {
    let sql =
        format!("SELECT max(generation) FROM {CHECKPOINTS} WHERE name = ?1 AND version = ?2 AND active = 1");
    let active: Option<i64> =
        transaction.query_row(&sql, (P::NAME, P::VERSION), |row| row.get(0)).map_err(setup_error)?;
    match active.filter(|active| active.cast_unsigned() > generation) {
        Some(_) => Err(ModelError::Superseded { version: P::VERSION }),
        None => Ok(()),
    }
}

/// The generation of this version that readers see; that which is being built, if there is none.
fn present<P: SqliteProjection>(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    let sql = format!(
        "SELECT generation FROM {CHECKPOINTS} WHERE name = ?1 AND version = ?2 ORDER BY active DESC, generation DESC LIMIT 1"
    );
    let found: Option<i64> =
        transaction.query_row(&sql, (P::NAME, P::VERSION), |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0).cast_unsigned())
}

fn place<P: SqliteProjection>(
    transaction: &Transaction<'_>,
    generation: u64,
) -> rusqlite::Result<Option<Opened>> {
    let sql = format!(
        "SELECT position, active FROM {CHECKPOINTS} WHERE name = ?1 AND version = ?2 AND generation = ?3"
    );
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Opened { position: from_stored(row.get(0)?), active: row.get(1)?, generation })
    };
    transaction.query_row(&sql, (P::NAME, P::VERSION, generation.cast_signed()), read).optional()
}

fn enter<P: SqliteProjection>(
    transaction: &Transaction<'_>,
    tables: &Tables,
    generation: u64,
) -> rusqlite::Result<usize> {
    let sql =
        format!("INSERT INTO {CHECKPOINTS} (name, version, generation, tables) VALUES (?1, ?2, ?3, ?4)");
    transaction.execute(&sql, (P::NAME, P::VERSION, generation.cast_signed(), tables.list()))
}

fn move_to<P: SqliteProjection>(
    transaction: &Transaction<'_>,
    generation: u64,
    through: Position,
) -> rusqlite::Result<usize> {
    let sql = format!(
        "UPDATE {CHECKPOINTS} SET position = ?4 WHERE name = ?1 AND version = ?2 AND generation = ?3"
    );
    transaction.execute(&sql, (P::NAME, P::VERSION, generation.cast_signed(), to_stored(through)))
}

/// Lets the views show this generation, and drops what older versions and generations leave behind.
fn swap<P: SqliteProjection>(
    transaction: &Transaction<'_>,
    tables: &Tables,
    generation: u64,
) -> rusqlite::Result<()> {
    for view in tables.views() {
        let table = tables.name(view);
        transaction.execute_batch(&format!(
            "DROP VIEW IF EXISTS {view}; CREATE VIEW {view} AS SELECT * FROM {table}"
        ))?;
    }
    let this = (P::NAME, P::VERSION, generation.cast_signed());
    const OLDER: &str = "name = ?1 AND (version < ?2 OR (version = ?2 AND generation < ?3))";
    let lists: Vec<String> = transaction
        .prepare(&format!("SELECT tables FROM {CHECKPOINTS} WHERE {OLDER}"))?
        .query_map(this, |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for table in lists.iter().flat_map(|list| list.split(',')).filter(|table| !table.is_empty()) {
        transaction.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))?;
    }
    transaction.execute(&format!("DELETE FROM {CHECKPOINTS} WHERE {OLDER}"), this)?;
    let active =
        format!("UPDATE {CHECKPOINTS} SET active = 1 WHERE name = ?1 AND version = ?2 AND generation = ?3");
    transaction.execute(&active, this).map(drop)
}

fn apply_one<P: SqliteProjection>(
    projection: &mut P,
    transaction: &Transaction<'_>,
    tables: &Tables,
    event: &Envelope<P::Event>,
) -> Result<(), ModelError> {
    let position = event.position;
    let call = std::panic::AssertUnwindSafe(|| projection.apply(transaction, tables, event));
    match std::panic::catch_unwind(call) {
        Err(panic) => Err(ModelError::panicked(position, &panic)),
        Ok(applied) => {
            applied.map_err(|error| outcome(error, |source| ModelError::Handler { position, source }))
        }
    }
}

fn setup_error(error: rusqlite::Error) -> ModelError {
    outcome(error.into(), ModelError::Setup)
}

/// Tells a database that is away from a mistake.
fn outcome(error: BoxError, mistake: impl FnOnce(BoxError) -> ModelError) -> ModelError {
    let code = error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    match code {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory,
        ) => ModelError::Unavailable(error),
        _ => mistake(error),
    }
}
