//! The client of the HTTP API under the commands for event stores: where the server is, and errors that say what to do.

use std::future::Future;
use std::time::Duration;

use annals::client::{Client, ClientError, ClientOptions, Names, Problem};
use anyhow::{Context, Result, anyhow};
use tokio::runtime::Runtime;

use crate::failure::usage;
use crate::nearest::hint;

/// How long a command waits for one answer. Scavenging a large store takes its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Names that are looked at for one that may have been meant.
const CANDIDATES_MAX: usize = 1000;

/// The option of all commands that talk to the HTTP API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// The server's HTTP address
    #[arg(
        long,
        value_name = "URL",
        env = "ANNALS_SERVER",
        default_value = "http://127.0.0.1:7117",
        global = true
    )]
    server: String,
}

/// The options of all commands that look into one store.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct StoreArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// The event store
    #[arg(
        short = 's',
        long,
        value_name = "STORE",
        env = "ANNALS_STORE",
        default_value = "events",
        global = true
    )]
    store: String,
}

/// A server, and a way to wait for its answers.
pub(crate) struct Api {
    runtime: Runtime,
    client: Client,
    /// How long to repeat what may pass.
    retry_for: Duration,
}

/// A store on a server.
pub(crate) struct StoreApi {
    pub(crate) api: Api,
    pub(crate) store: String,
}

impl ServerArgs {
    /// The address that was given.
    pub(crate) fn address(&self) -> &str {
        &self.server
    }
}

impl Api {
    /// A server that is asked once: whoever sits in front of it wants to know at once.
    pub(crate) fn open(args: &ServerArgs) -> Result<Self> {
        Self::open_patient(args, Duration::ZERO)
    }

    /// A server for what takes long and shall survive that it starts anew.
    pub(crate) fn open_patient(args: &ServerArgs, retry_for: Duration) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start a runtime")?;
        let options =
            ClientOptions { request_timeout: ANSWER_TIMEOUT, retry_for, ..ClientOptions::default() };
        let client = Client::new(&args.server, options).map_err(|error| usage(error.to_string()))?;
        Ok(Self { runtime, client, retry_for })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for an answer.
    pub(crate) fn ask<T>(&self, answer: impl Future<Output = Result<T, ClientError>>) -> Result<T> {
        self.wait(answer).map_err(|error| self.explain(error))
    }

    /// Waits for whatever it is.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The store `name` with what the library makes of it. It is not made if it is not there.
    pub(crate) fn event_store(&self, name: &str) -> Result<annals::EventStore> {
        self.ask(self.client.store(name))?;
        let options = ClientOptions { retry_for: self.retry_for, ..ClientOptions::default() };
        self.wait(async {
            let annals = annals::Annals::connect_with(self.client.address(), options).await?;
            Ok(annals.store(name).await?)
        })
    }

    /// An error with what was perhaps meant.
    pub(crate) fn explain(&self, error: ClientError) -> anyhow::Error {
        match &error {
            ClientError::Unreachable { .. } => anyhow!("{error}; is `annals serve` running there?"),
            ClientError::Refused(problem) => {
                let meant = self.meant(problem);
                anyhow!("{}{}", problem.detail, meant.unwrap_or_default())
            }
            _ => anyhow!(error),
        }
    }

    /// A clause about the name that is closest to one that is not there.
    fn meant(&self, problem: &Problem) -> Option<String> {
        let member = |name: &str| problem.members.get(name)?.as_str().map(str::to_owned);
        let (typed, known) = match problem.name.as_str() {
            "unknown-store" => {
                let stores = self.wait(self.client.stores()).ok()?;
                (member("store")?, stores.into_iter().map(|store| store.name).collect())
            }
            "unknown-subscription" => {
                let found = self.wait(self.client.subscriptions(&member("store")?)).ok()?;
                (member("subscription")?, found.into_iter().map(|found| found.name).collect::<Vec<_>>())
            }
            _ => return None,
        };
        Some(hint(&typed, known.iter().map(String::as_str)))
    }
}

impl StoreApi {
    pub(crate) fn open(args: &StoreArgs) -> Result<Self> {
        Ok(Self { api: Api::open(&args.server)?, store: args.store.clone() })
    }

    pub(crate) fn client(&self) -> &Client {
        self.api.client()
    }

    pub(crate) fn ask<T>(&self, answer: impl Future<Output = Result<T, ClientError>>) -> Result<T> {
        self.api.ask(answer)
    }

    /// Waits for an answer about `stream`; if there is no such stream, says which one may have been meant.
    pub(crate) fn ask_of_stream<T>(
        &self,
        stream: &str,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T> {
        self.api.wait(answer).map_err(|error| {
            let is_unknown = error.problem("unknown-stream").is_some();
            let explained = self.api.explain(error);
            if !is_unknown { explained } else { anyhow!("{explained}{}", self.stream_meant(stream)) }
        })
    }

    fn stream_meant(&self, typed: &str) -> String {
        // Whoever mistypes a name has its beginning right more often than not.
        let prefix: String = typed.chars().take(1).collect();
        let names = self.client().names(&self.store, Names::Streams, &prefix, None, CANDIDATES_MAX, false);
        let Ok(page) = self.api.wait(names) else { return String::new() };
        hint(typed, page.names.iter().map(String::as_str))
    }
}
