//! Routing against a naive matcher, over random topologies.

use std::collections::BTreeSet;

use annals_clock::Clock;

use super::*;
use crate::Value;
use crate::queue::{Definition, Options};

const VHOST: Text = Text::from_static("v");

struct World {
    topology: Topology,
    clock: Clock,
    bindings: Vec<Binding>,
    alternates: Vec<Option<Text>>,
}

const EXCHANGES: usize = 6;
const QUEUES: usize = 8;
const WORDS: [&str; 4] = ["a", "b", "c", ""];

impl World {
    fn new(seed: u64) -> Self {
        let (clock, _) = Clock::manual(0, seed);
        let mut world =
            Self { topology: Topology::default(), clock, bindings: Vec::new(), alternates: Vec::new() };
        world.topology.apply(&Change::PutVhost(VHOST));
        for index in 0..EXCHANGES {
            let alternate = (world.below(4) == 0).then(|| exchange(world.below(EXCHANGES)));
            world.alternates.push(alternate.clone());
            let definition = ExchangeDefinition { alternate, ..ExchangeDefinition::new(kind(index)) };
            world.topology.apply(&Change::PutExchange { vhost: VHOST, name: exchange(index), definition });
        }
        for index in 0..QUEUES {
            let id = world.topology.next_queue();
            assert_eq!(id, QueueId(index as u64 + 1));
            world.topology.apply(&Change::PutQueue(definition(id, queue(index))));
        }
        world
    }

    fn below(&self, limit: usize) -> usize {
        (self.clock.random() % limit as u64) as usize
    }

    fn word(&self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }

    fn key(&self) -> String {
        (0..self.below(5)).map(|_| self.word()).collect::<Vec<_>>().join(".")
    }

    fn pattern(&self) -> String {
        let word = |_| if self.below(2) == 0 { ["*", "#"][self.below(2)] } else { self.word() };
        (0..self.below(5)).map(word).collect::<Vec<_>>().join(".")
    }

    fn headers(&self) -> Headers {
        let header = |_| (["x-h", "p", "q"][self.below(3)], Value::I32(self.below(2) as i32));
        (0..self.below(4)).map(header).collect()
    }

    fn arguments(&self) -> Headers {
        let mut arguments = self.headers();
        if self.below(3) == 0 {
            arguments.push("p", Value::Null);
        }
        if self.below(3) > 0 {
            let mode = ["all", "any", "all-with-x", "any-with-x"][self.below(4)];
            arguments.push("x-match", mode.into());
        }
        arguments
    }

    fn change_bindings(&mut self) {
        if self.below(3) == 0 && !self.bindings.is_empty() {
            let binding = self.bindings.swap_remove(self.below(self.bindings.len()));
            return self.topology.apply(&Change::DropBinding { vhost: VHOST, binding });
        }
        let source = self.below(EXCHANGES);
        let destination = match self.below(3) {
            0 => Destination::Exchange(exchange(self.below(EXCHANGES))),
            _ => Destination::Queue(queue(self.below(QUEUES))),
        };
        let (routing_key, arguments) = (self.pattern().into(), self.arguments());
        let binding = Binding { source: exchange(source), destination, routing_key, arguments };
        if !self.bindings.contains(&binding) {
            self.bindings.push(binding.clone());
        }
        self.topology.apply(&Change::PutBinding { vhost: VHOST, binding });
    }

    /// The rule as one would say it: everything that can be reached.
    fn expected(&self, start: usize, key: &Text, headers: &Headers) -> Vec<QueueId> {
        let (mut queues, mut seen, mut waiting) = (BTreeSet::new(), BTreeSet::new(), vec![exchange(start)]);
        while let Some(name) = waiting.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let index = (0..EXCHANGES).find(|index| exchange(*index) == name).unwrap();
            let matching = self.bindings.iter().filter(|binding| binding.source == name);
            let matching: Vec<_> =
                matching.filter(|binding| naive(kind(index), binding, key, headers)).collect();
            if matching.is_empty() {
                waiting.extend(self.alternates[index].clone());
            }
            for binding in matching {
                match &binding.destination {
                    Destination::Queue(name) => {
                        let index = (0..QUEUES).find(|index| queue(*index) == *name).unwrap();
                        queues.insert(QueueId(index as u64 + 1));
                    }
                    Destination::Exchange(name) => waiting.push(name.clone()),
                }
            }
        }
        queues.into_iter().collect()
    }
}

fn exchange(index: usize) -> Text {
    format!("x{index}").into()
}

fn queue(index: usize) -> Text {
    format!("q{index}").into()
}

fn kind(index: usize) -> ExchangeKind {
    [ExchangeKind::Direct, ExchangeKind::Topic, ExchangeKind::Fanout, ExchangeKind::Headers][index % 4]
}

fn definition(id: QueueId, name: Text) -> Definition {
    Definition {
        id,
        vhost: VHOST,
        name,
        durable: true,
        exclusive: false,
        auto_delete: false,
        options: Options::default(),
        arguments: Headers::new(),
    }
}

fn naive(kind: ExchangeKind, binding: &Binding, key: &Text, headers: &Headers) -> bool {
    match kind {
        ExchangeKind::Fanout => true,
        ExchangeKind::Direct => binding.routing_key == *key,
        ExchangeKind::Topic => {
            let words = |text: &Text| match text.to_string() {
                text if text.is_empty() => Vec::new(),
                text => text.split('.').map(str::to_owned).collect(),
            };
            naive_topic(&words(&binding.routing_key), &words(key))
        }
        ExchangeKind::Headers => naive_headers(&binding.arguments, headers),
    }
}

fn naive_topic(pattern: &[String], key: &[String]) -> bool {
    match pattern.split_first() {
        None => key.is_empty(),
        Some((word, rest)) if word == "#" => (0..=key.len()).any(|used| naive_topic(rest, &key[used..])),
        Some((word, rest)) => key
            .split_first()
            .is_some_and(|(first, others)| (word == "*" || word == first) && naive_topic(rest, others)),
    }
}

fn naive_headers(arguments: &Headers, headers: &Headers) -> bool {
    let mode = arguments.get("x-match").and_then(Value::as_text).map_or("all".to_owned(), Text::to_string);
    let mut outcomes = Vec::new();
    for (name, value) in arguments {
        let is_x = name.as_bytes().starts_with(b"x-");
        if name == "x-match" || (is_x && !mode.ends_with("-with-x")) {
            continue;
        }
        let same =
            |(found, other): &(Text, Value)| found == name && (*value == Value::Null || value == other);
        outcomes.push(headers.iter().any(same));
    }
    if mode.starts_with("any") { outcomes.contains(&true) } else { !outcomes.contains(&false) }
}

#[test]
fn routes_are_those_of_the_naive_matcher() {
    for seed in 0..150 {
        let mut world = World::new(seed);
        for _ in 0..60 {
            world.change_bindings();
            let (start, key, headers) = (world.below(EXCHANGES), Text::from(world.key()), world.headers());
            let mut found = Vec::new();
            let message = Routable { routing_key: &key, more_keys: &[], headers: Some(&headers) };
            let vhost = world.topology.vhost(&VHOST).unwrap();
            assert!(vhost.route(&exchange(start), message, &mut found));
            let expected = world.expected(start, &key, &headers);
            assert_eq!(found, expected, "seed {seed}, x{start}, {key:?}, {headers:?}, {:#?}", world.bindings);
        }
    }
}

#[test]
fn a_trie_forgets_what_is_unbound() {
    let mut world = World::new(1);
    let definition = ExchangeDefinition::new(ExchangeKind::Topic);
    world.topology.apply(&Change::PutExchange { vhost: VHOST, name: "t".into(), definition });
    let binding = |pattern: &str| Binding {
        source: "t".into(),
        destination: Destination::Queue(queue(0)),
        routing_key: pattern.into(),
        arguments: Headers::new(),
    };
    let patterns = ["a.b.c", "a.*.c", "a.#", "#.z", "", "a.b.c.d"];
    for pattern in patterns {
        world.topology.apply(&Change::PutBinding { vhost: VHOST, binding: binding(pattern) });
    }
    for pattern in patterns {
        world.topology.apply(&Change::DropBinding { vhost: VHOST, binding: binding(pattern) });
    }
    let trie = world.topology.vhost(&VHOST).unwrap().exchange(&"t".into()).unwrap().topic().unwrap();
    assert_eq!(trie.node_count(), 1);
}

#[test]
fn many_hashes_cost_no_more() {
    let mut topic = topic::Topic::default();
    topic.bind(&"#.a.#.a.#.a.#.a.#.a.#.a.#.b".into(), Target::Queue(QueueId(1)));
    let key: Text = vec!["a"; 120].join(".").into();
    let mut found = 0;
    topic.route(&key, &mut |_| found += 1);
    assert_eq!(found, 0);
    assert!(!topic_matches(b"#.a.#.a.#.a.#.b", key.as_bytes()));
}

#[test]
fn a_queue_that_goes_takes_its_bindings_along() {
    let mut world = World::new(2);
    let binding = Binding {
        source: "amq.fanout".into(),
        destination: Destination::Queue(queue(3)),
        routing_key: Text::empty(),
        arguments: Headers::new(),
    };
    world.topology.apply(&Change::PutBinding { vhost: VHOST, binding });
    world.topology.apply(&Change::DropQueue { vhost: VHOST, name: queue(3) });
    let vhost = world.topology.vhost(&VHOST).unwrap();
    assert_eq!(vhost.bindings().count(), 0);
    assert_eq!(vhost.exchange(&"amq.fanout".into()).unwrap().binding_count(), 0);
    let mut found = Vec::new();
    vhost.route(
        &Text::empty(),
        Routable { routing_key: &queue(3), more_keys: &[], headers: None },
        &mut found,
    );
    assert_eq!(found, []);
}

#[test]
fn all_keys_of_a_message_count_at_each_exchange() {
    let mut world = World::new(2);
    let binding = |source: &str, key: &str, destination| Binding {
        source: source.into(),
        destination,
        routing_key: key.into(),
        arguments: Headers::new(),
    };
    for binding in [
        binding("amq.direct", "first", Destination::Exchange("amq.topic".into())),
        binding("amq.topic", "second", Destination::Queue(queue(1))),
    ] {
        world.topology.apply(&Change::PutBinding { vhost: VHOST, binding });
    }
    let vhost = world.topology.vhost(&VHOST).unwrap();
    let found = |more_keys: &[Text]| {
        let mut found = Vec::new();
        let message = Routable { routing_key: &"first".into(), more_keys, headers: None };
        vhost.route(&"amq.direct".into(), message, &mut found);
        found.len()
    };
    assert_eq!((found(&[]), found(&["second".into()])), (0, 1));
}

#[test]
fn changes_come_back_from_their_records() {
    let exchange = ExchangeDefinition {
        alternate: Some("other".into()),
        delayed: true,
        arguments: [("k", Value::Bool(true))].into_iter().collect(),
        ..ExchangeDefinition::new(ExchangeKind::Headers)
    };
    let options =
        Options { ttl_ms: Some(5), delivery_limit: Some(20), priority_max: 9, ..Options::default() };
    let queue = Definition { options, ..definition(QueueId(7), "q".into()) };
    let binding = Binding {
        source: "s".into(),
        destination: Destination::Exchange("d".into()),
        routing_key: "k".into(),
        arguments: Headers::new(),
    };
    let changes = [
        Change::PutVhost(VHOST),
        Change::DropVhost(VHOST),
        Change::PutExchange { vhost: VHOST, name: "x".into(), definition: exchange },
        Change::DropExchange { vhost: VHOST, name: "x".into() },
        Change::PutQueue(queue),
        Change::DropQueue { vhost: VHOST, name: "q".into() },
        Change::PutBinding { vhost: VHOST, binding: binding.clone() },
        Change::DropBinding { vhost: VHOST, binding },
        Change::Numbers(1000),
    ];
    for change in changes {
        let record = change.encode();
        assert_eq!(Change::decode(record.key, record.value), Ok(change));
    }
}
