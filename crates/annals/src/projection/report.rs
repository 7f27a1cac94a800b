//! The status of projections as it is published in the store: what those see who are in other processes.
//!
//! Each projection and reaction has a stream, `~projection-NAME`, to which it appends how it does: when that changes, and at most
//! once in a while. A report costs an event, which wakes those who follow the store, so it is not itself a reason for another
//! one: a place is reported only if users' events lie between it and the last one reported.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::status::{Phase, Rebuild, Status};
use crate::store::{Append, Expected, NewEvent, Position, Read, ReadError, StreamName};
use crate::{EventStore, TimestampMs};

/// The category of the streams of reports.
const CATEGORY: &str = "~projection";
/// The name of the event.
const REPORTED: &str = "~ProjectionReported";
/// How many reports are kept: those of all processes that run a projection go to one stream.
const REPORTS_KEPT: u64 = 32;
/// How many streams are listed at once.
const STREAMS_AT_ONCE: usize = 1000;

/// How a projection or reaction does, as it said itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectionReport {
    /// What it is called.
    #[serde(skip)]
    pub name: String,
    /// When it said so. It says nothing while nothing changes, and nothing any more when its process was killed.
    #[serde(skip)]
    pub reported_ms: TimestampMs,
    /// The version of its logic.
    pub version: u32,
    /// How often it was built anew.
    pub generation: u64,
    /// Tells processes apart that run it: a UUID, new at every start.
    pub instance: String,
    /// What it is doing; [`Phase::Ended`] when its process has stopped it.
    pub phase: Phase,
    /// Up to where its read model is complete.
    pub position: Option<Position>,
    /// Whether readers see it.
    pub serves: bool,
    /// What keeps it from going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The event at which it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_position: Option<Position>,
    /// How it does that is built anew beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<RebuildReport>,
}

/// How a read model does that is built anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RebuildReport {
    /// Which generation it is.
    pub generation: u64,
    /// What it is doing.
    pub phase: Phase,
    /// Up to where it is complete.
    pub position: Option<Position>,
    /// What keeps it from going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl EventStore {
    /// The latest reports of all projections and reactions that have ever run on this store with reports: one for each version.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn projections(&self) -> Result<Vec<ProjectionReport>, ReadError> {
        let prefix = format!("{CATEGORY}-");
        let (mut reports, mut after) = (Vec::new(), None);
        loop {
            let streams = self.raw().streams(&prefix, after.as_ref(), STREAMS_AT_ONCE).await?;
            for stream in &streams {
                reports.extend(self.reports_in(stream).await?);
            }
            if streams.len() < STREAMS_AT_ONCE {
                return Ok(reports);
            }
            after = streams.last().cloned();
        }
    }

    /// The latest reports of one projection, the newest version first.
    async fn reports_in(&self, stream: &StreamName) -> Result<Vec<ProjectionReport>, ReadError> {
        let read = Read::stream(stream.clone()).backward().limit(REPORTS_KEPT as usize);
        let mut latest = BTreeMap::new();
        for event in self.raw().read(read).await?.events {
            let report = serde_json::from_slice::<ProjectionReport>(&event.data);
            let Ok(mut report) = report.inspect_err(|error| tracing::debug!(%stream, %error, "no report"))
            else {
                continue;
            };
            report.name = stream.id().unwrap_or_default().to_owned();
            report.reported_ms = event.recorded_ms;
            latest.entry(report.version).or_insert(report);
        }
        Ok(latest.into_values().rev().collect())
    }
}

/// What publishes the status of one projection.
#[derive(Clone)]
pub(super) struct Reporter {
    store: EventStore,
    stream: StreamName,
    version: u32,
    instance: String,
    every: Duration,
    /// What was published last.
    last: Option<ProjectionReport>,
}

impl Reporter {
    /// None if it is not to report, or has a name that no stream can have.
    pub(super) fn new(store: EventStore, name: &str, version: u32, every: Option<Duration>) -> Option<Self> {
        let stream = StreamName::of(CATEGORY, name).ok()?;
        let instance = store.clock().uuid_v7().to_string();
        Some(Self { store, stream, version, instance, every: every?, last: None })
    }

    /// Publishes what `status` says until it ends.
    pub(super) async fn run(mut self, mut status: watch::Receiver<Status>) {
        loop {
            let report = self.report(&status.borrow_and_update().clone());
            if self.is_news(&report).await {
                self.publish(report).await;
                tokio::time::sleep(self.every).await;
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    }

    /// Says that it has ended, unless that cannot be said soon.
    pub(super) async fn end(mut self, status: &Status) {
        let mut report = self.report(status);
        if report.phase != Phase::Superseded {
            report.phase = Phase::Ended;
        }
        let _ = tokio::time::timeout(self.every.min(Duration::from_secs(1)), self.publish(report)).await;
    }

    fn report(&self, status: &Status) -> ProjectionReport {
        let rebuild =
            status.rebuild.as_ref().map(|Rebuild { generation, phase, position, error }| RebuildReport {
                generation: *generation,
                phase: *phase,
                position: *position,
                error: error.clone(),
            });
        ProjectionReport {
            name: String::new(),
            reported_ms: 0,
            version: self.version,
            generation: status.generation,
            instance: self.instance.clone(),
            phase: status.phase,
            position: status.position,
            serves: status.serves,
            error: status.error.as_ref().map(|error| explain(error.as_ref())),
            error_position: status.error.as_ref().and_then(|error| error.position()),
            rebuild,
        }
    }

    async fn is_news(&mut self, report: &ProjectionReport) -> bool {
        let Some(last) = &mut self.last else { return report.phase != Phase::Starting };
        let same_place = ProjectionReport {
            position: last.position,
            rebuild: report.rebuild.clone().map(|rebuild| RebuildReport {
                position: last.rebuild.as_ref().and_then(|last| last.position),
                ..rebuild
            }),
            ..report.clone()
        };
        if same_place != *last {
            return true;
        }
        if report.position == last.position && report.rebuild == last.rebuild {
            return false;
        }
        let is_news = report.rebuild != last.rebuild || has_events_behind(&self.store, last.position).await;
        if !is_news {
            // Only Annals' own events lie in between: so far nothing is missing in what was said.
            last.position = report.position;
        }
        is_news
    }

    async fn publish(&mut self, report: ProjectionReport) {
        let data = serde_json::json!(report).to_string();
        let event = NewEvent::own(self.store.clock(), REPORTED, data);
        let append = Append::to(self.stream.clone(), Expected::Any, vec![event]);
        match self.store.raw().append(append).await {
            Ok(appended) => {
                let is_first = appended.revisions.first().is_some_and(|(_, revision)| revision.0 == 0);
                if is_first {
                    self.store.keep_last(&self.stream, REPORTS_KEPT).await;
                }
                self.last = Some(report);
            }
            Err(error) => tracing::debug!(stream = %self.stream, %error, "a report is not published"),
        }
    }
}

/// Whether a user's event lies behind a position.
async fn has_events_behind(store: &EventStore, position: Option<Position>) -> bool {
    let page = store.raw().read(Read::all().backward().limit(1)).await;
    // If the store is away, nothing can be published either.
    page.is_ok_and(|page| page.events.first().is_some_and(|event| Some(event.position) > position))
}

/// An error with what lies behind it.
fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
