//! From what is stored to a Rust type: find the event type, bring an old version up to it, read the data.

use crate::store::Recorded;
use crate::upcast::{RawEvent, UpcastError, Upcasters};
use crate::{Envelope, ErrorKind, Event, EventType, variant};

/// How the events of one store are read.
#[derive(Debug, Default)]
pub(crate) struct Codec {
    pub(crate) upcasters: Upcasters,
    /// Whether an event of a newer version than the program knows is read as if it were the known one.
    pub(crate) accept_newer: bool,
}

/// Why a stored event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is of an older version, and nothing leads from there to the one that the program knows.
    #[error(
        "event {name} at position {position} has version {stored}, the program knows {known}, and no upcaster leads from {stored}: add one"
    )]
    MissingUpcaster {
        /// Its name.
        name: String,
        /// Its place.
        position: u64,
        /// The version that the upcasters brought it to.
        stored: u32,
        /// The version that the Rust type has.
        known: u32,
    },
    /// It was written by a newer program.
    #[error(
        "event {name} at position {position} has version {stored}, the program knows {known}: it was written by a newer program"
    )]
    NewerVersion {
        /// Its name.
        name: String,
        /// Its place.
        position: u64,
        /// The stored version.
        stored: u32,
        /// The version that the Rust type has.
        known: u32,
    },
    /// It belongs to a stream whose type does not know it.
    #[error(
        "event {name} in stream {stream} at position {position} is none of the events that the program knows there"
    )]
    UnknownType {
        /// Its name.
        name: String,
        /// Its stream.
        stream: String,
        /// Its place.
        position: u64,
    },
    /// Its data does not fit the Rust type.
    #[error(
        "the data of event {name} version {version} at position {position} does not fit the program's type"
    )]
    Data {
        /// Its name.
        name: String,
        /// The version that was read.
        version: u32,
        /// Its place.
        position: u64,
        /// What serde says.
        source: serde_json::Error,
    },
    /// An upcaster failed.
    #[error("event at position {position} cannot be brought up to date")]
    Upcast {
        /// Its place.
        position: u64,
        /// Which one, and why.
        source: UpcastError,
    },
}

impl DecodeError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::MissingUpcaster { .. } | Self::NewerVersion { .. } | Self::UnknownType { .. } => {
                ErrorKind::Input
            }
            Self::Upcast { .. } => ErrorKind::Bug,
            Self::Data { .. } => ErrorKind::Corrupt,
        }
    }
}

impl DecodeError {
    /// Where the event is.
    pub fn position(&self) -> crate::store::Position {
        let (Self::MissingUpcaster { position, .. }
        | Self::NewerVersion { position, .. }
        | Self::UnknownType { position, .. }
        | Self::Data { position, .. }
        | Self::Upcast { position, .. }) = self;
        crate::store::Position(*position)
    }
}

impl Codec {
    /// Reads `recorded` as an `E`; `None` if it is none of `E`'s event types, or was shredded and nothing stands in for it.
    pub(crate) fn read<E: Event>(&self, recorded: Recorded) -> Result<Option<Envelope<E>>, DecodeError> {
        let event = if recorded.shredded {
            self.known::<E>(&recorded).and_then(|known| E::shredded(known, &recorded))
        } else if self.upcasters.concerns(&recorded.name, recorded.version) {
            self.read_upcast(&recorded)?
        } else {
            self.read_as_it_is(&recorded)?
        };
        Ok(event.map(|event| Envelope::new(event, recorded)))
    }

    /// Like [`Codec::read`], where the stream holds nothing but events of `E`.
    pub(crate) fn read_known<E: Event>(
        &self,
        recorded: Recorded,
    ) -> Result<Option<Envelope<E>>, DecodeError> {
        if recorded.shredded && self.known::<E>(&recorded).is_some() {
            return self.read(recorded);
        }
        let unknown = DecodeError::UnknownType {
            name: recorded.name.clone(),
            stream: recorded.stream.to_string(),
            position: recorded.position.0,
        };
        self.read(recorded)?.ok_or(unknown).map(Some)
    }

    /// The names under which events of `E` may be stored, those from before a renaming included.
    pub(crate) fn stored_names<E: Event>(&self) -> Vec<String> {
        let mut names: Vec<String> = E::TYPES.iter().map(|known| known.name.to_owned()).collect();
        self.upcasters.add_former_names(&mut names);
        names
    }

    /// The event type that `recorded` is read as, whatever its data is.
    fn known<E: Event>(&self, recorded: &Recorded) -> Option<&'static EventType> {
        event_type::<E>(self.upcasters.end(&recorded.name, recorded.version).0)
    }

    fn read_as_it_is<E: Event>(&self, recorded: &Recorded) -> Result<Option<E>, DecodeError> {
        let Some(known) = event_type::<E>(&recorded.name) else { return Ok(None) };
        self.check_version(known, recorded.version, recorded)?;
        let read = variant::from_slice(known.variant, &recorded.data);
        read.map(Some).map_err(|source| data_error(recorded, known.name, recorded.version, source))
    }

    fn read_upcast<E: Event>(&self, recorded: &Recorded) -> Result<Option<E>, DecodeError> {
        let raw = RawEvent::of(recorded);
        let raw = raw.map_err(|source| data_error(recorded, &recorded.name, recorded.version, source))?;
        let position = recorded.position.0;
        let raw = self.upcasters.apply(raw).map_err(|source| DecodeError::Upcast { position, source })?;
        let Some(known) = event_type::<E>(&raw.name) else { return Ok(None) };
        self.check_version(known, raw.version, recorded)?;
        let read = variant::from_value(known.variant, raw.data);
        read.map(Some).map_err(|source| data_error(recorded, known.name, raw.version, source))
    }

    fn check_version(&self, known: &EventType, stored: u32, recorded: &Recorded) -> Result<(), DecodeError> {
        let (name, position) = (known.name.to_owned(), recorded.position.0);
        if stored < known.reads {
            return Err(DecodeError::MissingUpcaster { name, position, stored, known: known.version });
        }
        if stored > known.version && !self.accept_newer {
            return Err(DecodeError::NewerVersion { name, position, stored, known: known.version });
        }
        Ok(())
    }
}

fn event_type<E: Event>(name: &str) -> Option<&'static EventType> {
    E::TYPES.iter().find(|known| known.name == name)
}

/// Errors are logged and reported in the store, so they must not say what encrypted data holds, as those of serde do.
fn data_error(recorded: &Recorded, name: &str, version: u32, source: serde_json::Error) -> DecodeError {
    let source = if recorded.encrypted { without_data(&source) } else { source };
    DecodeError::Data { name: name.to_owned(), version, position: recorded.position.0, source }
}

fn without_data(error: &serde_json::Error) -> serde_json::Error {
    let place = format_args!("line {} column {}", error.line(), error.column());
    serde::de::Error::custom(format_args!("it fails at {place}; the data is encrypted, so no more is told"))
}
