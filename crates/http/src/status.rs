//! What this front-end asks of the rest of the process.

use std::fmt;

use annals_broker::Broker;
use serde::Serialize;
use utoipa::ToSchema;

/// The state of the process, as health checks and metrics show it.
pub trait Status: Send + Sync + 'static {
    /// Whether clients can be served now, and if not, why. Called on the runtime for each request, so it answers quickly
    /// and from memory.
    fn ready(&self) -> Readiness;

    /// Writes all metrics in the OpenMetrics text format, `# EOF` included, as
    /// `prometheus_client::encoding::text::encode` does. Called on a thread that may block, once at a time.
    ///
    /// # Errors
    /// What the encoder answers. It becomes a status of 500.
    fn encode_metrics(&self, into: &mut String) -> fmt::Result;

    /// The broker, once it is open. Until then, what needs it answers 503.
    fn broker(&self) -> Option<&Broker>;
}

/// Whether clients can be served.
///
/// ```
/// use annals_http::{Readiness, Reason, ReasonCode};
///
/// let recovering = Reason::new(ReasonCode::Recovering, "2 of 10 segments read");
/// assert!(!Readiness::not_ready([recovering]).ready);
/// assert!(Readiness::not_ready([]).ready);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct Readiness {
    /// Whether requests of clients are accepted and can succeed.
    pub ready: bool,
    /// Why not; empty when ready.
    pub reasons: Vec<Reason>,
}

impl Readiness {
    /// Ready, for no reason.
    pub fn ready() -> Self {
        Self::not_ready([])
    }

    /// Not ready because of `reasons`. Without reasons this is [`Readiness::ready`].
    pub fn not_ready(reasons: impl IntoIterator<Item = Reason>) -> Self {
        let reasons: Vec<_> = reasons.into_iter().collect();
        Self { ready: reasons.is_empty(), reasons }
    }
}

/// One reason for not being ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reason {
    /// Which of the known reasons, for programs.
    pub code: ReasonCode,
    /// What exactly, for people.
    pub detail: String,
}

impl Reason {
    /// The reason `code`, explained by `detail`.
    pub fn new(code: ReasonCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// The reasons for not being ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// The journal is being read after a start. Ends by itself.
    Recovering,
    /// The journal accepts no more writes, for example after a failed sync. Needs an operator.
    JournalStopped,
    /// The disk is full. Ends when space returns.
    DiskFull,
    /// The server is stopping.
    Draining,
}
