//! Inline views: kept up to date by the very commit that stores the events, so a reader never sees one without the other.
//!
//! A view belongs to one value of a tag: all events that carry `customer:C1` make the view `C1` of a projection by
//! `customer`. Its states are a stream of their own, `~view.NAME.vVERSION-KEY`. Invariant: a state there is what folding all
//! events with that tag, up to that place, gives. It is stored under the condition that none has come that was not seen.
//! What came by another way (an older program, an append without a command) is applied when the view is next needed, and
//! so is everything where a view or a new version of it is not there yet: nothing has to be rebuilt.
//!
//! A state is stored readable. So none is stored that comes from an encrypted event, until that event is shredded: the view is
//! then made from the last state before it whenever it is needed.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::store::{
    Condition, Expected, NameError, NewEvent, Position, Query, QueryItem, Read, ReadError, Revision, Store,
    StreamName, StreamWrite,
};
use crate::{Clock, DecodeError, ErrorKind, Event, EventStore, Tag, variant};

/// How many states of a view are kept: the last one says everything.
pub(crate) const VIEWS_KEPT: u64 = 1;
/// The name of the event that holds a view's state.
const CHANGED: &str = "~ViewChanged";
/// States of version 1 may hold what comes from encrypted events; they are passed over.
const CHANGED_VERSION: u32 = 2;

/// A view for each value of a tag, kept by the commits of commands.
///
/// A view with encrypted events is not stored beyond the first of them, and made from the events on every command and every
/// look: keep such views short.
///
/// ```
/// use annals::projection::InlineProjection;
/// # use annals::Event;
/// use serde::{Deserialize, Serialize};
///
/// # #[derive(Event, Serialize, Deserialize)]
/// # enum OrderEvent { OrderPlaced { #[event(tag = "customer")] customer: String, total: u64 } }
/// #[derive(Default, Serialize, Deserialize)]
/// struct Spent {
///     total: u64,
/// }
///
/// struct SpentByCustomer;
///
/// impl InlineProjection for SpentByCustomer {
///     type Event = OrderEvent;
///     type View = Spent;
///     const NAME: &'static str = "spent";
///     const VERSION: u32 = 1;
///     const TAG: &'static str = "customer";
///
///     fn apply(view: Spent, event: &OrderEvent) -> Spent {
///         let OrderEvent::OrderPlaced { total, .. } = event;
///         Spent { total: view.total + total }
///     }
/// }
/// ```
pub trait InlineProjection: Send + Sync + 'static {
    /// The events that it looks at.
    type Event: Event;
    /// One view; `default` is that of a key without events.
    type View: Default + Serialize + DeserializeOwned + Send + 'static;

    /// What it is called: letters, digits, `_` and `.`.
    const NAME: &'static str;
    /// The version of its logic. Another version has its own views, made from the events.
    const VERSION: u32;
    /// The key of the tag whose values are the keys of the views.
    const TAG: &'static str;

    /// The view after `event`.
    fn apply(view: Self::View, event: &Self::Event) -> Self::View;
}

/// Why a view could not be read or kept up to date.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The key makes no name of a stream.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The store did not give the events or the view.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An event cannot be understood.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A view cannot be written, or is not what the program's type reads.
    #[error(
        "view {key} of the projection {name} cannot be {action}: raise the projection's version if its type has changed"
    )]
    View {
        /// The projection.
        name: &'static str,
        /// The view.
        key: String,
        /// "read" or "written".
        action: &'static str,
        /// What serde says.
        source: serde_json::Error,
    },
    /// The projection's function panicked. Nothing was stored.
    #[error("the inline projection {name} failed at view {key}: {message}")]
    Panicked {
        /// The projection.
        name: &'static str,
        /// The view.
        key: String,
        /// What it said.
        message: String,
    },
}

impl ViewError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name(_) => ErrorKind::Input,
            Self::Read(error) => error.kind(),
            Self::Decode(error) => error.kind(),
            Self::View { .. } => ErrorKind::Corrupt,
            Self::Panicked { .. } => ErrorKind::Bug,
        }
    }
}

/// All inline projections of a store.
#[derive(Default)]
pub(crate) struct InlineProjections(Vec<Box<dyn Follow>>);

/// What joins a commit because of its events.
#[derive(Default)]
pub(crate) struct Followers {
    pub(crate) writes: Vec<StreamWrite>,
    pub(crate) conditions: Vec<Condition>,
}

impl InlineProjections {
    pub(crate) fn add<P: InlineProjection>(&mut self) {
        self.0.push(Box::new(Follower::<P>(std::marker::PhantomData)));
    }

    pub(crate) fn name_twice(&self) -> Option<&'static str> {
        let mut seen = std::collections::HashSet::new();
        self.0.iter().map(|one| one.name()).find(|name| !seen.insert(*name))
    }

    /// The new states of all views that `events` belong to.
    pub(crate) async fn follow(
        &self,
        store: &dyn Store,
        codec: &Codec,
        clock: &Clock,
        events: &[NewEvent],
    ) -> Result<Followers, ViewError> {
        let mut followers = Followers::default();
        for projection in &self.0 {
            projection.follow(store, codec, clock, events, &mut followers).await?;
        }
        Ok(followers)
    }
}

/// An inline projection without its types.
#[async_trait]
trait Follow: Send + Sync {
    fn name(&self) -> &'static str;

    async fn follow(
        &self,
        store: &dyn Store,
        codec: &Codec,
        clock: &Clock,
        events: &[NewEvent],
        followers: &mut Followers,
    ) -> Result<(), ViewError>;
}

struct Follower<P>(std::marker::PhantomData<fn() -> P>);

#[async_trait]
impl<P: InlineProjection> Follow for Follower<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    async fn follow(
        &self,
        store: &dyn Store,
        codec: &Codec,
        clock: &Clock,
        events: &[NewEvent],
        followers: &mut Followers,
    ) -> Result<(), ViewError> {
        for (key, events) in by_key::<P>(events) {
            let found = find::<P>(store, codec, &key).await?;
            let (mut view, mut secrets) = (found.view, found.secrets);
            for event in events {
                view = apply::<P>(view, &read_new::<P>(event)?, &key)?;
                secrets |= event.encrypt_for.is_some();
            }
            if secrets {
                continue;
            }
            followers.conditions.push(found.condition);
            let data = serde_json::to_vec(&view);
            let data = data.map_err(|source| view_error::<P>(&key, "written", source))?;
            let event = NewEvent { version: CHANGED_VERSION, ..NewEvent::own(clock, CHANGED, data) };
            let expected = Expected::after(found.revision);
            followers.writes.push(StreamWrite { stream: stream::<P>(&key)?, expected, events: vec![event] });
        }
        Ok(())
    }
}

/// The events that belong to views of `P`, by the views' keys.
fn by_key<P: InlineProjection>(events: &[NewEvent]) -> BTreeMap<String, Vec<&NewEvent>> {
    let mut keys: BTreeMap<String, Vec<&NewEvent>> = BTreeMap::new();
    let known = |event: &&NewEvent| P::Event::TYPES.iter().any(|known| known.name == event.name);
    for event in events.iter().filter(known) {
        for tag in &event.tags {
            let value = tag.as_str().strip_prefix(P::TAG).and_then(|rest| rest.strip_prefix(':'));
            if let Some(key) = value.filter(|key| !key.is_empty()) {
                keys.entry(key.to_owned()).or_default().push(event);
            }
        }
    }
    keys
}

/// A view as the events make it.
struct Found<V> {
    view: V,
    /// The revision of its stored state.
    revision: Option<Revision>,
    /// Whether it comes from an encrypted event that can be read.
    secrets: bool,
    /// What must hold for a change of it to be stored.
    condition: Condition,
}

/// The stored state of a view and what has happened since. That is nothing, unless events came by another way.
async fn find<P: InlineProjection>(
    store: &dyn Store,
    codec: &Codec,
    key: &str,
) -> Result<Found<P::View>, ViewError> {
    let last = store.read(Read::stream(stream::<P>(key)?).backward().limit(1)).await?;
    let revision = last.events.first().map(|stored| stored.revision);
    let Some(stored) = last.events.first().filter(|stored| stored.version >= CHANGED_VERSION) else {
        let found = fold::<P>(store, codec, key, P::View::default(), None).await?;
        return Ok(Found { revision, ..found });
    };
    let view = serde_json::from_slice(&stored.data);
    let view = view.map_err(|source| view_error::<P>(key, "read", source))?;
    // The state was stored by the commit of its last event, behind that event.
    let found = fold::<P>(store, codec, key, view, Some(stored.position)).await?;
    Ok(Found { revision, ..found })
}

/// Applies the events of a view behind `after`. The condition begins behind all that was looked at, also behind events of the
/// view that are not shown any more.
async fn fold<P: InlineProjection>(
    store: &dyn Store,
    codec: &Codec,
    key: &str,
    mut view: P::View,
    mut after: Option<Position>,
) -> Result<Found<P::View>, ViewError> {
    let item = QueryItem { types: codec.stored_names::<P::Event>(), tags: vec![Tag::of(P::TAG, key)] };
    let query = Query { items: vec![item] };
    let mut read = Read::all().matching(query.clone());
    read.from = after.map(|after| after.next().0);
    let mut secrets = false;
    loop {
        let page = store.read(read.clone()).await?;
        for recorded in page.events {
            after = Some(recorded.position);
            secrets |= recorded.tells_secrets();
            if let Some(envelope) = codec.read::<P::Event>(recorded)? {
                view = apply::<P>(view, &envelope.event, key)?;
            }
        }
        after = after.max(page.looked_to);
        match page.next {
            Some(next) => read.from = Some(next),
            None => break,
        }
    }
    Ok(Found { view, revision: None, secrets, condition: Condition { query, after } })
}

fn apply<P: InlineProjection>(view: P::View, event: &P::Event, key: &str) -> Result<P::View, ViewError> {
    let call = std::panic::AssertUnwindSafe(|| P::apply(view, event));
    std::panic::catch_unwind(call).map_err(|panic| ViewError::Panicked {
        name: P::NAME,
        key: key.to_owned(),
        message: crate::upcast::panic_message(&panic),
    })
}

/// Reads an event that this program is about to store.
fn read_new<P: InlineProjection>(event: &NewEvent) -> Result<P::Event, ViewError> {
    let known = P::Event::TYPES.iter().find(|known| known.name == event.name);
    let variant = known.and_then(|known| known.variant);
    variant::from_slice(variant, &event.data).map_err(|source| {
        let (name, version) = (event.name.clone(), event.version);
        DecodeError::Data { name, version, position: u64::MAX, source }.into()
    })
}

fn stream<P: InlineProjection>(key: &str) -> Result<StreamName, NameError> {
    StreamName::of(&format!("~view.{}.v{}", P::NAME, P::VERSION), key)
}

fn view_error<P: InlineProjection>(key: &str, action: &'static str, source: serde_json::Error) -> ViewError {
    ViewError::View { name: P::NAME, key: key.to_owned(), action, source }
}

impl EventStore {
    /// The view `key` of an inline projection: as the last command left it.
    ///
    /// # Errors
    /// [`ViewError`]
    pub async fn view<P: InlineProjection>(&self, key: &str) -> Result<P::View, ViewError> {
        Ok(find::<P>(self.inner.store.as_ref(), &self.inner.codec, key).await?.view)
    }
}
