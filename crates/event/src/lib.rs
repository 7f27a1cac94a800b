//! The envelope of an event: who says what happened, where, when and because of what.
//!
//! Every event that Annals itself writes or reads carries the attributes of [CloudEvents 1.0][spec], so that a library
//! of any language understands it. On top come the extensions that tie events together: `correlationid` (everything
//! that one action caused), `causationid` (the event that caused this one), W3C trace context, and `schemaversion`.
//!
//! ```
//! use annals_clock::Clock;
//! use annals_event::{Event, kafka};
//! use serde_json::json;
//!
//! let clock = Clock::system();
//! let placed = Event::builder("/shop/orders", "com.example.order.placed")
//!     .subject("order-123")
//!     .json(&json!({"orderId": "123", "total": 150}))
//!     .build(&clock)?;
//! let paid = Event::builder("/shop/payments", "com.example.order.paid").caused_by(&placed).build(&clock)?;
//! assert_eq!(paid.causation_id(), Some(placed.id()));
//! assert_eq!(paid.correlation_id(), Some(placed.id()));
//!
//! let message = kafka::encode(&paid);
//! assert_eq!(kafka::decode(&message)?, paid);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Invariants: an [`Event`] that exists follows the specification; there is no way to make one that does not. What a
//! decoder accepts is bounded by [`limits`]. Every error of this crate means that the event must be fixed by whoever
//! sent it; none is worth a retry.
//!
//! What a decoder lets through that a [`Builder`] refuses: extension attributes of other senders that bear our names but
//! not our meaning (a `schemaversion` of "2024-05", a broken `traceparent`). They travel on unchanged, as the
//! specification asks of intermediaries, and the typed accessors answer `None`.
//!
//! [spec]: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md

mod advice;
pub mod amqp;
mod attribute;
mod builder;
mod error;
mod event;
pub mod http;
pub mod json;
pub mod kafka;
mod lexicon;
pub mod limits;
mod media_type;
mod parts;
mod time;
mod trace;
mod uri;

pub use advice::{Advice, past_tense_advice};
pub use attribute::Value;
pub use builder::Builder;
pub use error::InvalidEvent;
pub use event::Event;
pub use time::Time;
pub use trace::{TraceError, TraceParent};
