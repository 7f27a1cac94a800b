//! Virtual hosts: namespaces of exchanges and queues.

use std::sync::Arc;

use annals_queues::Text;
use annals_queues::routing::{Change, Topology};

use super::definitions::{queues_in, vhost_decision};
use super::removal::everything_in;
use super::{QueueEntry, Queues};
use crate::api::Caller;
use crate::api::queues::topology::VhostError;
use crate::storage::Unavailable;
use crate::{Broker, Inner};

/// The virtual host that is there from the beginning.
pub(super) const DEFAULT: Text = Text::from_static("/");

impl Broker {
    /// Has a virtual host be there. Returns whether it was not there before.
    ///
    /// # Errors
    /// See [`VhostError`].
    pub async fn create_vhost(&self, _caller: &Caller, name: Text) -> Result<bool, VhostError> {
        if name.is_empty() || name.len() > 255 {
            return Err(VhostError::Name(name));
        }
        self.inner
            .define(|topology| {
                if topology.vhost(&name).is_some() {
                    return Ok((false, Default::default()));
                }
                Ok((true, vhost_decision(Change::PutVhost(name), Vec::new(), Vec::new())))
            })
            .await
    }

    /// Has a virtual host be gone, with everything in it.
    ///
    /// # Errors
    /// See [`VhostError`].
    pub async fn delete_vhost(&self, _caller: &Caller, name: Text) -> Result<(), VhostError> {
        let queues = self.inner.queues();
        let mut topics = Vec::new();
        self.inner
            .define(|topology| {
                let (gone, changes) = contents(queues, topology, &name)?;
                topics.extend(gone.iter().filter_map(|entry| Inner::own_topic(entry.definition())));
                Ok::<_, VhostError>(((), vhost_decision(Change::DropVhost(name), gone, changes)))
            })
            .await?;
        for topic in topics {
            if let Err(error) = self.inner.delete_topic_with_streams(&topic).await {
                tracing::warn!(%error, "cannot delete the topic of a stream");
            }
        }
        Ok(())
    }

    /// Whether there is a virtual host of this name.
    pub fn has_vhost(&self, _caller: &Caller, name: &Text) -> bool {
        self.inner.queues().with_topology(|topology| topology.vhost(name).is_some())
    }

    /// The names of all virtual hosts.
    pub fn vhosts(&self, _caller: &Caller) -> Vec<Text> {
        self.inner
            .queues()
            .with_topology(|topology| topology.vhosts().map(|vhost| vhost.name().clone()).collect())
    }
}

type Contents = (Vec<Arc<QueueEntry>>, Vec<(Change, bool)>);

fn contents(queues: &Queues, topology: &Topology, name: &Text) -> Result<Contents, VhostError> {
    let vhost = topology.vhost(name).ok_or_else(|| VhostError::Unknown(name.clone()))?;
    Ok((queues.entries_of(&queues_in(vhost)), everything_in(vhost)))
}

impl From<Unavailable> for VhostError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}
