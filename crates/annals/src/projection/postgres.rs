//! Read models in PostgreSQL.
//!
//! Each batch is one transaction that locks the row of its checkpoint and compares it with the place from which the batch
//! was read: two processes on one model follow each other. A connection that breaks is made anew; what the server had
//! committed is seen in the checkpoint, so it does not matter whether the answer came.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls, Transaction};

use super::model::{Changes, ModelError, Opened, ReadModel};
use super::tables::{CHECKPOINTS, Tables, from_stored, to_stored};
use crate::store::Position;
use crate::{Envelope, Event};

/// Values of a statement.
type Key<'a> = &'a [&'a (dyn tokio_postgres::types::ToSql + Sync)];

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Connect = Arc<dyn Fn() -> BoxFuture<Result<Connected, BoxError>> + Send + Sync>;

/// Keeps two processes from making the same tables at the same time: "annals" as a number.
const SETUP_LOCK: i64 = 0x616e_6e61_6c73;

/// What events change in PostgreSQL.
///
/// ```no_run
/// use annals::projection::{Applied, PostgresModel, PostgresProjection, Tables};
/// use annals::tokio_postgres::Transaction;
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
/// impl PostgresProjection for SpentByCustomer {
///     type Event = OrderEvent;
///     const NAME: &'static str = "spent-by-customer";
///     const VERSION: u32 = 1;
///     const TABLES: &'static [&'static str] = &["spent"];
///
///     async fn create(&mut self, transaction: &Transaction<'_>, tables: &Tables) -> Applied {
///         let spent = tables.name("spent");
///         transaction.batch_execute(&format!("CREATE TABLE {spent} (customer text PRIMARY KEY, total bigint)")).await?;
///         Ok(())
///     }
///
///     async fn apply(&mut self, transaction: &Transaction<'_>, tables: &Tables, event: &Envelope<OrderEvent>) -> Applied {
///         let OrderEvent::OrderPlaced { customer, total } = &event.event;
///         let spent = tables.name("spent");
///         let sql = format!(
///             "INSERT INTO {spent} AS s VALUES ($1, $2) ON CONFLICT (customer) DO UPDATE SET total = s.total + $2"
///         );
///         transaction.execute(&sql, &[customer, &(*total as i64)]).await?;
///         Ok(())
///     }
/// }
///
/// # fn start(store: EventStore) -> Result<(), annals::tokio_postgres::Error> {
/// let model = PostgresModel::new("host=localhost user=shop dbname=shop", SpentByCustomer)?;
/// let projection = store.project(model);
/// # Ok(()) }
/// ```
pub trait PostgresProjection: Send + 'static {
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
    fn create(
        &mut self,
        transaction: &Transaction<'_>,
        tables: &Tables,
    ) -> impl Future<Output = super::Applied> + Send;

    /// Takes in one event. What it changes is rolled back if this or a later event of its batch fails.
    ///
    /// # Errors
    /// Whatever goes wrong. The projection stops at this event, unless it was the connection.
    fn apply(
        &mut self,
        transaction: &Transaction<'_>,
        tables: &Tables,
        event: &Envelope<Self::Event>,
    ) -> impl Future<Output = super::Applied> + Send;
}

/// A connection, and what has to run for it to work.
pub struct Connected {
    /// The connection.
    pub client: Client,
    /// What moves its bytes; ends when the connection does.
    pub driver: BoxFuture<()>,
}

/// A read model in PostgreSQL.
pub struct PostgresModel<P> {
    /// Shared with the generation that is built anew beside this one.
    projection: Arc<Mutex<P>>,
    connect: Connect,
    client: Option<Client>,
    driver: JoinSet<()>,
    /// Which generation this is; none: the one that is there.
    wanted: Option<u64>,
    /// Which generation was opened.
    generation: u64,
}

impl<P: PostgresProjection> PostgresModel<P> {
    /// The model in the database that `config` names, without TLS. Nothing is connected yet.
    ///
    /// # Errors
    /// If `config` cannot be read.
    pub fn new(config: &str, projection: P) -> Result<Self, tokio_postgres::Error> {
        let config: Config = config.parse()?;
        let connect: Connect = Arc::new(move || {
            let config = config.clone();
            Box::pin(async move {
                let (client, connection) = config.connect(NoTls).await?;
                let driver = Box::pin(connection.map(|ended| {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection to PostgreSQL has ended");
                    }
                }));
                Ok(Connected { client, driver: driver as _ })
            })
        });
        Ok(Self::with(connect, projection))
    }

    /// The model in whatever `connect` connects to: for TLS, or names that change.
    pub fn with_connector<F>(connect: impl Fn() -> F + Send + Sync + 'static, projection: P) -> Self
    where
        F: Future<Output = Result<Connected, BoxError>> + Send + 'static,
    {
        Self::with(Arc::new(move || Box::pin(connect()) as _), projection)
    }

    fn with(connect: Connect, projection: P) -> Self {
        Self::of(connect, Arc::new(Mutex::new(projection)), None)
    }

    fn of(connect: Connect, projection: Arc<Mutex<P>>, wanted: Option<u64>) -> Self {
        Self { projection, connect, client: None, driver: JoinSet::new(), wanted, generation: 0 }
    }

    async fn reconnect(&mut self) -> Result<(), ModelError> {
        self.client = None;
        self.driver.shutdown().await;
        let Connected { client, driver } = (self.connect)().await.map_err(ModelError::Unavailable)?;
        self.driver.spawn(driver);
        self.client = Some(client);
        Ok(())
    }
}

impl<P: PostgresProjection> ReadModel for PostgresModel<P> {
    type Event = P::Event;

    fn name(&self) -> &str {
        P::NAME
    }

    fn version(&self) -> u32 {
        P::VERSION
    }

    async fn open(&mut self) -> Result<Opened, ModelError> {
        self.reconnect().await?;
        let transaction = begin(&mut self.client).await?;
        prepare(&transaction).await.map_err(setup_error)?;
        check_version::<P>(&transaction).await?;
        self.generation = match self.wanted {
            Some(generation) => generation,
            None => present::<P>(&transaction).await.map_err(setup_error)?,
        };
        check_generation::<P>(&transaction, self.generation).await?;
        let opened = match place::<P>(&transaction, self.generation).await.map_err(setup_error)? {
            Some(opened) => opened,
            None => {
                let tables = tables::<P>(self.generation)?;
                let made = self.projection.lock().await.create(&transaction, &tables).await;
                made.map_err(|error| outcome(error, ModelError::Setup))?;
                enter::<P>(&transaction, &tables, self.generation).await.map_err(setup_error)?;
                Opened { position: None, active: false, generation: self.generation }
            }
        };
        transaction.commit().await.map_err(setup_error)?;
        Ok(opened)
    }

    async fn apply(&mut self, batch: Changes<P::Event>) -> Result<(), ModelError> {
        let tables = tables::<P>(self.generation)?;
        let transaction = begin(&mut self.client).await?;
        check_version::<P>(&transaction).await?;
        check_generation::<P>(&transaction, self.generation).await?;
        let opened = place::<P>(&transaction, self.generation).await.map_err(setup_error)?;
        let actual = opened.and_then(|opened| opened.position);
        if actual != batch.from {
            return Err(ModelError::Moved { expected: batch.from, actual });
        }
        let mut projection = self.projection.lock().await;
        for event in &batch.events {
            apply_one(&mut *projection, &transaction, &tables, event).await?;
        }
        drop(projection);
        move_to::<P>(&transaction, self.generation, batch.through).await.map_err(setup_error)?;
        transaction.commit().await.map_err(setup_error)
    }

    async fn activate(&mut self) -> Result<(), ModelError> {
        let tables = tables::<P>(self.generation)?;
        let transaction = begin(&mut self.client).await?;
        prepare(&transaction).await.map_err(setup_error)?;
        check_version::<P>(&transaction).await?;
        check_generation::<P>(&transaction, self.generation).await?;
        swap::<P>(&transaction, &tables, self.generation).await.map_err(setup_error)?;
        transaction.commit().await.map_err(setup_error)
    }

    fn anew(&self, generation: u64) -> Option<Self> {
        Some(Self::of(Arc::clone(&self.connect), Arc::clone(&self.projection), Some(generation)))
    }
}

fn tables<P: PostgresProjection>(generation: u64) -> Result<Tables, ModelError> {
    let tables = Tables::new(P::TABLES, P::VERSION).map_err(|error| ModelError::Setup(error.into()))?;
    Ok(tables.of_generation(generation))
}

async fn begin(client: &mut Option<Client>) -> Result<Transaction<'_>, ModelError> {
    let client = client.as_mut().ok_or_else(|| ModelError::Unavailable("not connected".into()))?;
    client.transaction().await.map_err(setup_error)
}

/// Makes the table of checkpoints, one process at a time.
async fn prepare(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&SETUP_LOCK]).await?;
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {CHECKPOINTS} (name text NOT NULL, version bigint NOT NULL,
         generation bigint NOT NULL DEFAULT 0, position bigint, active boolean NOT NULL DEFAULT false,
         tables text NOT NULL, PRIMARY KEY (name, version, generation))"
    );
    transaction.batch_execute(&sql).await
}

async fn check_version<P: PostgresProjection>(transaction: &Transaction<'_>) -> Result<(), ModelError> {
    let sql = format!("SELECT max(version) FROM {CHECKPOINTS} WHERE name = $1 AND active");
    let row = transaction.query_one(&sql, &[&P::NAME]).await.map_err(setup_error)?;
    let active = row.get::<_, Option<i64>>(0).and_then(|version| u32::try_from(version).ok());
    match active.filter(|active| *active > P::VERSION) {
        Some(version) => Err(ModelError::Superseded { version }),
        None => Ok(()),
    }
}

/// Fails if this version was built anew meanwhile.
async fn check_generation<P: PostgresProjection>(
    transaction: &Transaction<'_>,
    generation: u64,
) -> Result<(), ModelError> {
    let sql =
        format!("SELECT max(generation) FROM {CHECKPOINTS} WHERE name = $1 AND version = $2 AND active");
    let row = transaction.query_one(&sql, &[&P::NAME, &i64::from(P::VERSION)]).await.map_err(setup_error)?;
    match row.get::<_, Option<i64>>(0).filter(|active| active.cast_unsigned() > generation) {
        Some(_) => Err(ModelError::Superseded { version: P::VERSION }),
        None => Ok(()),
    }
}

/// The generation of this version that readers see; that which is being built, if there is none.
async fn present<P: PostgresProjection>(transaction: &Transaction<'_>) -> Result<u64, tokio_postgres::Error> {
    let sql = format!(
        "SELECT generation FROM {CHECKPOINTS} WHERE name = $1 AND version = $2 ORDER BY active DESC, generation DESC LIMIT 1"
    );
    let row = transaction.query_opt(&sql, &[&P::NAME, &i64::from(P::VERSION)]).await?;
    Ok(row.map_or(0, |row| row.get::<_, i64>(0).cast_unsigned()))
}

/// The checkpoint, its row locked.
async fn place<P: PostgresProjection>(
    transaction: &Transaction<'_>,
    generation: u64,
) -> Result<Option<Opened>, tokio_postgres::Error> {
    let sql = format!(
        "SELECT position, active FROM {CHECKPOINTS} WHERE name = $1 AND version = $2 AND generation = $3 FOR UPDATE"
    );
    let key: Key<'_> = &[&P::NAME, &i64::from(P::VERSION), &generation.cast_signed()];
    let row = transaction.query_opt(&sql, key).await?;
    Ok(row.map(|row| Opened { position: from_stored(row.get(0)), active: row.get(1), generation }))
}

async fn enter<P: PostgresProjection>(
    transaction: &Transaction<'_>,
    tables: &Tables,
    generation: u64,
) -> Result<u64, tokio_postgres::Error> {
    let sql =
        format!("INSERT INTO {CHECKPOINTS} (name, version, generation, tables) VALUES ($1, $2, $3, $4)");
    let row: Key<'_> = &[&P::NAME, &i64::from(P::VERSION), &generation.cast_signed(), &tables.list()];
    transaction.execute(&sql, row).await
}

async fn move_to<P: PostgresProjection>(
    transaction: &Transaction<'_>,
    generation: u64,
    through: Position,
) -> Result<u64, tokio_postgres::Error> {
    let sql = format!(
        "UPDATE {CHECKPOINTS} SET position = $4 WHERE name = $1 AND version = $2 AND generation = $3"
    );
    let row: Key<'_> = &[&P::NAME, &i64::from(P::VERSION), &generation.cast_signed(), &to_stored(through)];
    transaction.execute(&sql, row).await
}

/// Lets the views show this generation, and drops what older versions and generations leave behind.
async fn swap<P: PostgresProjection>(
    transaction: &Transaction<'_>,
    tables: &Tables,
    generation: u64,
) -> Result<(), tokio_postgres::Error> {
    for view in tables.views() {
        let table = tables.name(view);
        let sql = format!("DROP VIEW IF EXISTS {view}; CREATE VIEW {view} AS SELECT * FROM {table}");
        transaction.batch_execute(&sql).await?;
    }
    let this: Key<'_> = &[&P::NAME, &i64::from(P::VERSION), &generation.cast_signed()];
    let older = format!(
        "DELETE FROM {CHECKPOINTS} WHERE name = $1 AND (version < $2 OR (version = $2 AND generation < $3)) RETURNING tables"
    );
    for row in transaction.query(&older, this).await? {
        let list: String = row.get(0);
        for table in list.split(',').filter(|table| !table.is_empty()) {
            transaction.batch_execute(&format!("DROP TABLE IF EXISTS {table}")).await?;
        }
    }
    let active = format!(
        "UPDATE {CHECKPOINTS} SET active = true WHERE name = $1 AND version = $2 AND generation = $3"
    );
    transaction.execute(&active, this).await.map(drop)
}

async fn apply_one<P: PostgresProjection>(
    projection: &mut P,
    transaction: &Transaction<'_>,
    tables: &Tables,
    event: &Envelope<P::Event>,
) -> Result<(), ModelError> {
    let position = event.position;
    let call = std::panic::AssertUnwindSafe(projection.apply(transaction, tables, event));
    match call.catch_unwind().await {
        Err(panic) => Err(ModelError::panicked(position, &panic)),
        Ok(applied) => {
            applied.map_err(|error| outcome(error, |source| ModelError::Handler { position, source }))
        }
    }
}

fn setup_error(error: tokio_postgres::Error) -> ModelError {
    outcome(error.into(), ModelError::Setup)
}

/// Tells a server that is away, or that asks to try again, from a mistake.
fn outcome(error: BoxError, mistake: impl FnOnce(BoxError) -> ModelError) -> ModelError {
    let Some(postgres) = error.downcast_ref::<tokio_postgres::Error>() else { return mistake(error) };
    // Classes of PostgreSQL's error codes: connection, transaction rollback, resources, operator intervention.
    let passes = |code: &tokio_postgres::error::SqlState| {
        ["08", "40", "53", "57"].iter().any(|class| code.code().starts_with(class))
    };
    // An error without a code came from this side or from the line, unless it is about a value of the caller's.
    let away = postgres.is_closed() || postgres.code().map_or_else(|| is_io(postgres), passes);
    if away { ModelError::Unavailable(error) } else { mistake(error) }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    source.and_then(|source| source.downcast_ref::<std::io::Error>()).is_some()
}
