//! Bits that flip in files at rest, of every kind that a data directory has: noticed and named, or without any effect.
//!
//! Each flip is made in a copy of a directory with sealed, rewritten and open segments, small files and leftovers. Then
//! `verify` reads the copy, a broker opens it, and everything that it still shows is compared with what was written.
//! Either all of it is there, or the damaged file was named by one of the two; what is gone is one group at most;
//! nothing is ever shown that was not written; and writing goes on. `ANNALS_TEST_FLIPS=N` makes N flips instead of 400,
//! `ANNALS_TEST_SEED=N` others.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use annals_broker::api::produce::ProduceError;
use annals_journal::{FaultFiles, Files, OpenMode, verify};

use crate::block_on;
use crate::model::Dice;
use crate::world::World;

const ORDERS: &str = "orders";
const PRICES: &str = "prices";
const PARTITIONS: [(&str, i32); 3] = [(ORDERS, 0), (ORDERS, 1), (PRICES, 0)];
const GROUP: &str = "auditors";
/// The most records that one group of the workload holds: no flip costs more.
const GROUP_RECORDS_MAX: usize = 4;
/// Compaction must not remove anything between two looks.
const NEVER: Duration = Duration::from_secs(3600);

/// Everything that a user put in.
#[derive(Debug, Default, PartialEq)]
struct Content {
    topics: Vec<String>,
    records: BTreeMap<(&'static str, i32, i64), (Option<String>, String)>,
    committed: Vec<Option<i64>>,
}

/// A data directory at rest, and what is in it.
struct Subject {
    name: &'static str,
    files: FaultFiles,
    content: Content,
    /// Whether everything in it is known to have been durable.
    is_proven: bool,
}

/// One bit of one file.
struct Flip<'a> {
    subject: &'a Subject,
    file: String,
    bit: u64,
}

impl Display for Flip<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bit {} of {} {}", self.bit, self.subject.name, self.file)
    }
}

/// What became of a flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nobody noticed, and everything is as it was.
    Harmless,
    /// The file was named, and everything is as it was.
    NamedWithoutLoss,
    /// The file was named, and a group is not readable.
    NamedWithLoss,
    /// The last group, which nothing proved, was taken for an unfinished write and cut. The cut was told.
    TornEnd,
    /// A record of the catalogue is lost: what is left is read, nothing is written, and the reason names the file.
    ReadOnly,
    /// The start was refused with the name of the file.
    Refused,
}

const FATES: [(Fate, &str); 6] = [
    (Fate::Harmless, "harmless"),
    (Fate::NamedWithoutLoss, "named, nothing lost"),
    (Fate::NamedWithLoss, "named, one group lost"),
    (Fate::TornEnd, "last group cut as torn"),
    (Fate::ReadOnly, "read only, named"),
    (Fate::Refused, "start refused by name"),
];

#[test]
fn no_flipped_bit_is_silent() {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (seed, flips) = (number("ANNALS_TEST_SEED", 0), number("ANNALS_TEST_FLIPS", 400));
    let subjects = block_on(subjects());
    let (next, counts) = (AtomicU64::new(0), FATES.map(|_| AtomicU64::new(0)));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && number < flips
                {
                    let fate = judge(&choose(&subjects, &mut Dice((seed << 32) + number)));
                    let place = FATES.iter().position(|(known, _)| *known == fate).unwrap();
                    counts[place].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    println!("figure: flips={flips}");
    for ((_, name), count) in FATES.iter().zip(&counts) {
        println!("figure: {name}={}", count.load(Ordering::Relaxed));
    }
    println!("figure: silent=0");
}

/// Lets a panic say which flip it was.
fn judge(flip: &Flip<'_>) -> Fate {
    let judged = catch_unwind(AssertUnwindSafe(|| block_on(fate(flip))));
    judged.unwrap_or_else(|_| panic!("{flip}: see above"))
}

async fn fate(flip: &Flip<'_>) -> Fate {
    let (subject, name) = (flip.subject, flip.file.as_str());
    let files = subject.files.kill();
    files.flip_bit(name, flip.bit);
    let (mut is_named, mut is_cut) = match verify(&files, |_, _| {}) {
        Ok(report) => {
            let named = report.damage.iter().map(|damage| &damage.file).any(|file| file == name);
            (named, report.cut.is_some_and(|cut| cut.file == name))
        }
        Err(error) => (error.to_string().contains(name), false),
    };
    let mut world = match World::try_open(Arc::new(files.clone()), NEVER) {
        Ok(world) => world,
        Err(error) => {
            assert!(error.to_string().contains(name), "{flip}: refused without the file's name: {error}");
            return Fate::Refused;
        }
    };
    let found = survey(&world).await;
    if let Some(reason) = world.broker.stopped() {
        assert!(reason.contains(name), "{flip}: {reason}");
        assert_as_written(&subject.content, &found);
        world.stop().await;
        return Fate::ReadOnly;
    }
    is_named |= world.broker.damage().iter().any(|damage| damage.file == name);
    is_cut &= !subject.is_proven;
    let lost = lost(&subject.content, &found);
    let places: Vec<_> =
        subject.content.records.keys().filter(|place| !found.records.contains_key(place)).collect();
    assert!(lost <= GROUP_RECORDS_MAX, "{flip}: lost {places:?}; {:?}", world.broker.damage());
    let is_same = found == subject.content;
    assert!(is_same || is_named || is_cut, "{flip}: silent; {found:?} instead of {:?}", subject.content);
    for (topic, partition) in PARTITIONS {
        let written = world.produce(topic, partition, None, &["key=after"]).await;
        assert!(written.is_ok(), "{flip}: {topic}-{partition}: {written:?}");
    }
    assert_eq!(world.broker.stopped(), None, "{flip}");
    world.stop().await;
    match (is_same, is_named) {
        (true, false) => Fate::Harmless,
        (true, true) => Fate::NamedWithoutLoss,
        (false, true) => Fate::NamedWithLoss,
        (false, false) => Fate::TornEnd,
    }
}

/// How many records are not there any more. What is there must be what was written.
fn lost(before: &Content, after: &Content) -> usize {
    assert_as_written(before, after);
    // A group whose last commit is gone goes on from an earlier one: commits only rise here.
    let earlier = before.committed.iter().zip(&after.committed).all(|(before, after)| after <= before);
    assert!(earlier, "committed {:?}, was {:?}", after.committed, before.committed);
    before.records.len() - after.records.len()
}

fn assert_as_written(before: &Content, after: &Content) {
    for (place, record) in &after.records {
        assert_eq!(before.records.get(place), Some(record), "at {place:?}");
    }
}

async fn survey(world: &World) -> Content {
    let mut content = Content { topics: world.topics().await, ..Content::default() };
    content.topics.sort();
    for (topic, partition) in PARTITIONS {
        if !content.topics.iter().any(|name| name == topic) {
            continue;
        }
        for (offset, key, value) in world.read_around_damage(topic, partition).await {
            content.records.insert((topic, partition, offset), (key, value));
        }
        content.committed.push(world.committed(GROUP, topic, partition).await);
    }
    content
}

/// A file by its kind, and a bit of it; every other one where the file holds something.
fn choose<'a>(subjects: &'a [Subject], dice: &mut Dice) -> Flip<'a> {
    let subject = &subjects[dice.below(subjects.len() as u64) as usize];
    let mut names = subject.files.list().unwrap();
    names.sort();
    // There are more segments than small files: those are chosen more seldom.
    let (segments, small): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.ends_with(".segment"));
    let names = if dice.below(5) == 0 { small } else { segments };
    let file = names[dice.below(names.len() as u64) as usize].clone();
    let bytes = subject.files.bytes(&file).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let end = if dice.below(2) == 0 { used } else { bytes.len() };
    Flip { subject, file, bit: dice.below(end as u64 * 8) }
}

/// The same life, ended in order, killed after a quiet moment, and killed in the middle.
async fn subjects() -> [Subject; 3] {
    let files = FaultFiles::new();
    let mut world = World::open(&files);
    live(&world, &files).await;
    let open = subject("open", &files, false).await;
    proven(&files).await;
    let quiet = subject("quiet", &files, true).await;
    world.stop().await;
    [open, quiet, subject("closed", &files, true).await]
}

/// Waits for what proves the last group.
async fn proven(files: &FaultFiles) {
    eventually("proven", || files.is_proven()).await;
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn subject(name: &'static str, files: &FaultFiles, is_proven: bool) -> Subject {
    let files = files.kill();
    let mut world = World::try_open(Arc::new(files.kill()), NEVER).unwrap();
    let content = survey(&world).await;
    world.stop().await;
    assert!(content.records.len() > 100 && content.topics == [ORDERS, PRICES], "{content:?}");
    let leftovers = [("LOCK", b"4711\n".to_vec()), ("FORMAT.tmp", b"annals".to_vec())];
    let rewrite = ("0000000001-0000000002-0007.segment.tmp", vec![0x55; 9000]);
    for (name, bytes) in leftovers.into_iter().chain([rewrite]) {
        files.open(name, OpenMode::CreateNew).unwrap().write_at(0, &bytes).unwrap();
    }
    Subject { name, files, content, is_proven }
}

/// Leaves segments that were rewritten, sealed and written last, each with topics, records and commits.
async fn live(world: &World, files: &FaultFiles) {
    // The records have old timestamps.
    world.create(ORDERS, 2, &[("retention.ms", "-1")]).await.unwrap();
    let compacted = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0")];
    world.create(PRICES, 1, &compacted).await.unwrap();
    let producer = world.producer().await.unwrap();
    for part in 0..5 {
        if part == 1 {
            world.create("forgotten", 1, &[]).await.unwrap();
        }
        for step in 0..12 {
            let number = part * 12 + step;
            produce(world, producer, number).await;
            world.commit(GROUP, ORDERS, number % 2, i64::from(number)).await.unwrap();
        }
        if part == 2 {
            world.delete("forgotten").await.unwrap();
            world.cut(ORDERS, 0, 20).await.unwrap();
        }
        if part < 4 {
            world.broker.journal().roll();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let rewritten = |name: &String| name.ends_with(".segment") && !name.ends_with("-0000.segment");
    eventually("rewritten", || files.list().unwrap().iter().any(rewritten)).await;
}

async fn produce(world: &World, producer: i64, number: i32) {
    let long = "x".repeat(number as usize * 37 % 900);
    let orders: Vec<String> = (0..=number % 4).map(|i| format!("order-{number}-{i}-{long}")).collect();
    let orders: Vec<&str> = orders.iter().map(String::as_str).collect();
    world.produce(ORDERS, 0, None, &orders).await.unwrap();
    world.produce(ORDERS, 1, Some((producer, number)), &[&format!("bill-{number}")]).await.unwrap();
    let price = format!("key-{}={number}", number % 7);
    world.produce(PRICES, 0, None, &[&price]).await.unwrap();
}

#[test]
fn a_damaged_batch_does_not_move_the_end_of_its_partition() {
    block_on(async {
        let files = FaultFiles::new();
        let world = World::open(&files);
        world.create(ORDERS, 1, &[]).await.unwrap();
        for value in ["first", "second", "third"] {
            world.produce(ORDERS, 0, None, &[value]).await.unwrap();
        }
        // The marker that follows proves the groups: what is unreadable is damage.
        proven(&files).await;
        let (name, places) = find(&files, "second");
        let damaged = files.kill();
        damaged.flip_bit(&name, places[0] * 8);
        // The payload begins with the batch's base offset, which nothing but the journal's checksum covers.
        let batch = verify(&damaged, |_, _| {}).unwrap().damage[0].bytes.start;
        let damaged = files.kill();
        damaged.flip_bit(&name, batch * 8 + 6);
        let world = World::open(&damaged);
        let end = world.fetch(ORDERS, 0, Some(0)).await.high_watermark;
        assert_eq!(end, 3);
        assert_eq!(world.produce(ORDERS, 0, None, &["fourth"]).await, Ok(3));
        let values: Vec<_> =
            world.read_around_damage(ORDERS, 0).await.into_iter().map(|read| read.2).collect();
        assert_eq!(values, ["first", "third", "fourth"]);
    });
}

#[test]
fn a_damaged_commit_keeps_nothing_else_from_being_read() {
    block_on(async {
        let files = FaultFiles::new();
        let world = World::open(&files);
        world.create(ORDERS, 1, &[]).await.unwrap();
        world.produce(ORDERS, 0, None, &["first"]).await.unwrap();
        for offset in [1, 2] {
            world.commit(GROUP, ORDERS, 0, offset).await.unwrap();
        }
        proven(&files).await;
        let (name, places) = find(&files, GROUP);
        let damaged_at = |place: u64| {
            let damaged = files.kill();
            damaged.flip_bit(&name, place * 8);
            World::open(&damaged)
        };
        for (place, committed) in [(places[0], 2), (*places.last().unwrap(), 1)] {
            let world = damaged_at(place);
            assert_eq!(world.values(ORDERS, 0).await, ["first"]);
            assert_eq!(world.committed(GROUP, ORDERS, 0).await, Some(committed));
            assert!(world.broker.damage().iter().any(|damage| damage.file == name && damage.data_lost));
            world.commit(GROUP, ORDERS, 0, 3).await.unwrap();
            assert_eq!(world.committed(GROUP, ORDERS, 0).await, Some(3));
        }
    });
}

#[test]
fn a_damaged_catalogue_leaves_the_rest_to_read_and_nothing_to_write() {
    block_on(async {
        let files = FaultFiles::new();
        let world = World::open(&files);
        world.create(PRICES, 1, &[]).await.unwrap();
        world.create(ORDERS, 1, &[]).await.unwrap();
        world.produce(ORDERS, 0, None, &["first"]).await.unwrap();
        proven(&files).await;
        let (name, places) = find(&files, PRICES);
        let damaged = files.kill();
        damaged.flip_bit(&name, places[0] * 8);
        let world = World::open(&damaged);
        assert_eq!(world.topics().await, [ORDERS]);
        assert_eq!(world.values(ORDERS, 0).await, ["first"]);
        let reason = world.broker.stopped().unwrap();
        assert!(reason.contains(&name) && reason.contains("catalogue"), "{reason}");
        let refused = world.produce(ORDERS, 0, None, &["second"]).await;
        assert!(matches!(refused, Err(ProduceError::Unavailable(_))), "{refused:?}");
        assert!(world.create("more", 1, &[]).await.is_err());
    });
}

/// The segment that holds a text, and the places where it does.
fn find(files: &FaultFiles, text: &str) -> (String, Vec<u64>) {
    let places = |name: &str| -> Vec<u64> {
        let bytes = files.bytes(name).unwrap();
        let holds = |place: &usize| bytes[*place..].starts_with(text.as_bytes());
        (0..bytes.len()).filter(holds).map(|place| place as u64).collect()
    };
    let found = files.list().unwrap().into_iter().map(|name| (places(&name), name));
    let (places, name) = found.into_iter().find(|(places, _)| !places.is_empty()).unwrap();
    (name, places)
}
