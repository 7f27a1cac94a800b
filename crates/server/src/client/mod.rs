//! The Kafka-protocol client under every command: connection options, clients made from them, and errors that
//! say what to do.
//!
//! Built on librdkafka. What it writes about itself goes to `tracing` at debug level, never straight to the
//! terminal.

pub(crate) mod cluster;
pub(crate) mod delivery;
mod errors;
pub(crate) mod groups;
pub(crate) mod http;
pub(crate) mod management;
pub(crate) mod offsets;
mod properties;
pub(crate) mod quiet;
pub(crate) mod reach;
pub(crate) mod sizes;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;

pub(crate) use errors::{code_text, explain};
pub(crate) use quiet::Quiet;

/// The address that is used when none is given.
pub(crate) const DEFAULT_BOOTSTRAP: &str = "127.0.0.1:9092";

/// How long a command waits for one answer of the broker.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The options that every command with a connection has.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ConnectArgs {
    /// Broker to start from; several are separated by commas [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT", env = "ANNALS_BOOTSTRAP_SERVER", global = true)]
    bootstrap_server: Option<String>,

    /// File with client properties (key=value lines, as for librdkafka)
    #[arg(long, value_name = "FILE", env = "ANNALS_COMMAND_CONFIG", global = true)]
    command_config: Option<PathBuf>,
}

impl ConnectArgs {
    /// Options that name just an address.
    pub(crate) fn to(bootstrap_server: &str) -> Self {
        Self { bootstrap_server: Some(bootstrap_server.to_owned()), command_config: None }
    }
}

/// Where the broker is and how to talk to it. Clients are made from it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    config: ClientConfig,
    address: String,
}

impl Connection {
    /// Reads the options and checks that a broker can be reached, so that a wrong address fails at once.
    ///
    /// # Errors
    /// If the properties file is wrong, or nothing listens at the address.
    pub(crate) fn open(args: &ConnectArgs) -> Result<Self> {
        let mut properties = match &args.command_config {
            Some(path) => properties::read(path)?,
            None => BTreeMap::new(),
        };
        let from_file = properties.remove("bootstrap.servers");
        let address =
            args.bootstrap_server.clone().or(from_file).unwrap_or_else(|| DEFAULT_BOOTSTRAP.to_owned());
        reach::check(&address)?;
        Ok(Self { config: client_config(&address, properties), address })
    }

    /// The bootstrap address in use.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The properties with `extra` put over them. What the user's file says wins, so that it can tune
    /// anything.
    pub(crate) fn config_with(&self, extra: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.config.clone();
        for (key, value) in extra {
            if config.get(key).is_none() {
                config.set(*key, *value);
            }
        }
        config
    }

    /// A client that asks and never joins a group.
    pub(crate) fn consumer(&self, extra: &[(&str, &str)]) -> Result<BaseConsumer<Quiet>> {
        self.create(&self.config_with(extra), Quiet)
    }

    /// A client for changes to topics and groups.
    pub(crate) fn admin(&self) -> Result<AdminClient<Quiet>> {
        self.create(&self.config, Quiet)
    }

    /// Makes any client from `config`.
    pub(crate) fn create<C, T>(&self, config: &ClientConfig, context: C) -> Result<T>
    where
        C: rdkafka::ClientContext,
        T: FromClientConfigAndContext<C>,
    {
        config
            .create_with_context(context)
            .map_err(|error| explain(&error))
            .with_context(|| format!("cannot make a client for {}", self.address))
    }
}

fn client_config(address: &str, properties: BTreeMap<String, String>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.extend(properties);
    config.set("bootstrap.servers", address);
    if config.get("client.id").is_none() {
        config.set("client.id", "annals-cli");
    }
    let debugging = tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG);
    config.set_log_level(if debugging { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Error });
    config
}

/// Options of an admin request: how long it may take, and whether it is only to be checked.
pub(crate) fn admin_options(dry_run: bool) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWER_TIMEOUT * 2))
        .operation_timeout(Some(ANSWER_TIMEOUT))
        .validate_only(dry_run)
}

/// Waits for an answer of the admin client, which has its own thread.
pub(crate) fn wait<T>(answer: impl Future<Output = T>) -> Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().context("cannot wait for an answer")?;
    Ok(runtime.block_on(answer))
}
