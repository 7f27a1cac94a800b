//! The HTTP front-end: is the server alive, is it ready, how is it doing.
//!
//! Serves `/health/live`, `/health/ready`, `/metrics`, `/openapi.json` and, at `/`, a list of these. What it tells it
//! learns from a [`Status`], which whoever builds the process implements; nothing of the broker is known here.
//!
//! ```
//! use std::{fmt, sync::Arc};
//!
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
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (metrics, mut registry) = (Metrics::default(), Registry::with_prefix("annals"));
//! metrics.register(&mut registry);
//! let options = Options { address: "127.0.0.1:0".parse()?, ..Options::default() };
//! let server = Server::bind(options, Arc::new(AlwaysReady(registry)), metrics).await?;
//! println!("http={}", server.local_addr());
//! let shutdown = async { /* for example a signal */ };
//! server.run(shutdown).await;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: a client that is slow, silent or hostile costs one place among
//! [`Options::connections_max`] for a bounded time and a bounded amount of memory. A web page cannot read from here by
//! pointing its own name at this machine (see [`Options::allowed_hosts`]). Each error that a handler answers is a
//! problem document (RFC 9457).

mod accept;
mod exposition;
mod host;
mod metrics;
mod options;
mod problem;
mod routes;
mod server;
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
