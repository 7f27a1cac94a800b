//! The consumers of persistent subscriptions, between requests.
//!
//! A consumer of the broker holds leases as long as it lives. Over HTTP a client comes and goes with each request, so its
//! consumer is kept here under a name, and ended when it was not used for a while: what it held is given to others then.
//!
//! Invariant: a session that a request is using is never ended for being idle. There are at most [`SESSIONS_MAX`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_broker::SubscriptionConsumer;
use annals_clock::Clock;

/// Sessions at the same time.
const SESSIONS_MAX: usize = 10_000;
/// How long a session lives that is not used, at least.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// Store, subscription and session.
pub(crate) type Key = (Arc<str>, Arc<str>, Arc<str>);

/// All sessions.
pub(crate) struct Sessions {
    clock: Clock,
    by_key: Mutex<HashMap<Key, Arc<Session>>>,
}

/// A consumer that waits for its client to come back.
pub(crate) struct Session {
    consumer: SubscriptionConsumer,
    /// One fetch at a time: two would share what one consumer may hold.
    fetching: tokio::sync::Mutex<()>,
    idle: Duration,
    /// When it was last used, in milliseconds of the monotonic clock.
    used_ms: AtomicU64,
    users: AtomicUsize,
}

/// A session that is in use.
pub(crate) struct InUse {
    session: Arc<Session>,
    clock: Clock,
}

impl Sessions {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, by_key: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Session>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of that name.
    pub(crate) fn get(&self, key: &Key) -> Option<InUse> {
        let sessions = self.lock();
        sessions.get(key).map(|session| InUse::new(Arc::clone(session), &self.clock))
    }

    /// Keeps a consumer, unless somebody else was faster or there are too many; then what is kept is given, or nothing.
    pub(crate) fn keep(&self, key: Key, consumer: SubscriptionConsumer, idle: Duration) -> Option<InUse> {
        let mut sessions = self.lock();
        if sessions.len() >= SESSIONS_MAX && !sessions.contains_key(&key) {
            return None;
        }
        let session = sessions.entry(key).or_insert_with(|| {
            Arc::new(Session {
                consumer,
                fetching: tokio::sync::Mutex::default(),
                idle: idle.max(IDLE),
                used_ms: AtomicU64::new(now_ms(&self.clock)),
                users: AtomicUsize::new(0),
            })
        });
        Some(InUse::new(Arc::clone(session), &self.clock))
    }

    /// Ends a session. Says whether there was one.
    pub(crate) fn end(&self, key: &Key) -> bool {
        // Dropped outside of the lock: it gives back what it holds.
        let ended = self.lock().remove(key);
        ended.is_some()
    }

    /// Ends a session that does not work any more, unless it has been replaced.
    pub(crate) fn discard(&self, key: &Key, session: &InUse) {
        let mut sessions = self.lock();
        if sessions.get(key).is_some_and(|kept| Arc::ptr_eq(kept, &session.session)) {
            sessions.remove(key);
        }
    }

    /// Ends the sessions that were idle for too long.
    pub(crate) fn sweep(&self) {
        let now = now_ms(&self.clock);
        let mut ended = Vec::new();
        self.lock().retain(|_, session| {
            let stays = session.stays(now);
            if !stays {
                ended.push(Arc::clone(session));
            }
            stays
        });
        drop(ended);
    }
}

impl Session {
    fn stays(&self, now_ms: u64) -> bool {
        let idle_ms = now_ms.saturating_sub(self.used_ms.load(Ordering::Acquire));
        self.users.load(Ordering::Acquire) > 0 || u128::from(idle_ms) < self.idle.as_millis()
    }
}

impl InUse {
    /// Called under the lock of all sessions, so that a sweep sees either the user or the session gone.
    fn new(session: Arc<Session>, clock: &Clock) -> Self {
        session.users.fetch_add(1, Ordering::AcqRel);
        Self { session, clock: clock.clone() }
    }

    pub(crate) fn consumer(&self) -> &SubscriptionConsumer {
        &self.session.consumer
    }

    /// Waits for this request's turn to fetch.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.session.fetching.lock().await
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.session.used_ms.store(now_ms(&self.clock), Ordering::Release);
        self.session.users.fetch_sub(1, Ordering::AcqRel);
    }
}

fn now_ms(clock: &Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}
