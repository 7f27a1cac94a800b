//! Stores.

use std::time::Duration;

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::target::Target;
use super::{Client, ClientError, Repeat};

/// How long a server may work on all of a store.
const WORK_MAX: Duration = Duration::from_secs(24 * 3600);

/// A store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreInfo {
    /// Its name.
    pub name: String,
    /// Its id, a UUID.
    pub id: String,
    /// The first position that can still be read.
    pub start: u64,
    /// The position that the next event gets: how many events were ever appended.
    pub end: u64,
    /// How many streams there are or were.
    pub streams: u64,
    /// The index holds everything below.
    pub indexed: u64,
}

/// What a scavenge gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scavenged {
    /// Bytes of the store before.
    pub bytes_before: u64,
    /// Bytes of the store after.
    pub bytes_after: u64,
}

#[derive(Deserialize)]
struct Stores {
    stores: Vec<StoreInfo>,
}

#[derive(Deserialize)]
struct Shredded {
    existed: bool,
}

impl Client {
    /// All stores, by name.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn stores(&self) -> Result<Vec<StoreInfo>, ClientError> {
        let found: Stores = self.get(Target::of(&["stores"])).await?;
        Ok(found.stores)
    }

    /// One store.
    ///
    /// # Errors
    /// [`ClientError`], with the problem `unknown-store` if there is none.
    pub async fn store(&self, name: &str) -> Result<StoreInfo, ClientError> {
        self.get(Target::of(&["stores", name])).await
    }

    /// Makes a store.
    ///
    /// # Errors
    /// [`ClientError`], with the problem `already-exists` if there is a store or topic of that name.
    pub async fn create_store(&self, name: &str) -> Result<StoreInfo, ClientError> {
        let body = serde_json::json!({ "name": name });
        self.send(Method::POST, Target::of(&["stores"]), &body, Repeat::Unsent).await
    }

    /// Deletes a store and all events in it.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn delete_store(&self, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, Target::of(&["stores", name]), Repeat::Unsent).await.map(drop)
    }

    /// Gives back the space of events that are not shown any more. Takes as long as it takes to write the store anew, and waits
    /// for it up to a day.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn scavenge(&self, store: &str) -> Result<Scavenged, ClientError> {
        let target = Target::of(&["stores", store, "scavenge"]);
        let body = self.call_waiting(Method::POST, target, Repeat::Always, WORK_MAX).await?;
        self.parse(&body)
    }

    /// Deletes the key of a subject, and with it what was encrypted for it. Says whether there was one.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn shred(&self, store: &str, subject: &str) -> Result<bool, ClientError> {
        let body = serde_json::json!({ "subject": subject });
        let target = Target::of(&["stores", store, "shred"]);
        let shredded: Shredded = self.send(Method::POST, target, &body, Repeat::Always).await?;
        Ok(shredded.existed)
    }
}
