//! A disk that takes its time: acknowledgements come late, and nothing else does.
//!
//! Every write and every sync takes a random time. Writers that send more than the disk takes wait for their
//! acknowledgements, none of which comes before its sync; readers and requests that need no disk are served meanwhile as
//! if nothing were; what is taken for the disk has a limit, beyond which writers wait. Then the power fails, and
//! everything acknowledged is there. `ANNALS_TEST_SLOW_SECONDS=N` goes on for N seconds instead of 2.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_clock::Clock;
use annals_journal::{FaultFiles, File, Files, OpenMode};
use tokio::task::JoinSet;

use crate::model::Dice;
use crate::world::{IN_FLIGHT_BYTES_MAX, World};

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 4;
const WRITERS: u64 = 16;
/// Batches that a writer has under way at the same time.
const WINDOW: usize = 40;
const VALUE_BYTES: usize = 20_000;
/// The least and the most that a sync takes, in milliseconds.
const SYNC_MS: (u64, u64) = (80, 400);
const WRITE_MS: (u64, u64) = (1, 20);

/// Files whose writes and syncs are late.
#[derive(Clone)]
struct SlowFiles {
    files: FaultFiles,
    dice: Arc<Mutex<Dice>>,
    is_slow: Arc<AtomicBool>,
}

impl SlowFiles {
    fn new(seed: u64) -> Self {
        let dice = Arc::new(Mutex::new(Dice(seed)));
        Self { files: FaultFiles::new(), dice, is_slow: Arc::default() }
    }

    fn delay(&self, (least, most): (u64, u64)) {
        if self.is_slow.load(Ordering::Relaxed) {
            let more = self.dice.lock().unwrap().below(most - least);
            std::thread::sleep(Duration::from_millis(least + more));
        }
    }
}

impl Files for SlowFiles {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SlowFile { file: self.files.open(name, mode)?, files: self.clone() }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.delay(SYNC_MS);
        self.files.sync_directory()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.files.free_bytes()
    }

    fn total_bytes(&self) -> io::Result<u64> {
        self.files.total_bytes()
    }

    fn place(&self) -> String {
        self.files.place()
    }
}

struct SlowFile {
    file: Arc<dyn File>,
    files: SlowFiles,
}

impl File for SlowFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(position, buffer)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.files.delay(WRITE_MS);
        self.file.write_at(position, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.files.delay(SYNC_MS);
        self.file.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// What the writers saw.
#[derive(Default)]
struct Seen {
    /// Acknowledged values with the partition and offset of each.
    acknowledged: Vec<(i32, i64, String)>,
    fastest: Option<Duration>,
    slowest: Duration,
}

/// The batches that the journal has taken and not acknowledged: now, and the most there ever were.
#[derive(Default)]
struct Held {
    now: AtomicU64,
    most: AtomicU64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_makes_acknowledgements_late_and_nothing_else() {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let lasting = Duration::from_secs(number("ANNALS_TEST_SLOW_SECONDS", 2));
    let files = SlowFiles::new(number("ANNALS_TEST_SEED", 1));
    let world = Arc::new(World::try_open(Arc::new(files.clone()), Duration::from_secs(1)).unwrap());
    // The records have old timestamps.
    world.create(TOPIC, PARTITIONS, &[("retention.ms", "-1")]).await.unwrap();
    for partition in 0..PARTITIONS {
        world.produce(TOPIC, partition, None, &["first"]).await.unwrap();
    }
    files.is_slow.store(true, Ordering::Relaxed);
    let (clock, held) = (Clock::system(), Arc::new(Held::default()));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(Arc::clone(&world), clock.clone(), Arc::clone(&held), writer, lasting));
    }
    let reads = read_beside(&world, &clock, lasting).await;
    let (usual_read, slowest_read) = (reads[reads.len() / 2], reads[reads.len() - 1]);
    let mut seen = Seen::default();
    while let Some(writer) = writers.join_next().await {
        seen.add(writer.unwrap());
    }
    let most = held.most.load(Ordering::Relaxed) * VALUE_BYTES as u64;
    println!("figure: batches acknowledged={}", seen.acknowledged.len());
    println!("figure: fastest acknowledgement={} ms", seen.fastest.unwrap().as_millis());
    println!("figure: slowest acknowledgement={} ms", seen.slowest.as_millis());
    println!("figure: slowest read beside={} ms", slowest_read.as_millis());
    println!("figure: held for the disk={:.1} MiB", most as f64 / f64::from(1 << 20));
    assert!(seen.fastest >= Some(Duration::from_millis(SYNC_MS.0)), "before its sync: {:?}", seen.fastest);
    // Single ones may have waited for a processor.
    assert!(usual_read < Duration::from_millis(SYNC_MS.0), "{usual_read:?}");
    // Counted a moment later than the journal gives it back.
    assert!(most <= 2 * IN_FLIGHT_BYTES_MAX as u64, "{most} bytes were taken at the same time");
    let after = World::open(&files.files.crash_keeping_only_synced());
    check(&after, &seen).await;
}

/// What needs no disk: reading what is there, and listing topics. Returns how long each took, in order.
async fn read_beside(world: &World, clock: &Clock, lasting: Duration) -> Vec<Duration> {
    let mut took = Vec::new();
    while clock.monotonic() < lasting {
        let began = clock.monotonic();
        assert!(!world.fetch(TOPIC, 0, Some(0)).await.records.is_empty());
        assert_eq!(world.topics().await, [TOPIC]);
        took.push(clock.monotonic() - began);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    took.sort();
    took
}

/// Keeps a window of batches under way for so long, then waits for the last.
async fn write(world: Arc<World>, clock: Clock, held: Arc<Held>, writer: u64, lasting: Duration) -> Seen {
    let (mut seen, mut under_way) = (Seen::default(), JoinSet::new());
    let partition = (writer % PARTITIONS as u64) as i32;
    let padding = "x".repeat(VALUE_BYTES);
    for number in 0.. {
        let is_over = clock.monotonic() >= lasting;
        if under_way.len() == WINDOW || is_over {
            let Some(acknowledged) = under_way.join_next().await else { break };
            let (offset, value, took) = acknowledged.unwrap();
            seen.note((partition, offset, value), took);
        }
        if !is_over {
            let (value, began) = (format!("{writer}/{number}/{padding}"), clock.monotonic());
            let ticket = world.begin(TOPIC, partition, None, &[&value]).await;
            held.add();
            let (held, clock) = (Arc::clone(&held), clock.clone());
            under_way.spawn(async move {
                let offset = ticket.durable().await.remove(0).unwrap().base_offset;
                held.now.fetch_sub(1, Ordering::Relaxed);
                (offset, value, clock.monotonic() - began)
            });
        }
    }
    seen
}

impl Held {
    fn add(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
    }
}

impl Seen {
    fn note(&mut self, record: (i32, i64, String), took: Duration) {
        self.acknowledged.push(record);
        self.fastest = Some(self.fastest.map_or(took, |fastest| fastest.min(took)));
        self.slowest = self.slowest.max(took);
    }

    fn add(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.fastest = self.fastest.into_iter().chain(other.fastest).min();
        self.slowest = self.slowest.max(other.slowest);
    }
}

async fn check(world: &World, seen: &Seen) {
    let mut found = HashMap::new();
    for partition in 0..PARTITIONS {
        let read = world.read_around_damage(TOPIC, partition).await;
        found.extend(read.into_iter().map(|(offset, _, value)| ((partition, offset), value)));
    }
    for (partition, offset, value) in &seen.acknowledged {
        assert!(found.get(&(*partition, *offset)) == Some(value), "{partition} {offset} is not there");
    }
}
