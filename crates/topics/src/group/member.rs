//! One member of a group.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::message::{JoinRequest, JoinedMember, Protocol, Waiter};

/// A member: what it joined with, what it was assigned, and what it waits for.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// It has not had an answer to its first join yet.
    pub(super) is_new: bool,
    pub(super) waiting_join: Option<Waiter>,
    pub(super) waiting_sync: Option<Waiter>,
    /// When the member is taken for gone. `None` while it waits past its deadline, and after loading.
    pub(super) session_deadline: Option<Duration>,
}

impl Member {
    pub(super) fn new(id: Arc<str>, request: &JoinRequest<'_>) -> Self {
        Self {
            id,
            instance_id: request.instance_id.map(Into::into),
            client_id: request.client_id.into(),
            client_host: request.client_host.into(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: owned_protocols(&request.protocols),
            assignment: Bytes::new(),
            is_new: true,
            waiting_join: None,
            waiting_sync: None,
            session_deadline: None,
        }
    }

    pub(super) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting_join.is_some() || self.waiting_sync.is_some()
    }

    /// Whether silence past the session deadline is excused: who waits for us cannot send heartbeats. A new member is
    /// not excused, since a client that has given up before it learnt its id would stay for ever.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && self.is_waiting()
    }

    pub(super) fn metadata(&self, protocol: Option<&Arc<str>>) -> Bytes {
        let supported = self.protocols.iter().find(|supported| Some(&supported.name) == protocol);
        supported.map(|protocol| protocol.metadata.clone()).unwrap_or_default()
    }

    /// The member's vote: the first of its protocols that is a candidate.
    pub(super) fn vote(&self, is_candidate: impl Fn(&str) -> bool) -> Option<&Arc<str>> {
        self.protocols.iter().map(|protocol| &protocol.name).find(|name| is_candidate(name))
    }

    pub(super) fn for_leader(&self, protocol: Option<&Arc<str>>) -> JoinedMember {
        JoinedMember {
            member_id: Arc::clone(&self.id),
            instance_id: self.instance_id.clone(),
            metadata: self.metadata(protocol),
        }
    }
}

/// The protocols with their metadata copied, so that a member does not keep a whole network buffer alive. A name that
/// comes twice counts once.
pub(super) fn owned_protocols(protocols: &[Protocol]) -> Vec<Protocol> {
    let mut owned: Vec<Protocol> = Vec::with_capacity(protocols.len());
    for protocol in protocols {
        if owned.iter().all(|known| known.name != protocol.name) {
            let metadata = Bytes::copy_from_slice(&protocol.metadata);
            owned.push(Protocol { name: Arc::clone(&protocol.name), metadata });
        }
    }
    owned
}
