//! What every [`Store`] must do, as tests: run them against an implementation of your own.
//!
//! ```
//! use std::sync::Arc;
//! use annals::store::{MemoryStore, Store, conformance};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! conformance::run(async || Arc::new(MemoryStore::new(annals::Clock::system())) as Arc<dyn Store>).await;
//! # }
//! ```
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod appends;
mod model;
mod reads;
mod shredding;
mod subscriptions;

use std::sync::Arc;

use super::{Append, Appended, Expected, NewEvent, Read, Recorded, Revision, Store, StreamName};
use crate::store::Metadata;
use crate::{Clock, Tag};

/// Runs all tests, each on a store that `make` gives, which must be empty.
///
/// # Panics
/// If the store does something else than it should.
pub async fn run(make: impl AsyncFn() -> Arc<dyn Store>) {
    appends::revisions_and_positions_grow(&*make().await).await;
    appends::expectations_are_held(&*make().await).await;
    appends::several_streams_are_one(&*make().await).await;
    appends::conditions_are_held(&*make().await).await;
    appends::the_same_events_are_stored_once(&*make().await).await;
    appends::one_of_many_writers_wins(make().await).await;
    appends::what_is_invalid_is_refused(&*make().await).await;
    reads::nothing_is_an_empty_page(&*make().await).await;
    reads::everything_comes_back_as_it_was(&*make().await).await;
    reads::both_directions_and_pages(&*make().await).await;
    reads::sources_and_queries(&*make().await).await;
    reads::times(&*make().await).await;
    reads::streams_of_the_system_are_apart(&*make().await).await;
    reads::streams_are_listed(&*make().await).await;
    shredding::what_is_encrypted_is_readable_until_it_is_shredded(&*make().await).await;
    subscriptions::catch_up_then_live(make().await).await;
    subscriptions::a_stream_is_followed(make().await).await;
    subscriptions::nothing_is_skipped_under_writers(make().await).await;
    for seed in 0..4 {
        model::random_operations(&*make().await, seed).await;
    }
}

/// Ids of tests need not be unpredictable, but new.
fn clock() -> Clock {
    Clock::system()
}

fn event(name: &str) -> NewEvent {
    tagged(name, &[])
}

fn tagged(name: &str, tags: &[&str]) -> NewEvent {
    NewEvent {
        id: clock().uuid_v7().to_string(),
        name: name.to_owned(),
        version: 1,
        data: format!("{{\"of\":\"{name}\"}}").into(),
        tags: tags.iter().map(|tag| Tag::new(*tag)).collect(),
        metadata: Metadata::default(),
        encrypt_for: None,
    }
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

async fn append(store: &dyn Store, name: &str, expected: Expected, events: Vec<NewEvent>) -> Appended {
    store.append(Append::to(stream(name), expected, events)).await.expect(name)
}

async fn all(store: &dyn Store, mut read: Read) -> Vec<Recorded> {
    let mut found = Vec::new();
    loop {
        let page = store.read(read.clone()).await.unwrap();
        assert!(page.events.len() <= read.limit);
        found.extend(page.events);
        match page.next {
            Some(next) => read.from = Some(next),
            None => return found,
        }
    }
}

fn names(events: &[Recorded]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

async fn last(store: &dyn Store, name: &str) -> Option<Revision> {
    all(store, Read::stream(stream(name))).await.last().map(|event| event.revision)
}
