//! The HTTP front-end: the event store, and how the server is doing.
//!
//! Serves the event stores below `/stores` and CloudEvents at `/events` (see `docs/http.md`), and `/health/live`,
//! `/health/ready`, `/metrics`, `/openapi.json` and, at `/`, a list of these. It listens before there is a broker: what it
//! tells then it learns from a [`Status`], which whoever builds the process implements, and which gives the broker once it is open.
//!
//! A request passes the gate (`routes`), then a handler below `routes/`, which reads its input (`query`, `input`, `event`),
//! calls the broker, and writes the answer; errors become problems in `outcome`.
//!
//! ```
//! use std::{fmt, sync::Arc};
//!
//! use annals_broker::Broker;
//! use annals_clock::Clock;
//! use annals_http::{Metrics, Options, Readiness, Server, Status};
//! use prometheus_client::{encoding::text::encode, registry::Registry};
//!
//! struct AlwaysReady(Registry);
//!
//! impl Status for AlwaysReady {
//!     fn ready(&self) -> Readiness {
//!         Readiness::ready()
//!     }
//!
//!     fn encode_metrics(&self, into: &mut String) -> fmt::Result {
//!         encode(into, &self.0)
//!     }
//!
//!     fn broker(&self) -> Option<&Broker> {
//!         None // Not open yet.
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (metrics, mut registry) = (Metrics::default(), Registry::with_prefix("annals"));
//! metrics.register(&mut registry);
//! let options = Options { address: "127.0.0.1:0".parse()?, ..Options::default() };
//! let server = Server::bind(options, Arc::new(AlwaysReady(registry)), metrics, Clock::system()).await?;
//! println!("http={}", server.local_addr());
//! let shutdown = async { /* for example a signal */ };
//! server.run(shutdown).await;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: data is stored and given as the bytes that came, never parsed and written again. Bodies take bounded memory
//! (`body`). A client that is slow, silent or hostile costs one place among
//! [`Options::connections_max`] for a bounded time and a bounded amount of memory. A web page cannot read from here by
//! pointing its own name at this machine (see [`Options::allowed_hosts`]). Each error that a handler answers is a
//! problem document (RFC 9457).

mod accept;
mod answer;
mod app;
mod body;
mod event;
mod exposition;
mod family;
mod host;
mod input;
mod management;
mod metrics;
mod options;
mod outcome;
mod problem;
mod query;
mod routes;
mod segments;
mod server;
mod sessions;
mod stall;
mod status;

pub use metrics::Metrics;
pub use options::Options;
pub use problem::Problem;
pub use server::{BindError, Server};
pub use status::{Readiness, Reason, ReasonCode, Status};

/// The OpenAPI description of everything served here, as `/openapi.json` answers it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes::openapi::document()
}
