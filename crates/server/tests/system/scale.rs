//! Crowds of connections beside one client that works: it is served as before, and memory stays within a limit.
//!
//! `ANNALS_TEST_IDLE=N` and `ANNALS_TEST_STALLED=N` set how many there are; an ordinary run has a few hundred. The
//! limit is the kernel's (`RLIMIT_DATA`): a server that asked for more would end, and the test with it.

use std::time::Duration;

use annals_topics::batch::Compression;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::clients::{create, producer, record, send_all};
use crate::hostile::batch;
use crate::server::{Server, Watch};
use crate::wire::{Wire, fetch, fetch_error, produce, produce_error, request};

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
/// What a server may take for itself, with a crowd as without one.
const MEMORY_MAX: u64 = 512 << 20;
/// Resident memory of a connection that has said hello and waits.
const IDLE_BYTES_MAX: u64 = 32 << 10;
/// Nine of ten requests of the client beside the crowd take less, on a busy machine too.
const BESIDE_P90_MAX: Duration = Duration::from_secs(3);
const ROUNDS: usize = 200;
const BRIEFLY: Duration = Duration::ZERO;
/// Long enough for a crowd to get all that it can.
const WHILE: Duration = Duration::from_secs(3);
/// Fetches that a stalled consumer sends before it goes deaf, and how much each may bring.
const STALLED_FETCHES: usize = 4;
const STALLED_BYTES: i32 = 16 << 20;

/// A server with a limit and one client that writes and reads.
struct Scene {
    server: Server,
    client: Client,
    _directory: TempDir,
}

/// Writes a record and reads it, again and again.
struct Client {
    wire: Wire,
    next: i64,
}

/// How long things took, shortest first.
struct Times(Vec<Duration>);

impl Scene {
    fn start(connections: usize) -> Self {
        raise_file_limit(connections as u64 + 200);
        let directory = tempfile::tempdir().unwrap();
        let limit = format!("kafka.connections_max={}", connections + 100);
        let server = Server::start_with(directory.path(), &[&limit]);
        server.limit_memory(MEMORY_MAX);
        create(server.kafka(), "good", 1, &[]);
        let client = Client { wire: Wire::connect(server.kafka()), next: 0 };
        Self { server, client, _directory: directory }
    }

    /// Connections that have asked for the versions, as every client does first.
    fn greeted(&self, count: usize) -> Vec<Wire> {
        let greet = |_| {
            let mut wire = Wire::connect(self.server.kafka());
            wire.send(API_VERSIONS, 0, &[]);
            assert!(wire.receive().is_some());
            wire
        };
        (0..count).map(greet).collect()
    }
}

impl Client {
    /// So many rounds, and more until `lasting` is over.
    fn times(&mut self, lasting: Duration) -> Times {
        let (mut times, watch) = (Vec::new(), Watch::start());
        while times.len() < ROUNDS || watch.passed() < lasting {
            times.push(self.round());
        }
        times.sort_unstable();
        Times(times)
    }

    fn round(&mut self) -> Duration {
        let watch = Watch::start();
        let records = batch(Compression::None, 100).encode();
        self.wire.send(PRODUCE, 7, &produce("good", &records));
        assert_eq!(produce_error("good", &self.wire.receive().unwrap()), 0);
        self.wire.send(FETCH, 4, &fetch("good", self.next, 1 << 20));
        let answer = self.wire.receive().unwrap();
        assert_eq!(fetch_error("good", &answer), 0);
        assert!(answer.len() > 100, "the record is there");
        self.next += 1;
        watch.passed()
    }
}

impl Times {
    fn at(&self, share: f64) -> Duration {
        self.0[((self.0.len() - 1) as f64 * share) as usize]
    }

    fn tell(&self, what: &str) {
        let ms = |share| self.at(share).as_secs_f64() * 1000.0;
        println!("figure: write and read {what}, p50={:.1} ms", ms(0.5));
        println!("figure: write and read {what}, p99={:.1} ms", ms(0.99));
    }
}

/// A process may open as many files as it is allowed to ask for; those that it starts inherit that.
pub(crate) fn raise_file_limit(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum;
    assert!(
        most.is_none_or(|most| most >= needed),
        "raise the hard limit of open files to {needed}: {limit:?}"
    );
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
}

pub(crate) fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

pub(crate) fn tell_memory(what: &str, bytes: u64) {
    println!("figure: resident {what}={:.1} MiB", bytes as f64 / f64::from(1 << 20));
}

#[test]
fn idle_connections_cost_little_and_disturb_nobody() {
    let count = number("ANNALS_TEST_IDLE", 300);
    let mut scene = Scene::start(count);
    scene.client.times(BRIEFLY).tell("alone");
    let before = scene.server.resident_bytes();
    let mut idle = scene.greeted(count);
    let beside = scene.client.times(WHILE);
    let after = scene.server.resident_bytes();
    println!("figure: idle connections={count}");
    tell_memory("before", before);
    tell_memory("with them", after);
    beside.tell("beside them");
    let limit = before + IDLE_BYTES_MAX * count as u64 + (16 << 20);
    assert!(after < limit, "{} KiB before, {} KiB after", before >> 10, after >> 10);
    assert!(beside.at(0.9) < BESIDE_P90_MAX, "{:?}", beside.at(0.9));
    // All of them are still served.
    for wire in idle.iter_mut().step_by((count / 50).max(1)) {
        wire.send(METADATA, 1, &[0, 0, 0, 1, 0, 4, b'g', b'o', b'o', b'd']);
        assert!(wire.receive().is_some());
    }
}

#[test]
fn stalled_consumers_hold_a_bounded_share_and_disturb_nobody() {
    let count = number("ANNALS_TEST_STALLED", 50);
    let mut scene = Scene::start(count);
    create(scene.server.kafka(), "large", 1, &[]);
    let values = (0..40).map(|_| record("large", 0, vec![7; 900_000]));
    let sent = send_all(&producer(scene.server.kafka(), &[]), values);
    assert!(sent.iter().all(Result::is_ok));
    scene.client.times(BRIEFLY).tell("alone");
    let before = scene.server.resident_bytes();
    let asks = request(FETCH, 4, &fetch("large", 0, STALLED_BYTES)).repeat(STALLED_FETCHES);
    let mut stalled = scene.greeted(count);
    stalled.iter_mut().for_each(|wire| wire.try_send(&asks).unwrap());
    let beside = scene.client.times(WHILE);
    println!("figure: stalled consumers={count}");
    tell_memory("before", before);
    tell_memory("at most", scene.server.resident_bytes_max());
    println!("figure: memory limit={} MiB", MEMORY_MAX >> 20);
    beside.tell("beside them");
    assert!(beside.at(0.9) < BESIDE_P90_MAX, "{:?}", beside.at(0.9));
    drop(stalled);
    assert!(scene.client.times(BRIEFLY).at(0.9) < BESIDE_P90_MAX);
}
