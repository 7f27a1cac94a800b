//! The virtual hosts with their exchanges, queues and bindings.
//!
//! Invariants: every virtual host has the exchanges that AMQP 0-9-1 predeclares, and they stay. A binding is there only
//! as long as both of its ends are. Queue numbers only rise.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::change::binding_key;
use super::exchange::{Exchange, ExchangeDefinition, ExchangeKind};
use super::{Binding, Change, Destination, QueueId, Routable, Routes, Target};
use crate::Text;
use crate::queue::Definition;

/// The exchanges that every virtual host has (AMQP 0-9-1, section 3.1.3; `amq.match` is a second name).
const PREDECLARED: [(&str, ExchangeKind); 7] = [
    ("", ExchangeKind::Direct),
    ("amq.direct", ExchangeKind::Direct),
    ("amq.fanout", ExchangeKind::Fanout),
    ("amq.topic", ExchangeKind::Topic),
    ("amq.headers", ExchangeKind::Headers),
    ("amq.match", ExchangeKind::Headers),
    ("amq.rabbitmq.trace", ExchangeKind::Topic),
];

/// The queue of a virtual host in which messages wait for exchanges that hold them back.
pub const HELD_BACK: Text = Text::from_static("amq.delayed");

/// All virtual hosts.
///
/// ```
/// use annals_queues::routing::{Binding, Change, Destination, Routable, Topology};
/// use annals_queues::queue::Definition;
/// use annals_queues::{Headers, Text};
///
/// let (vhost, name) = (Text::from("/"), Text::from("invoices"));
/// let mut topology = Topology::default();
/// topology.apply(&Change::PutVhost(vhost.clone()));
/// let id = topology.next_queue();
/// topology.apply(&Change::PutQueue(Definition {
///     id, vhost: vhost.clone(), name: name.clone(), durable: true, exclusive: false, auto_delete: false,
///     options: Default::default(), arguments: Headers::new(),
/// }));
/// topology.apply(&Change::PutBinding { vhost: vhost.clone(), binding: Binding {
///     source: "amq.topic".into(), destination: Destination::Queue(name), routing_key: "orders.#".into(),
///     arguments: Headers::new(),
/// }});
/// let mut queues = Vec::new();
/// let message = Routable { routing_key: &"orders.eu.new".into(), more_keys: &[], headers: None };
/// topology.vhost(&vhost).unwrap().route(&"amq.topic".into(), message, &mut queues);
/// assert_eq!(queues, [id]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Topology {
    vhosts: BTreeMap<Text, Vhost>,
    next_queue: u64,
    promised: u64,
}

/// One virtual host: a namespace.
#[derive(Clone, Debug)]
pub struct Vhost {
    name: Text,
    exchanges: BTreeMap<Text, Exchange>,
    queues: HashMap<Text, Arc<Definition>>,
    bindings: HashMap<Bytes, Arc<Binding>>,
    by_source: HashMap<Text, HashSet<Bytes>>,
    by_destination: HashMap<Destination, HashSet<Bytes>>,
}

impl Topology {
    /// The virtual host.
    pub fn vhost(&self, name: &Text) -> Option<&Vhost> {
        self.vhosts.get(name.as_bytes())
    }

    /// All virtual hosts, by name.
    pub fn vhosts(&self) -> impl Iterator<Item = &Vhost> {
        self.vhosts.values()
    }

    /// A number for a new queue, never given before or again.
    pub fn next_queue(&mut self) -> QueueId {
        self.next_queue += 1;
        QueueId(self.next_queue)
    }

    /// The change to journal before `number` is used, so that no later run gives it again.
    pub fn promise(&self, number: QueueId) -> Option<Change> {
        const BLOCK: u64 = 1000;
        (number.0 >= self.promised).then_some(Change::Numbers(number.0 + BLOCK))
    }

    /// After recovery: numbers that were promised may be in use.
    pub fn skip_promised(&mut self) {
        self.next_queue = self.next_queue.max(self.promised);
    }

    /// Makes a change. What it is about may be gone already, or there already: then nothing happens.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::PutVhost(name) => {
                self.vhosts.entry(name.clone()).or_insert_with(|| Vhost::new(name.clone()));
            }
            Change::DropVhost(name) => drop(self.vhosts.remove(name.as_bytes())),
            Change::Numbers(next) => self.promised = self.promised.max(*next),
            Change::PutQueue(definition) => {
                self.next_queue = self.next_queue.max(definition.id.0);
                self.within(&definition.vhost, |vhost| vhost.put_queue(definition));
            }
            Change::DropQueue { vhost, name } => self.within(vhost, |vhost| vhost.drop_queue(name)),
            Change::PutExchange { vhost, name, definition } => {
                self.within(vhost, |vhost| vhost.put_exchange(name, definition));
            }
            Change::DropExchange { vhost, name } => self.within(vhost, |vhost| vhost.drop_exchange(name)),
            Change::PutBinding { vhost, binding } => self.within(vhost, |vhost| vhost.bind(binding)),
            Change::DropBinding { vhost, binding } => {
                let key = binding_key(vhost, binding);
                self.within(vhost, |vhost| vhost.unbind(&key));
            }
        }
    }

    fn within(&mut self, vhost: &Text, act: impl FnOnce(&mut Vhost)) {
        if let Some(vhost) = self.vhosts.get_mut(vhost.as_bytes()) {
            act(vhost);
        }
    }
}

impl Vhost {
    fn new(name: Text) -> Self {
        let predeclared = |(name, kind): &(&str, ExchangeKind)| {
            let internal = *name == "amq.rabbitmq.trace";
            let definition = ExchangeDefinition { internal, ..ExchangeDefinition::new(*kind) };
            (Text::from(*name), Exchange::new(definition))
        };
        Self {
            name,
            exchanges: PREDECLARED.iter().map(predeclared).collect(),
            queues: HashMap::new(),
            bindings: HashMap::new(),
            by_source: HashMap::new(),
            by_destination: HashMap::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// The exchange of this name.
    pub fn exchange(&self, name: &Text) -> Option<&Exchange> {
        self.exchanges.get(name.as_bytes())
    }

    /// All exchanges, by name.
    pub fn exchanges(&self) -> impl Iterator<Item = (&Text, &Exchange)> {
        self.exchanges.iter()
    }

    /// Whether an exchange is one that every virtual host has.
    pub fn is_predeclared(name: &Text) -> bool {
        PREDECLARED.iter().any(|(predeclared, _)| name == predeclared)
    }

    /// The queue of this name.
    pub fn queue(&self, name: &Text) -> Option<&Arc<Definition>> {
        self.queues.get(name.as_bytes())
    }

    /// All queues, in no order.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.queues.values()
    }

    /// All bindings, in no order. Those of the default exchange, one for each queue, are not among them.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.values()
    }

    /// The bindings that lead away from an exchange.
    pub fn bindings_from(&self, source: &Text) -> impl Iterator<Item = &Arc<Binding>> {
        let keys = self.by_source.get(source.as_bytes()).into_iter().flatten();
        keys.filter_map(|key| self.bindings.get(key))
    }

    /// The bindings that lead to a queue or exchange.
    pub fn bindings_to(&self, destination: &Destination) -> impl Iterator<Item = &Arc<Binding>> {
        let keys = self.by_destination.get(destination).into_iter().flatten();
        keys.filter_map(|key| self.bindings.get(key))
    }

    /// Whether exactly this binding is there.
    pub fn has_binding(&self, binding: &Binding) -> bool {
        self.bindings.contains_key(&binding_key(&self.name, binding))
    }

    /// Adds the queues that get a message, each once, in the order of their numbers. Returns whether the exchange is
    /// there.
    ///
    /// An exchange that leads nowhere hands the message to its alternate. One that was passed already is not passed
    /// again, so cycles end.
    pub fn route(&self, exchange: &Text, message: Routable<'_>, queues: &mut Vec<QueueId>) -> bool {
        let mut routes = Routes { queues: std::mem::take(queues), topics: Vec::new() };
        let found = self.route_all(exchange, message, &mut routes);
        *queues = routes.queues;
        found
    }

    /// As [`Vhost::route`], and the topics of the exchanges that the message passes.
    pub fn route_all(&self, exchange: &Text, message: Routable<'_>, routes: &mut Routes) -> bool {
        if exchange.is_empty() {
            let queues = message.keys().filter_map(|key| self.queue(key));
            routes.queues.extend(queues.filter(|queue| !queue.options.holds_back).map(|queue| queue.id));
        } else {
            let Some((name, first)) = self.exchanges.get_key_value(exchange.as_bytes()) else { return false };
            self.walk(name, first, message, routes);
        }
        if routes.queues.len() > 1 {
            routes.queues.sort_unstable();
            routes.queues.dedup();
        }
        true
    }

    /// The queue in which messages wait for exchanges that hold them back, if there are or were any.
    pub fn held_back(&self) -> Option<&Arc<Definition>> {
        self.queue(&HELD_BACK).filter(|queue| queue.options.holds_back)
    }

    fn walk<'a>(&'a self, name: &'a Text, first: &'a Exchange, message: Routable<'_>, routes: &mut Routes) {
        let mut seen: Vec<&Text> = vec![name];
        let mut waiting: Vec<&Exchange> = vec![first];
        while let Some(exchange) = waiting.pop() {
            let mut none = true;
            if let Some(topic) =
                exchange.definition().topic.as_ref().filter(|topic| !routes.topics.contains(topic))
            {
                routes.topics.push(topic.clone());
            }
            let mut visit = |name: &'a Text| {
                if let Some(exchange) = self.exchange(name).filter(|_| !seen.contains(&name)) {
                    seen.push(name);
                    waiting.push(exchange);
                }
            };
            exchange.route(message, &mut |target| {
                none = false;
                match target {
                    Target::Queue(queue) => routes.queues.push(*queue),
                    Target::Exchange(name) => visit(name),
                }
            });
            if let Some(alternate) = exchange.definition().alternate.as_ref().filter(|_| none) {
                visit(alternate);
            }
        }
    }

    fn put_queue(&mut self, definition: &Definition) {
        self.queues.insert(definition.name.clone(), Arc::new(definition.clone()));
    }

    fn drop_queue(&mut self, name: &Text) {
        self.drop_bindings_to(&Destination::Queue(name.clone()));
        self.queues.remove(name.as_bytes());
    }

    fn put_exchange(&mut self, name: &Text, definition: &ExchangeDefinition) {
        let new = || Exchange::new(definition.clone());
        self.exchanges.entry(name.clone()).or_insert_with(new);
    }

    fn drop_exchange(&mut self, name: &Text) {
        if Self::is_predeclared(name) {
            return;
        }
        for key in self.by_source.get(name.as_bytes()).cloned().unwrap_or_default() {
            self.unbind(&key);
        }
        self.drop_bindings_to(&Destination::Exchange(name.clone()));
        self.exchanges.remove(name.as_bytes());
    }

    fn drop_bindings_to(&mut self, destination: &Destination) {
        for key in self.by_destination.get(destination).cloned().unwrap_or_default() {
            self.unbind(&key);
        }
    }

    fn bind(&mut self, binding: &Binding) {
        let key = binding_key(&self.name, binding);
        let Some(target) = self.target(&binding.destination) else { return };
        let Some(exchange) = self.exchanges.get_mut(binding.source.as_bytes()) else { return };
        if self.bindings.contains_key(&key) {
            return;
        }
        exchange.bind(binding, target);
        self.by_source.entry(binding.source.clone()).or_default().insert(key.clone());
        self.by_destination.entry(binding.destination.clone()).or_default().insert(key.clone());
        self.bindings.insert(key, Arc::new(binding.clone()));
    }

    fn unbind(&mut self, key: &Bytes) {
        let Some(binding) = self.bindings.remove(key) else { return };
        if let Some(target) = self.target(&binding.destination)
            && let Some(exchange) = self.exchanges.get_mut(binding.source.as_bytes())
        {
            exchange.unbind(&binding, &target);
        }
        forget(&mut self.by_source, &binding.source, key);
        forget(&mut self.by_destination, &binding.destination, key);
    }

    fn target(&self, destination: &Destination) -> Option<Target> {
        match destination {
            Destination::Queue(name) => Some(Target::Queue(self.queue(name)?.id)),
            Destination::Exchange(name) => {
                let (name, _) = self.exchanges.get_key_value(name.as_bytes())?;
                Some(Target::Exchange(name.clone()))
            }
        }
    }
}

fn forget<K: std::hash::Hash + Eq>(index: &mut HashMap<K, HashSet<Bytes>>, name: &K, key: &Bytes) {
    if let Some(keys) = index.get_mut(name) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(name);
        }
    }
}
