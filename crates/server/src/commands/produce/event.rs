//! CloudEvents headers on produced records.
//!
//! With `--event-type` every record becomes an event in the binary mode of the Kafka protocol binding:
//! attributes are headers, the value stays what it was. A type that is not in the past tense draws advice,
//! never a refusal.

use annals_clock::Clock;
use annals_event::{Event, kafka};
use anyhow::{Context, Result};

use super::line;
use crate::failure::usage;

/// How records become events.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct EventArgs {
    /// Add CloudEvents headers with this type; name it in the past tense: OrderPlaced
    #[arg(long, value_name = "TYPE")]
    event_type: Option<String>,

    /// The CloudEvents source: who says that it happened, as a URI or path [default: /annals/cli]
    #[arg(long, value_name = "URI", requires = "event_type")]
    source: Option<String>,

    /// The CloudEvents subject: what it happened to
    #[arg(long, value_name = "TEXT", requires = "event_type")]
    subject: Option<String>,
}

/// What is the same in all events of one run.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    event_type: String,
    source: String,
    subject: Option<String>,
    content_type: &'static str,
}

impl EventArgs {
    /// The envelope that the options ask for. Prints advice about its type on standard error.
    pub(crate) fn envelope(&self, lines: &line::LineArgs) -> Result<Option<Envelope>> {
        let Some(event_type) = self.event_type.clone() else { return Ok(None) };
        if let Some(advice) = annals_event::past_tense_advice(&event_type) {
            eprintln!("annals: advice: {advice}");
        }
        let envelope = Envelope {
            event_type,
            source: self.source.clone().unwrap_or_else(|| "/annals/cli".to_owned()),
            subject: self.subject.clone(),
            content_type: if lines.json { "application/json" } else { "text/plain" },
        };
        // A wrong attribute is wrong for every record: say so before the first.
        envelope.headers(&Clock::system()).map_err(|error| usage(format!("{error:#}")))?;
        Ok(Some(envelope))
    }
}

impl Envelope {
    /// The headers of one event, with an id of its own and the current time.
    pub(crate) fn headers(&self, clock: &Clock) -> Result<Vec<kafka::Header>> {
        let mut builder = Event::builder(self.source.as_str(), self.event_type.as_str())
            .time_ms(clock.now_ms())
            .data(self.content_type, &b""[..]);
        if let Some(subject) = &self.subject {
            builder = builder.subject(subject.as_str());
        }
        let event = builder.build(clock).context("not a valid event")?;
        Ok(kafka::encode(&event).headers)
    }
}
