//! Clients of PostgreSQL that keep events there as it is usually done: one table, in which a stream has each version once.
//! Each connection has one append under way, a transaction of one statement.

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls, Statement};

use super::{Appended, EVENT_BYTES, Pace, driver};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        stream text NOT NULL,
        version bigint NOT NULL,
        type text NOT NULL,
        data bytea NOT NULL,
        recorded timestamptz NOT NULL DEFAULT now(),
        UNIQUE (stream, version)
    )";

/// A stream goes on where the client saw it end, or nothing is inserted; the unique constraint settles races.
const INSERT: &str = "
    INSERT INTO events (stream, version, type, data)
    SELECT $1::text, $2::bigint, $3::text, $4::bytea
    WHERE $2::bigint = 0 OR EXISTS (SELECT FROM events WHERE stream = $1::text AND version = $2::bigint - 1)";

#[derive(clap::Args)]
pub(super) struct Options {
    /// How to connect, as tokio-postgres takes it
    #[arg(long)]
    config: String,
    #[command(flatten)]
    pace: Pace,
}

struct Connection {
    client: Client,
    insert: Statement,
    data: Vec<u8>,
    /// What moves the bytes of this connection; ends with it.
    _driver: JoinSet<()>,
}

impl Connection {
    async fn open(config: &str) -> Result<Self> {
        let (client, connection) =
            tokio_postgres::connect(config, NoTls).await.context("cannot reach PostgreSQL")?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        client.batch_execute(SCHEMA).await?;
        let insert = client.prepare(INSERT).await?;
        Ok(Self { client, insert, data: vec![b'x'; EVENT_BYTES], _driver: driver })
    }
}

impl driver::Client for Connection {
    async fn append(&mut self, stream: u64, revision: u64) -> Result<()> {
        let (stream, version) = (format!("account-{stream}"), revision.cast_signed());
        let inserted =
            self.client.execute(&self.insert, &[&stream, &version, &"MoneyDeposited", &self.data]).await?;
        ensure!(inserted == 1, "{stream} was not at the version before {version}");
        Ok(())
    }
}

pub(super) async fn append(options: Options) -> Result<Appended> {
    let first = Connection::open(&options.config).await?;
    // Another load may have been here before.
    first.client.batch_execute("TRUNCATE events").await?;
    let mut clients = Vec::new();
    for _ in 0..options.pace.in_flight {
        clients.push(Connection::open(&options.config).await?);
    }
    driver::run(clients, options.pace, 0).await
}
