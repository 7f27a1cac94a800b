//! What must be there: everything that was acknowledged, and of what was left open all or nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::world::World;

/// Kept whole; two partitions.
const ORDERS: &str = "orders";
/// Compacted; one partition.
const PRICES: &str = "prices";
const GROUP: &str = "auditors";
/// Batches that a producer may have under way.
const WINDOW: u64 = 4;

/// A small seeded source of decisions (SplitMix64), so that a failing seed fails again.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }
}

/// A value that was acknowledged, and one that may have taken its place.
#[derive(Clone, Debug, Default)]
struct Value<T> {
    sure: T,
    open: Option<T>,
}

impl<T: PartialEq + Clone + std::fmt::Debug> Value<T> {
    /// Takes the outcome of writing `value`. Returns whether it was acknowledged.
    fn write<E>(&mut self, value: T, outcome: &Result<impl Sized, E>) -> bool {
        match outcome {
            Ok(_) => *self = Self { sure: value, open: None },
            Err(_) => self.open = Some(value),
        }
        outcome.is_ok()
    }

    /// A new life shows which one it is.
    fn settle(&mut self, found: T, what: &str) {
        let may_be = found == self.sure || Some(&found) == self.open.as_ref();
        assert!(may_be, "{what} is {found:?}, not as in {self:?}");
        *self = Self { sure: found, open: None };
    }
}

#[derive(Default)]
struct Partition {
    /// Acknowledged records.
    records: BTreeMap<i64, String>,
    start: Value<i64>,
    /// Records that may be there.
    open: BTreeSet<String>,
    committed: Value<Option<i64>>,
}

/// An idempotent producer of one partition.
struct Producer {
    id: i64,
    partition: usize,
    next_sequence: i32,
    /// Batches without an acknowledgement, with their first sequence numbers: they are sent again.
    open: VecDeque<(i32, Vec<String>)>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Model {
    partitions: [Partition; 2],
    producers: Vec<Producer>,
    ids: BTreeSet<i64>,
    /// The latest value of each key of the compacted topic.
    prices: BTreeMap<String, Value<u64>>,
    /// Topics that come and go.
    topics: BTreeMap<String, Value<bool>>,
    numbers: u64,
    pub(crate) acknowledged: u64,
    pub(crate) left_open: u64,
}

impl Model {
    /// Compares what a new life finds with what must be there, and sends again what was left open.
    pub(crate) async fn begin_life(&mut self, world: &World) {
        let found = world.topics().await;
        for (name, there) in &mut self.topics {
            there.settle(found.contains(name), name);
        }
        for (name, partitions, configs) in [
            (ORDERS, 2, &[][..]),
            (PRICES, 1, &[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0")]),
        ] {
            if !found.iter().any(|found| found == name) {
                let is_fresh = self.ids.is_empty() && self.prices.is_empty() && self.acknowledged == 0;
                assert!(is_fresh, "{name} is gone");
                world.create(name, partitions, configs).await.unwrap();
            }
        }
        self.check_prices(world).await;
        for partition in 0..2 {
            let found = self.check_partition(world, partition).await;
            self.retry(world, partition, &found).await;
            self.check_partition(world, partition).await;
        }
    }

    async fn check_prices(&mut self, world: &World) {
        let mut latest: BTreeMap<String, u64> = BTreeMap::new();
        for (_, key, value) in world.read(PRICES, 0).await {
            let (key, number) = (key.unwrap(), value.parse().unwrap());
            let before = latest.insert(key, number);
            assert!(before < Some(number), "{before:?} before {number}");
        }
        for (key, value) in &mut self.prices {
            value.settle(latest.get(key).copied().unwrap_or(0), key);
        }
    }

    /// Returns what the partition holds, by value.
    async fn check_partition(&mut self, world: &World, index: usize) -> BTreeMap<String, i64> {
        let partition = &mut self.partitions[index];
        let number = index as i32;
        let start = world.fetch(ORDERS, number, None).await.log_start_offset;
        partition.start.settle(start, "the start of the log");
        let committed = world.committed(GROUP, ORDERS, number).await;
        partition.committed.settle(committed, "the committed offset");
        partition.records = partition.records.split_off(&start);
        let mut found = BTreeMap::new();
        let mut records = partition.records.clone();
        for (expected, (offset, _, value)) in (start..).zip(world.read(ORDERS, number).await) {
            assert_eq!(offset, expected, "offsets are dense");
            match records.remove(&offset) {
                Some(acknowledged) => assert_eq!(value, acknowledged, "at {offset}"),
                None => assert!(partition.open.contains(&value), "{value} at {offset} was never sent"),
            }
            assert_eq!(found.insert(value.clone(), offset), None, "{value} is there twice");
        }
        assert!(records.is_empty(), "lost from partition {index}: {records:?}");
        // What a new life has is there to stay; what it has not will not come.
        partition.open.retain(|value| found.contains_key(value));
        for value in &partition.open {
            partition.records.insert(found[value], value.clone());
        }
        partition.open.clear();
        found
    }

    async fn retry(&mut self, world: &World, index: usize, found: &BTreeMap<String, i64>) {
        let start = self.partitions[index].start.sure;
        for producer in self.producers.iter_mut().filter(|producer| producer.partition == index) {
            while let Some((sequence, values)) = producer.open.pop_front() {
                let texts: Vec<&str> = values.iter().map(String::as_str).collect();
                let base =
                    world.produce(ORDERS, index as i32, Some((producer.id, sequence)), &texts).await.unwrap();
                let before: Vec<Option<i64>> = values.iter().map(|value| found.get(value).copied()).collect();
                if before.iter().any(Option::is_some) {
                    let same: Vec<_> = (base..).map(Some).take(values.len()).collect();
                    let cut = base < start;
                    assert!(cut || before == same, "{values:?}: {before:?}, and {base} when sent again");
                }
                acknowledge(&mut self.partitions[index], base, values);
                self.acknowledged += 1;
            }
        }
    }

    /// One random operation. Returns whether another may follow.
    pub(crate) async fn operate(&mut self, world: &World, dice: &mut Dice) -> bool {
        let kind = dice.below(16);
        let done = match kind {
            0 => self.add_producer(world, dice).await,
            1 => self.create_or_delete(world, dice).await,
            2 => self.cut(world, dice).await,
            3..6 => self.commit(world, dice).await,
            6..9 => self.set_price(world, dice).await,
            9 => self.produce_plainly(world, dice).await,
            _ => self.produce(world, dice).await,
        };
        // Shown when the test fails, as are the lives.
        println!(
            "operation {kind}: acknowledged {done}, values to {}, committed {:?}",
            self.numbers,
            self.partitions.each_ref().map(|partition| &partition.committed)
        );
        match done {
            true => self.acknowledged += 1,
            false => self.left_open += 1,
        }
        done
    }

    async fn add_producer(&mut self, world: &World, dice: &mut Dice) -> bool {
        let Ok(id) = world.producer().await else { return false };
        assert!(self.ids.insert(id), "producer id {id} was given away twice");
        let partition = dice.below(2) as usize;
        self.producers.push(Producer { id, partition, next_sequence: 0, open: VecDeque::new() });
        true
    }

    async fn create_or_delete(&mut self, world: &World, dice: &mut Dice) -> bool {
        let name = format!("topic-{}", dice.below(4));
        let there = self.topics.entry(name.clone()).or_default();
        if there.sure {
            there.write(false, &world.delete(&name).await)
        } else {
            there.write(true, &world.create(&name, 2, &[]).await)
        }
    }

    async fn cut(&mut self, world: &World, dice: &mut Dice) -> bool {
        let (index, partition) = self.any_partition(dice);
        let end = partition.records.last_key_value().map_or(0, |(offset, _)| offset + 1);
        let before = partition.start.sure + dice.below((end - partition.start.sure) as u64 / 3 + 1) as i64;
        let outcome = world.cut(ORDERS, index, before).await;
        let done = partition.start.write(before, &outcome);
        if done {
            partition.records = partition.records.split_off(&before);
        }
        done
    }

    async fn commit(&mut self, world: &World, dice: &mut Dice) -> bool {
        let offset = dice.below(1000) as i64;
        let (index, partition) = self.any_partition(dice);
        partition.committed.write(Some(offset), &world.commit(GROUP, ORDERS, index, offset).await)
    }

    async fn set_price(&mut self, world: &World, dice: &mut Dice) -> bool {
        let key = format!("key-{}", dice.below(3));
        let number = self.number();
        let outcome = world.produce(PRICES, 0, None, &[&format!("{key}={number}")]).await;
        self.prices.entry(key).or_default().write(number, &outcome)
    }

    async fn produce_plainly(&mut self, world: &World, dice: &mut Dice) -> bool {
        let values: Vec<String> = (0..=dice.below(2)).map(|_| format!("plain-{}", self.number())).collect();
        let (index, partition) = self.any_partition(dice);
        let texts: Vec<&str> = values.iter().map(String::as_str).collect();
        let outcome = world.produce(ORDERS, index, None, &texts).await;
        match outcome {
            Ok(base) => acknowledge(partition, base, values),
            Err(_) => partition.open.extend(values),
        }
        outcome.is_ok()
    }

    /// Some batches of one producer, all on their way before the first is acknowledged.
    async fn produce(&mut self, world: &World, dice: &mut Dice) -> bool {
        let Some(place) = self.begin_batches(world, dice, true).await else { return true };
        self.producers[place].open.is_empty()
    }

    /// Batches that nobody waits for: the power fails first.
    pub(crate) async fn leave_in_flight(&mut self, world: &World, dice: &mut Dice) {
        for _ in 0..dice.below(3) {
            self.begin_batches(world, dice, false).await;
            self.left_open += 1;
        }
    }

    async fn begin_batches(&mut self, world: &World, dice: &mut Dice, wait: bool) -> Option<usize> {
        if self.producers.is_empty() {
            return None;
        }
        let place = dice.below(self.producers.len() as u64) as usize;
        let mut tickets = VecDeque::new();
        for _ in 0..=dice.below(WINDOW) {
            let values: Vec<String> =
                (0..=dice.below(3)).map(|_| format!("value-{}", self.number())).collect();
            let texts: Vec<&str> = values.iter().map(String::as_str).collect();
            let producer = &mut self.producers[place];
            if producer.open.len() as u64 > WINDOW {
                break;
            }
            let (sequence, partition) = (producer.next_sequence, producer.partition);
            tickets.push_back(
                world.begin(ORDERS, partition as i32, Some((producer.id, sequence)), &texts).await,
            );
            producer.next_sequence += values.len() as i32;
            self.partitions[partition].open.extend(values.iter().cloned());
            producer.open.push_back((sequence, values));
        }
        if wait {
            self.await_batches(place, tickets).await;
        }
        Some(place)
    }

    async fn await_batches(&mut self, place: usize, tickets: VecDeque<annals_broker::ProduceTicket>) {
        let producer = &mut self.producers[place];
        let partition = &mut self.partitions[producer.partition];
        let mut refused = false;
        for ticket in tickets {
            match ticket.durable().await.remove(0) {
                Ok(produced) => {
                    assert!(!refused, "acknowledged after one before it was refused");
                    let (_, values) = producer.open.pop_front().unwrap();
                    values.iter().for_each(|value| {
                        partition.open.remove(value);
                    });
                    acknowledge(partition, produced.base_offset, values);
                }
                Err(_) => refused = true,
            }
        }
    }

    fn any_partition(&mut self, dice: &mut Dice) -> (i32, &mut Partition) {
        let index = dice.below(2) as usize;
        (index as i32, &mut self.partitions[index])
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

fn acknowledge(partition: &mut Partition, base: i64, values: Vec<String>) {
    for (offset, value) in (base..).zip(values) {
        if offset >= partition.start.sure {
            partition.records.insert(offset, value);
        }
    }
}
