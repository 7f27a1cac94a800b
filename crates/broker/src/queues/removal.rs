//! What goes along with what is removed: bindings with their ends, and exchanges with their last binding, where they are to.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use annals_queues::Text;
use annals_queues::routing::{Binding, Change, Destination, Vhost};

use super::definitions::Decision;

/// Whether a binding survives a restart: both of its ends do.
pub(super) fn is_stored(vhost: &Vhost, binding: &Binding) -> bool {
    let durable = |name: &Text| vhost.exchange(name).is_some_and(|exchange| exchange.definition().durable);
    durable(&binding.source)
        && match &binding.destination {
            Destination::Exchange(name) => durable(name),
            Destination::Queue(name) => vhost.queue(name).is_some_and(|definition| definition.survives()),
        }
}

/// What goes with what: bindings with their ends, and exchanges with their last binding where they are to.
pub(super) struct Removal<'a> {
    vhost: &'a Vhost,
    decision: Decision,
    bindings: HashSet<*const Binding>,
    exchanges: HashSet<Text>,
    /// Bindings that go, by the exchange that they lead away from.
    left: BTreeMap<Text, usize>,
}

impl<'a> Removal<'a> {
    pub(super) fn new(vhost: &'a Vhost) -> Self {
        let (bindings, exchanges) = (HashSet::new(), HashSet::new());
        Self { vhost, decision: Decision::default(), bindings, exchanges, left: BTreeMap::new() }
    }

    pub(super) fn queue(&mut self, name: &Text) {
        self.bindings_to(&Destination::Queue(name.clone()));
        let stored = self.vhost.queue(name).is_some_and(|definition| definition.survives());
        let (vhost, name) = (self.vhost.name().clone(), name.clone());
        self.decision.put(Change::DropQueue { vhost, name }, stored);
    }

    pub(super) fn exchange(&mut self, name: &Text) {
        let Some(exchange) = self.vhost.exchange(name) else { return };
        if Vhost::is_predeclared(name) || !self.exchanges.insert(name.clone()) {
            return;
        }
        let bindings: Vec<_> = self.vhost.bindings_from(name).cloned().collect();
        bindings.iter().for_each(|binding| self.binding(binding));
        self.bindings_to(&Destination::Exchange(name.clone()));
        let stored = exchange.definition().durable;
        let (vhost, name) = (self.vhost.name().clone(), name.clone());
        self.decision.put(Change::DropExchange { vhost, name }, stored);
    }

    fn bindings_to(&mut self, destination: &Destination) {
        let bindings: Vec<_> = self.vhost.bindings_to(destination).cloned().collect();
        bindings.iter().for_each(|binding| self.binding(binding));
    }

    pub(super) fn binding(&mut self, binding: &Arc<Binding>) {
        if !self.bindings.insert(Arc::as_ptr(binding)) {
            return;
        }
        let stored = is_stored(self.vhost, binding);
        let change =
            Change::DropBinding { vhost: self.vhost.name().clone(), binding: Binding::clone(binding) };
        self.decision.put(change, stored);
        *self.left.entry(binding.source.clone()).or_default() += 1;
        let source = self.vhost.exchange(&binding.source);
        let left = self.left.get(&binding.source).copied().unwrap_or(0);
        if source.is_some_and(|source| source.definition().auto_delete && source.binding_count() == left) {
            self.exchange(&binding.source.clone());
        }
    }

    pub(super) fn finish(self) -> Decision {
        self.decision
    }
}

/// Everything that a virtual host's end takes along.
pub(super) fn everything_in(vhost: &Vhost) -> Vec<(Change, bool)> {
    let mut removal = Removal::new(vhost);
    let queues: Vec<Text> = vhost.queues().map(|definition| definition.name.clone()).collect();
    let exchanges: Vec<Text> = vhost.exchanges().map(|(name, _)| name.clone()).collect();
    queues.iter().for_each(|name| removal.queue(name));
    exchanges.iter().for_each(|name| removal.exchange(name));
    removal.finish().changes
}
