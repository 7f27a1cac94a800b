//! Exchanges, queues and bindings, asked for over the management API (`/api`, in RabbitMQ's form).

use anyhow::Result;
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::http::{Answer, HttpArgs, HttpClient, segment};

/// The options of commands about queues.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ManagementArgs {
    #[command(flatten)]
    http: HttpArgs,

    /// Virtual host
    #[arg(long, value_name = "NAME", env = "ANNALS_VHOST", default_value = "/", global = true)]
    vhost: String,
}

/// One virtual host of a server.
#[derive(Debug)]
pub(crate) struct Management {
    client: HttpClient,
    vhost: String,
}

/// A queue as the server describes it. What commands do not look at is kept for JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Queue {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) exclusive: bool,
    pub(crate) arguments: Map<String, Value>,
    pub(crate) messages_ready: u64,
    pub(crate) messages_unacknowledged: u64,
    pub(crate) consumers: u64,
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

/// An exchange as the server describes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Exchange {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: Map<String, Value>,
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

/// A binding as the server describes it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Binding {
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) destination_type: String,
    pub(crate) routing_key: String,
    pub(crate) arguments: Map<String, Value>,
    pub(crate) properties_key: String,
}

/// A message that was looked at.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Peeked {
    pub(crate) sequence: u64,
    pub(crate) leased: bool,
    pub(crate) published_ms: i64,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) payload: String,
    pub(crate) payload_encoding: String,
    pub(crate) payload_bytes: u64,
    pub(crate) properties: Value,
}

/// A message that is not due yet.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Scheduled {
    /// What it is cancelled by, if it is persistent.
    pub(crate) sequence: Option<u64>,
    pub(crate) due_ms: i64,
    pub(crate) published_ms: i64,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) payload: String,
    pub(crate) payload_encoding: String,
    pub(crate) payload_bytes: u64,
    pub(crate) properties: Value,
}

impl Management {
    /// Reads the options. Nothing is connected before the first request.
    ///
    /// # Errors
    /// If the options are not of the form that is asked for.
    pub(crate) fn open(args: &ManagementArgs) -> Result<Self> {
        Ok(Self { client: HttpClient::open(&args.http)?, vhost: args.vhost.clone() })
    }

    /// The path of something in the virtual host.
    pub(crate) fn path(&self, kind: &str, names: &[&str]) -> String {
        let names = std::iter::once(self.vhost.as_str()).chain(names.iter().copied());
        names.fold(format!("/api/{kind}"), |path, name| format!("{path}/{}", segment(name)))
    }

    /// The path of something of a queue.
    pub(crate) fn of_queue(&self, queue: &str, what: &str) -> String {
        format!("{}/{what}", self.path("queues", &[queue]))
    }

    /// Asks for JSON.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub(crate) fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.client.get(path)
    }

    /// Asks with a JSON body.
    ///
    /// # Errors
    /// As [`HttpClient::call`].
    pub(crate) fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.client.call(method, path, body)
    }

    pub(crate) fn queues(&self) -> Result<Vec<Queue>> {
        self.get(&self.path("queues", &[]))
    }

    pub(crate) fn queue(&self, name: &str) -> Result<Queue> {
        self.get(&self.path("queues", &[name])).map_err(|error| missing(error, "queue", name))
    }

    pub(crate) fn exchanges(&self) -> Result<Vec<Exchange>> {
        self.get(&self.path("exchanges", &[]))
    }

    pub(crate) fn bindings(&self) -> Result<Vec<Binding>> {
        self.get(&self.path("bindings", &[]))
    }
}

/// Names what is missing: the server says only that the path is not there.
pub(crate) fn missing(error: anyhow::Error, kind: &str, name: &str) -> anyhow::Error {
    match super::http::is_refused_with(&error, hyper::StatusCode::NOT_FOUND) {
        true => anyhow::anyhow!("no {kind} \"{name}\" in this virtual host"),
        false => error,
    }
}
