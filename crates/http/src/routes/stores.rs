//! The event stores of a server: one file per story.

pub(crate) mod admin;
mod append;
mod maintenance;
mod projections;
mod query;
mod read;
mod streams;
mod subscribe;
mod subscriptions;

use crate::family::Family;

/// Everything about event stores.
pub(crate) fn family() -> Family {
    admin::family()
        .and(append::family())
        .and(read::family())
        .and(subscribe::family())
        .and(streams::family())
        .and(subscriptions::family())
        .and(projections::family())
        .and(maintenance::family())
}
