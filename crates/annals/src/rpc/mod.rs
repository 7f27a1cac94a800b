//! Request and reply over queues: ask whoever serves a subject, and hear the answer before a deadline.
//!
//! ```
//! use std::time::Duration;
//! use annals::rpc::{Call, Failure, RequestError};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("data");
//! let annals = annals::Annals::open(&path).await?;
//! let client = annals.rpc()?;
//!
//! let square = async |call: Call| {
//!     let number: u64 = call.text().parse().map_err(|_| Failure::input("not-a-number", "send digits"))?;
//!     Ok((number * number).to_string())
//! };
//! let responder = client.respond("square", square).concurrency(4).await?;
//!
//! let reply = client.request("square", "12", Duration::from_secs(5)).await?;
//! assert_eq!(reply.text(), "144");
//!
//! let refused = client.request("square", "twelve", Duration::from_secs(5)).await;
//! assert!(matches!(refused, Err(RequestError::Failed { failure, .. }) if failure.code == "not-a-number"));
//!
//! responder.stop().await;
//! annals.close().await;
//! # Ok(()) }
//! ```
//!
//! A subject is the name of a queue; responders of the same subject share its requests. Code that uses this runs in three
//! places without a change: over a data directory in the same process (`Annals::rpc`), over a server (`Client::connect`, with
//! the feature `amqp`), and over RabbitMQ (another address). What travels is what RabbitMQ's own tutorial sends, so that
//! programs in other languages can be on either side.
//!
//! Promises:
//! - A request that has not been taken when its deadline passes is never worked on: the deadline is the message's time to live.
//! - A request is answered at most once to the one who asked; what comes later is dropped and counted ([`ClientStats`]).
//! - A responder that dies gives its requests to another one, so that work may be done twice: see [`Call::redelivered`].
//! - What goes wrong in a responder is told to the requester as a [`Failure`], with a kind to act upon.
//! - Everything is bounded: requests under way, work at a time, sizes.
//!
//! | Of a request | In AMQP 0-9-1 |
//! |---|---|
//! | subject | routing key, default exchange, mandatory |
//! | deadline | `expiration`, in milliseconds from the publish |
//! | its id | `message-id`, and `correlation-id`, which the reply repeats |
//! | where the reply goes | `reply-to`: `amq.rabbitmq.reply-to` (direct reply-to) |
//! | correlation and causation, trace | headers `correlationid`, `causationid`, `traceparent`, `tracestate` |
//! | a failure | a reply whose content type is `application/vnd.annals.failure+json` |

#[cfg(feature = "amqp")]
mod amqp;
mod body;
mod client;
mod context;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod failure;
mod request;
mod responder;
mod session;
mod stats;
pub mod transport;

pub use body::{Body, JsonError};
pub use client::Client;
pub use context::Context;
#[cfg(feature = "embedded")]
pub use embedded::NoQueues;
pub use error::{RequestError, RespondError};
pub use failure::Failure;
pub use request::{Reply, Request};
pub use responder::{Call, Respond, Responder};
pub use stats::{ClientStats, ResponderStats};

/// The largest body of a request or a reply, in bytes: what RabbitMQ 4 takes unless told otherwise.
pub const BODY_BYTES_MAX: usize = 16 << 20;

/// The longest name of a subject, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 255;

/// The longest content type or name of a header, in bytes: a short string of AMQP 0-9-1.
const TEXT_BYTES_MAX: usize = 255;

/// Whether a subject can have this name.
fn is_subject(name: &str) -> bool {
    !name.is_empty() && name.len() <= SUBJECT_BYTES_MAX && !name.starts_with("amq.")
}
