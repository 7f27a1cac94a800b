//! Decisions whose boundary is a query: what was read, and not one stream, must not have changed.
//!
//! "A student takes part in at most five courses, and a course has at most thirty students" belongs to neither a student nor
//! a course. Such a decision reads the events with either tag and appends under the condition that no other has come since.
//! The idea is the dynamic consistency boundary (dcb.events).

use std::future::IntoFuture;
use std::pin::Pin;

use crate::decider::evolve_all;
use crate::execute::pause;
use crate::store::{Append, AppendError, Condition, Expected, Metadata, Position, Query, Read, StreamName};
use crate::{Decider, EventStore, ExecuteError, Executed, LoadError};

/// How often a command is decided again, unless it says otherwise.
const RETRIES: u32 = 10;

/// A command on everything that a query finds; see [`EventStore::execute_on`].
#[must_use = "a command is carried out by awaiting this"]
pub struct ExecuteOn<D: Decider> {
    store: EventStore,
    query: Query,
    stream: StreamName,
    command: D::Command,
    retries: u32,
    metadata: Metadata,
}

impl EventStore {
    /// Carries out `command` on the state that the events of `query` make, and appends what happens to `stream`, unless another
    /// event of `query` has come meanwhile; then it decides again. All events that `query` finds must be events of `D`.
    ///
    /// ```
    /// # use annals::store::{Query, StreamName};
    /// # use annals::{Decider, EventStore, Executed, ExecuteError, Tag};
    /// # async fn enrol<Enrolment: Decider>(store: EventStore, command: Enrolment::Command)
    /// # -> Result<Executed<Enrolment>, ExecuteError<Enrolment::Error>> {
    /// let boundary = Query::tags([Tag::new("student:17")]).or(Query::tags([Tag::new("course:rust")]));
    /// let stream = StreamName::new("enrolment-17").expect("a good name");
    /// store.execute_on::<Enrolment>(boundary, stream, command).await
    /// # }
    /// ```
    pub fn execute_on<D: Decider>(
        &self,
        query: Query,
        stream: StreamName,
        command: D::Command,
    ) -> ExecuteOn<D> {
        let metadata = Metadata::default();
        ExecuteOn { store: self.clone(), query, stream, command, retries: RETRIES, metadata }
    }
}

impl<D: Decider> ExecuteOn<D> {
    /// How often to decide again if somebody else was faster; 10 unless said otherwise.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// What is stored beside each event: correlation, causation and more.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    async fn run(self) -> Result<Executed<D>, ExecuteError<D::Error>> {
        let mut attempt = 0;
        loop {
            match self.attempt().await {
                Err(ExecuteError::Append(AppendError::Condition { .. })) if attempt < self.retries => {
                    attempt += 1;
                    pause(self.store.clock(), attempt).await;
                }
                other => return other,
            }
        }
    }

    async fn attempt(&self) -> Result<Executed<D>, ExecuteError<D::Error>> {
        let (state, after) = self.load().await?;
        let events = D::decide(&self.command, &state).map_err(ExecuteError::Rejected)?;
        if events.is_empty() {
            return Ok(Executed { events, state, revision: None, position: None, duplicate: false });
        }
        let encoded = self.store.encode(&events, &self.metadata)?;
        let state = evolve_all::<D>(state, &events);
        let condition = Condition { query: self.query.clone(), after };
        let append = Append::to(self.stream.clone(), Expected::Any, encoded).unless(condition);
        let appended = self.store.raw().append(append).await?;
        let revision = appended.revisions.first().map(|(_, revision)| *revision);
        Ok(Executed { events, state, revision, position: Some(appended.position), duplicate: false })
    }

    /// The state, and the position up to where the store was looked at for it. Events behind the last one that is in the state
    /// may match as well and not be shown any more: they are part of what was read all the same.
    async fn load(&self) -> Result<(D::State, Option<Position>), LoadError> {
        let mut read = Read::all().matching(self.query.clone());
        let (mut state, mut after) = (D::State::default(), None);
        loop {
            let page = self.store.raw().read(read.clone()).await?;
            for recorded in page.events {
                after = Some(recorded.position);
                if let Some(envelope) = self.store.inner.codec.read_known::<D::Event>(recorded)? {
                    state = D::evolve(state, &envelope.event);
                }
            }
            after = after.max(page.looked_to);
            match page.next {
                Some(next) => read.from = Some(next),
                None => return Ok((state, after)),
            }
        }
    }
}

impl<D: Decider> IntoFuture for ExecuteOn<D> {
    type Output = Result<Executed<D>, ExecuteError<D::Error>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
