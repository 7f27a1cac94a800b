//! The bodies of requests, in bounded memory.
//!
//! Invariant: whatever clients send, the bodies that are held take at most [`Options::bodies_bytes_max`] beside
//! [`SMALL_BYTES`] for each connection. A larger body waits for its room before its first byte is taken, and gives the room
//! back when its request is answered.
//!
//! [`Options::bodies_bytes_max`]: crate::Options::bodies_bytes_max

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use http_body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Problem;
use crate::app::App;
use crate::problem::Kind;

/// A body that needs no room of its own.
const SMALL_BYTES: usize = 16 * 1024;
/// What room is counted in.
const UNIT_BYTES: usize = 1024;

/// Room for large bodies.
pub(crate) struct Room {
    units: Arc<Semaphore>,
    total: u32,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        // Tokio's semaphores hold far more than 32 bits of permits.
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits for room for `bytes`, or for all of it if there is less.
    pub(crate) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes <= SMALL_BYTES {
            return None;
        }
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.total);
        // Nobody closes the semaphore.
        Arc::clone(&self.units).acquire_many_owned(units).await.ok()
    }

    /// Gives back what is not needed beyond `bytes`.
    pub(crate) fn shrink(held: Option<OwnedSemaphorePermit>, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes <= SMALL_BYTES {
            return None;
        }
        let mut held = held?;
        let spare = held.num_permits().saturating_sub(bytes.div_ceil(UNIT_BYTES));
        drop(held.split(spare));
        Some(held)
    }
}

/// The body of a request, all of it.
pub(crate) struct Payload {
    /// Its bytes.
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl FromRequest<App> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        read(request.into_body(), app.bodies(), app.options().body_bytes_max).await
    }
}

async fn read(body: Body, room: &Room, max: usize) -> Result<Payload, Problem> {
    let declared = body.size_hint().exact();
    let expected = declared.map_or(max, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if expected > max {
        return Err(too_large(max));
    }
    let room = room.take(expected).await;
    match to_bytes(body, max).await {
        Ok(bytes) => Ok(Payload { bytes, _room: room }),
        Err(error) if is_limit(&error) => Err(too_large(max)),
        Err(error) => {
            let detail = format!("the request's body did not come whole: {error}");
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

/// Whether reading ended because there was too much.
fn is_limit(error: &axum::Error) -> bool {
    matches!(std::error::Error::source(error), Some(source) if source.is::<http_body_util::LengthLimitError>())
}

pub(crate) fn too_large(max: usize) -> Problem {
    Problem::of(Kind::TooLarge, format!("the request's body may have {max} bytes")).with("limit", max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_bodies_share_the_room_and_small_ones_pass() {
        let room = Room::new(100 * 1024);
        let first = room.take(60 * 1024).await;
        assert!(first.is_some());
        assert!(room.take(SMALL_BYTES).await.is_none());
        let mut second = Box::pin(room.take(60 * 1024));
        tokio::select! {
            biased;
            _ = &mut second => panic!("there was no room"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        assert!(second.await.is_some());
        let shrunk = Room::shrink(room.take(60 * 1024).await, 20 * 1024);
        assert_eq!(shrunk.map(|held| held.num_permits()), Some(20));
        assert!(Room::shrink(room.take(60 * 1024).await, 10).is_none());
        // One that is larger than all the room gets all of it.
        assert_eq!(room.take(usize::MAX).await.map(|held| held.num_permits()), Some(100));
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_declared_or_not() {
        let room = Room::new(1 << 20);
        let declared = read(Body::from("12345"), &room, 4).await.err();
        assert_eq!(declared.map(|problem| problem.status), Some(413));
        let chunks = futures_util::stream::iter(["123", "45"].map(Ok::<_, std::io::Error>));
        let streamed = read(Body::from_stream(chunks), &room, 4).await.err();
        assert_eq!(streamed.map(|problem| problem.status), Some(413));
        let fits = read(Body::from("1234"), &room, 4).await.ok();
        assert_eq!(fits.map(|payload| payload.bytes), Some(Bytes::from_static(b"1234")));
    }
}
