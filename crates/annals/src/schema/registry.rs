//! What earlier programs registered, and whether this one may join them.
//!
//! The schemas of an event are a stream of their own, `~schema-NAME`: one event for each schema that was registered. Two
//! programs that start together meet at the stream's revision; the slower one looks again.

use serde_json::Value;

use super::{Compatibility, EventSchema, Incompatibility, ShapeError, check_reads};
use crate::store::{
    Append, AppendError, Expected, NameError, NewEvent, Read, ReadError, Recorded, Revision, Store,
    StreamName,
};
use crate::{Clock, ErrorKind, Upcasters};

/// How often to look again when other programs register at the same time.
const ATTEMPTS_MAX: usize = 20;
/// The name of the event that registers a schema.
const REGISTERED: &str = "~SchemaRegistered";

/// Why a program may not write to a store.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// What is stored and what the program knows do not go together.
    #[error(
        "event {name} version {version} does not go with version {other}, which is registered (compatibility {mode}): {}; {advice}",
        list(problems)
    )]
    Incompatible {
        /// The event's name.
        name: String,
        /// The version that the program knows.
        version: u32,
        /// The version that is registered.
        other: u32,
        /// What is asked for.
        mode: Compatibility,
        /// What does not fit.
        problems: Vec<Incompatibility>,
        /// What to do about it.
        advice: String,
    },
    /// An old version is registered that the program cannot read at all.
    #[error(
        "event {name} version {stored} is registered, the program knows version {known}, and no upcaster leads from {stored} to there: add one"
    )]
    MissingUpcaster {
        /// The event's name.
        name: String,
        /// The version that is registered.
        stored: u32,
        /// The version that the program knows.
        known: u32,
    },
    /// The program is older than what is stored.
    #[error(
        "event {name} version {stored} is registered by a newer program, this one knows version {known}: update it, or have versions that older programs read with compatibility FORWARD or FULL"
    )]
    Older {
        /// The event's name.
        name: String,
        /// The version that is registered.
        stored: u32,
        /// The version that the program knows.
        known: u32,
    },
    /// The schema of a type cannot be taken apart.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// An event's name makes no stream's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What is registered could not be read.
    #[error("the registered schemas cannot be read")]
    Read(#[from] ReadError),
    /// What is registered is no schema.
    #[error("the schema of event {name} at revision {revision} cannot be understood")]
    Damaged {
        /// The event's name.
        name: String,
        /// Which one.
        revision: Revision,
        /// What serde says.
        source: serde_json::Error,
    },
    /// The schema could not be registered.
    #[error("the schema cannot be registered")]
    Append(#[from] AppendError),
}

fn list(problems: &[Incompatibility]) -> String {
    let texts: Vec<String> = problems.iter().map(Incompatibility::to_string).collect();
    texts.join(", ")
}

impl SchemaError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Incompatible { .. }
            | Self::MissingUpcaster { .. }
            | Self::Older { .. }
            | Self::Shape(_)
            | Self::Name(_) => ErrorKind::Input,
            Self::Read(error) => error.kind(),
            Self::Append(error) => error.kind(),
            Self::Damaged { .. } => ErrorKind::Corrupt,
        }
    }
}

/// What a program wants to register, and by which rules.
pub(crate) struct Checked<'a> {
    pub(crate) mode: Compatibility,
    pub(crate) upcasters: &'a Upcasters,
    /// All that the program knows, for upcasters that end at another event.
    pub(crate) all: &'a [EventSchema],
}

/// Registers all schemas of `checked`, or nothing of the first one that does not fit.
pub(crate) async fn register(
    store: &dyn Store,
    clock: &Clock,
    checked: &Checked<'_>,
) -> Result<(), SchemaError> {
    // All are checked before any is registered, so that a refused program leaves nothing behind.
    for schema in checked.all {
        let (known, _) = registered(store, &stream(schema)?).await?;
        checked.check(schema, &known)?;
    }
    for schema in checked.all {
        register_one(store, clock, checked, schema).await?;
    }
    Ok(())
}

async fn register_one(
    store: &dyn Store,
    clock: &Clock,
    checked: &Checked<'_>,
    schema: &EventSchema,
) -> Result<(), SchemaError> {
    let stream = stream(schema)?;
    let mut attempt = 0;
    loop {
        let (known, revision) = registered(store, &stream).await?;
        checked.check(schema, &known)?;
        if known.contains(schema) {
            return Ok(());
        }
        let append = Append::to(stream.clone(), Expected::after(revision), vec![event(schema, clock)]);
        match store.append(append).await {
            Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS_MAX => attempt += 1,
            other => return Ok(other.map(drop)?),
        }
    }
}

fn stream(schema: &EventSchema) -> Result<StreamName, NameError> {
    StreamName::of("~schema", &schema.name)
}

fn event(schema: &EventSchema, clock: &Clock) -> NewEvent {
    NewEvent::own(clock, REGISTERED, serde_json::json!(schema).to_string())
}

/// All schemas of one event in the order in which they were registered.
async fn registered(
    store: &dyn Store,
    stream: &StreamName,
) -> Result<(Vec<EventSchema>, Option<Revision>), SchemaError> {
    let mut read = Read::stream(stream.clone());
    let (mut schemas, mut last) = (Vec::new(), None);
    loop {
        let page = store.read(read.clone()).await?;
        for recorded in page.events {
            last = Some(recorded.revision);
            schemas.push(parse(stream, &recorded)?);
        }
        match page.next {
            Some(next) => read.from = Some(next),
            None => return Ok((schemas, last)),
        }
    }
}

fn parse(stream: &StreamName, recorded: &Recorded) -> Result<EventSchema, SchemaError> {
    serde_json::from_slice(&recorded.data).map_err(|source| SchemaError::Damaged {
        name: stream.id().unwrap_or_default().to_owned(),
        revision: recorded.revision,
        source,
    })
}

impl Checked<'_> {
    fn check(&self, new: &EventSchema, known: &[EventSchema]) -> Result<(), SchemaError> {
        if self.mode == Compatibility::None {
            return Ok(());
        }
        let from = if self.mode.is_transitive() { 0 } else { known.len().saturating_sub(1) };
        known[from..].iter().filter(|old| *old != new).try_for_each(|old| self.check_pair(new, old))
    }

    fn check_pair(&self, new: &EventSchema, old: &EventSchema) -> Result<(), SchemaError> {
        if old.version > new.version && !self.mode.is_forward() {
            let (name, stored, known) = (new.name.clone(), old.version, new.version);
            return Err(SchemaError::Older { name, stored, known });
        }
        if self.mode.is_backward() {
            self.check_backward(new, old)?;
        }
        if self.mode.is_forward() {
            let advice = "older programs must be able to read it: keep what they need";
            compare(&old.reads, &new.writes).map_err(|problems| self.refuse(new, old, problems, advice))?;
        }
        Ok(())
    }

    fn check_backward(&self, new: &EventSchema, old: &EventSchema) -> Result<(), SchemaError> {
        let (end_name, end_version) = self.upcasters.end(&old.name, old.version);
        if (end_name, end_version) != (old.name.as_str(), old.version) {
            // What an upcaster makes of the data is for its tests to say; here it counts that it leads somewhere.
            return if self.is_read(end_name, end_version) { Ok(()) } else { Err(missing(new, old)) };
        }
        if old.version < new.reads_from {
            return Err(missing(new, old));
        }
        let advice = format!(
            "give new fields a default, or write version {} and add an upcaster from {}",
            new.version.max(old.version) + 1,
            old.version
        );
        compare(&new.reads, &old.writes).map_err(|problems| self.refuse(new, old, problems, &advice))
    }

    fn is_read(&self, name: &str, version: u32) -> bool {
        self.all.iter().any(|one| one.name == name && (one.reads_from..=one.version).contains(&version))
    }

    fn refuse(
        &self,
        new: &EventSchema,
        old: &EventSchema,
        problems: Vec<Incompatibility>,
        advice: &str,
    ) -> SchemaError {
        SchemaError::Incompatible {
            name: new.name.clone(),
            version: new.version,
            other: old.version,
            mode: self.mode,
            problems,
            advice: advice.to_owned(),
        }
    }
}

fn missing(new: &EventSchema, old: &EventSchema) -> SchemaError {
    SchemaError::MissingUpcaster { name: old.name.clone(), stored: old.version, known: new.version }
}

fn compare(reader: &Value, writer: &Value) -> Result<(), Vec<Incompatibility>> {
    let problems = check_reads(reader, writer);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
