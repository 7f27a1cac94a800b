//! AMQP clients of the server as a process: what was confirmed survives SIGKILL, crowds and bad lengths cost little.
//!
//! The client here is a bare one that says what a test wants, on a channel of its own: clients that others wrote are in
//! `tests/clients`. `ANNALS_TEST_KILLS=N`, `ANNALS_TEST_SEED=N` and `ANNALS_TEST_IDLE=N` as for the other tests.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clients::Dice;
use crate::full_disk::SmallDisk;
use crate::scale::{number, raise_file_limit, tell_memory};
use crate::server::{Server, Stopping, eventually};

const PATIENCE: Duration = Duration::from_secs(30);
/// Publishes that may wait for their confirms.
const WINDOW: u64 = 50;
const QUEUE: &str = "tasks";
/// Resident memory of a connection with a channel that waits.
const IDLE_BYTES_MAX: u64 = 64 << 10;

/// Class and number of a method.
type Id = (u16, u16);

const OPEN_OK: Id = (20, 11);
const DECLARE_OK: Id = (50, 11);
const CONSUME_OK: Id = (60, 21);
const DELIVER: Id = (60, 60);
const GET_OK: Id = (60, 71);
const GET_EMPTY: Id = (60, 72);
const ACK: Id = (60, 80);
const NACK: Id = (60, 120);
const CLOSE: Id = (10, 50);
const BLOCKED: Id = (10, 60);
const UNBLOCKED: Id = (10, 61);

/// A connection with one channel.
pub(crate) struct Client(TcpStream);

/// A method with what follows its number.
struct Method {
    id: Id,
    fields: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut client = Self(stream);
        client.0.write_all(b"AMQP\0\0\x09\x01")?;
        client.expect((10, 10))?;
        let blocked = [&short("connection.blocked")[..], b"t\x01"].concat();
        let capabilities = [&short("capabilities")[..], b"F", &long(&blocked)].concat();
        let login = [&short("PLAIN")[..], &long(b"\0guest\0guest"), &short("en_US")].concat();
        client.send(0, (10, 11), &[long(&capabilities), login].concat())?;
        client.expect((10, 30))?;
        client.send(0, (10, 31), &[0x07, 0xff, 0, 2, 0, 0, 0, 0])?;
        client.send(0, (10, 40), &[&short("/")[..], &short(""), &[0]].concat())?;
        client.expect((10, 41))?;
        client.send(1, (20, 10), &short(""))?;
        client.expect(OPEN_OK)?;
        Ok(client)
    }

    /// Connects to a server that may just be away.
    fn connect_soon(address: &str) -> Self {
        let mut client = None;
        eventually("a connection", PATIENCE, || {
            client = Self::connect(address).ok();
            client.is_some()
        });
        client.unwrap()
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> io::Result<()> {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&[kind], &channel.to_be_bytes()[..], &size, payload, &[0xce]].concat())
    }

    fn send(&mut self, channel: u16, (class, method): Id, fields: &[u8]) -> io::Result<()> {
        self.frame(1, channel, &[&class.to_be_bytes(), &method.to_be_bytes(), fields].concat())
    }

    fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 7];
        self.0.read_exact(&mut head)?;
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut payload = vec![0; size as usize + 1];
        self.0.read_exact(&mut payload)?;
        assert_eq!(payload.pop(), Some(0xce));
        Ok((head[0], payload))
    }

    fn method(&mut self) -> io::Result<Method> {
        let (kind, payload) = self.read_frame()?;
        assert_eq!(kind, 1, "a method");
        let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
        Ok(Method { id: (number(0), number(2)), fields: payload[4..].to_vec() })
    }

    fn expect(&mut self, id: Id) -> io::Result<Method> {
        let method = self.method()?;
        assert_eq!(method.id, id, "{}", String::from_utf8_lossy(&method.fields));
        Ok(method)
    }

    /// The header and the frames of a body.
    fn body(&mut self) -> io::Result<Vec<u8>> {
        let (_, header) = self.read_frame()?;
        let size = u64::from_be_bytes(header[4..12].try_into().unwrap());
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            body.extend(self.read_frame()?.1);
        }
        Ok(body)
    }

    /// Declares a durable queue; returns how many messages are in it.
    fn declare(&mut self, queue: &str) -> io::Result<u32> {
        self.send(1, (50, 10), &[&[0, 0], &short(queue)[..], &[0b10], &[0; 4]].concat())?;
        let fields = self.expect(DECLARE_OK)?.fields;
        let at = 1 + queue.len();
        Ok(u32::from_be_bytes(fields[at..at + 4].try_into().unwrap()))
    }

    fn ask(&mut self, id: Id, fields: &[u8]) -> io::Result<()> {
        self.send(1, id, fields)?;
        self.expect((id.0, id.1 + 1)).map(drop)
    }

    /// Publishes a persistent message to a queue.
    fn publish(&mut self, queue: &str, body: &[u8]) -> io::Result<()> {
        self.send(1, (60, 40), &[&[0, 0], &short("")[..], &short(queue), &[0]].concat())?;
        let size = (body.len() as u64).to_be_bytes();
        // Nothing but the delivery mode.
        self.frame(2, 1, &[&[0, 60, 0, 0], &size[..], &[0x10, 0, 2]].concat())?;
        body.chunks(100_000).try_for_each(|chunk| self.frame(3, 1, chunk))
    }

    /// Fetches a message: its tag and its body.
    fn get(&mut self, queue: &str) -> io::Result<Option<(u64, Vec<u8>)>> {
        self.send(1, (60, 70), &[&[0, 0], &short(queue)[..], &[0]].concat())?;
        let method = self.method()?;
        if method.id == GET_EMPTY {
            return Ok(None);
        }
        assert_eq!(method.id, GET_OK);
        Ok(Some((tag(&method.fields), self.body()?)))
    }

    fn consume(&mut self, queue: &str, no_ack: bool) -> io::Result<()> {
        let bits = u8::from(no_ack) << 1;
        self.send(1, (60, 20), &[&[0, 0], &short(queue)[..], &short(""), &[bits], &[0; 4]].concat())?;
        self.expect(CONSUME_OK).map(drop)
    }

    /// The code with which the connection is closed.
    fn closed(&mut self) -> io::Result<u16> {
        let fields = self.expect(CLOSE)?.fields;
        Ok(u16::from_be_bytes([fields[0], fields[1]]))
    }
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn tag(fields: &[u8]) -> u64 {
    u64::from_be_bytes(fields[..8].try_into().unwrap())
}

/// What clients were told.
#[derive(Default)]
struct Told {
    next: AtomicU64,
    confirmed: Mutex<BTreeSet<u64>>,
    /// Handed out, and perhaps acknowledged.
    taken: Mutex<BTreeSet<u64>>,
    /// Acknowledged, and told that this is durable.
    done: Mutex<BTreeSet<u64>>,
}

impl Told {
    /// How many were confirmed, and how many are done with.
    fn counts(&self) -> (usize, usize) {
        (self.confirmed.lock().unwrap().len(), self.done.lock().unwrap().len())
    }

    /// Publishes numbers, and notes which are confirmed. No number is published twice.
    fn publish(&self, address: &str, stop: &AtomicBool) -> io::Result<()> {
        let mut client = Client::connect_soon(address);
        client.declare(QUEUE)?;
        client.ask((85, 10), &[0])?;
        let first = self.next.load(Ordering::Relaxed);
        let mut confirmed = first;
        while !stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            client.publish(QUEUE, &number.to_be_bytes())?;
            while number + 1 - confirmed > WINDOW {
                let Method { id, fields } = client.method()?;
                assert_eq!(id, ACK);
                let (until, all) = (first + tag(&fields), fields[8] & 1 == 1);
                let from = if all { confirmed } else { until - 1 };
                self.confirmed.lock().unwrap().extend(from..until);
                confirmed = until;
            }
        }
        Ok(())
    }

    /// Takes messages and acknowledges each in a transaction, whose commit says that it is durable.
    fn consume(&self, address: &str, stop: &AtomicBool) -> io::Result<()> {
        let mut client = Client::connect_soon(address);
        client.declare(QUEUE)?;
        client.ask((90, 10), &[])?;
        while !stop.load(Ordering::Relaxed) {
            let Some((tag, body)) = client.get(QUEUE)? else {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            let number = number_in(&body);
            assert!(
                !self.done.lock().unwrap().contains(&number),
                "{number} came again after it was done with"
            );
            self.taken.lock().unwrap().insert(number);
            client.send(1, ACK, &[&tag.to_be_bytes()[..], &[0]].concat())?;
            client.ask((90, 20), &[])?;
            self.done.lock().unwrap().insert(number);
        }
        Ok(())
    }
}

fn number_in(body: &[u8]) -> u64 {
    u64::from_be_bytes(body.try_into().unwrap())
}

/// Whatever is in the queue now, in order.
fn drain(address: &str) -> Vec<u64> {
    let mut client = Client::connect_soon(address);
    client.declare(QUEUE).unwrap();
    let mut numbers = Vec::new();
    while let Some((_, body)) = client.get(QUEUE).unwrap() {
        numbers.push(number_in(&body));
    }
    numbers
}

fn start(directory: &Path, settings: &[&str]) -> Server {
    Server::start_for_amqp(directory, settings)
}

#[test]
fn what_was_confirmed_is_there_after_kills_and_what_is_done_with_is_not() {
    let (kills, seed) =
        (number("ANNALS_TEST_KILLS", 5), number("ANNALS_TEST_SEED", std::process::id() as usize));
    let directory = tempfile::tempdir().unwrap();
    let mut server = start(directory.path(), &["journal.segment_bytes=1MiB"]);
    let address = server.amqp().to_owned();
    let (told, stop, mut dice) = (Told::default(), AtomicBool::new(false), Dice(seed as u64));
    std::thread::scope(|scope| {
        let (told, stop, address) = (&told, &stop, &address);
        let work = |run: fn(&Told, &str, &AtomicBool) -> io::Result<()>| {
            move || {
                // An error is a kill, and a reason to come back.
                while !stop.load(Ordering::Relaxed) {
                    let _ = run(told, address, stop);
                }
            }
        };
        let _stopping = Stopping(stop);
        scope.spawn(work(Told::publish));
        scope.spawn(work(Told::consume));
        for _ in 0..kills {
            let before = told.counts();
            eventually("the clients get on", Duration::from_secs(60), || {
                let now = told.counts();
                now.0 > before.0 && now.1 > before.1
            });
            std::thread::sleep(Duration::from_millis(200 + dice.below(600)));
            server.kill();
            server.restart();
        }
    });
    server.kill();
    server.restart();
    let left = drain(&address);
    let (confirmed, taken, done) =
        (told.confirmed.lock().unwrap(), told.taken.lock().unwrap(), told.done.lock().unwrap());
    println!("figure: kills={kills}");
    println!("figure: messages confirmed={}", confirmed.len());
    println!("figure: messages done with={}", done.len());
    assert!(!confirmed.is_empty() && !done.is_empty(), "seed {seed}: something happened");
    assert!(left.is_sorted_by(|a, b| a < b), "seed {seed}: in order, none twice: {left:?}");
    let left: BTreeSet<u64> = left.into_iter().collect();
    let again: Vec<_> = left.intersection(&done).collect();
    assert!(again.is_empty(), "seed {seed}: done with and there again: {again:?}");
    let lost: Vec<_> = confirmed.iter().filter(|one| !left.contains(one) && !taken.contains(one)).collect();
    assert!(lost.is_empty(), "seed {seed}: confirmed and lost: {lost:?}");
    // Each kill may have come between a commit and its answer.
    let unknown = taken.iter().filter(|one| !done.contains(one) && !left.contains(one)).count();
    assert!(unknown <= kills + 1, "seed {seed}: {unknown} gone without a word");
}

#[test]
fn publishers_are_told_of_a_full_disk_and_of_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(directory.path()) else { return };
    let server = start(directory.path(), &["journal.segment_bytes=4MiB"]);
    let mut publisher = Client::connect(server.amqp()).unwrap();
    let mut consumer = Client::connect(server.amqp()).unwrap();
    publisher.declare(QUEUE).unwrap();
    publisher.ask((85, 10), &[0]).unwrap();
    let body = vec![7; 100_000];
    let (mut kept, mut waiting) = (0, false);
    loop {
        if !waiting {
            publisher.publish(QUEUE, &body).unwrap();
            waiting = true;
        }
        match publisher.method().unwrap().id {
            ACK => (kept, waiting) = (kept + 1, false),
            NACK => waiting = false,
            other => break assert_eq!(other, BLOCKED),
        }
        assert!(kept < 3000, "300 MB on a disk of 96 MB");
    }
    assert!(kept > 300, "most of the disk was used: {kept} messages");
    // Who takes messages goes on, and makes room.
    let mut taken = 0;
    while let Some((tag, _)) = consumer.get(QUEUE).unwrap() {
        consumer.send(1, ACK, &[&tag.to_be_bytes()[..], &[0]].concat()).unwrap();
        taken += 1;
    }
    assert!(taken == kept || waiting && taken == kept + 1, "{taken} taken of {kept}");
    let mut blocked = true;
    while blocked || waiting {
        match publisher.method().unwrap().id {
            ACK | NACK => waiting = false,
            other => blocked = other != UNBLOCKED,
        }
    }
    publisher.publish(QUEUE, &body).unwrap();
    assert_eq!(publisher.method().unwrap().id, ACK);
}

#[test]
fn idle_amqp_connections_cost_little() {
    let count = number("ANNALS_TEST_IDLE", 300);
    raise_file_limit(count as u64 + 200);
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), &[]);
    let mut worker = Client::connect(server.amqp()).unwrap();
    worker.declare(QUEUE).unwrap();
    let before = server.resident_bytes();
    let mut idle: Vec<_> = (0..count).map(|_| Client::connect(server.amqp()).unwrap()).collect();
    let after = server.resident_bytes();
    println!("figure: idle AMQP connections={count}");
    tell_memory("before", before);
    tell_memory("with them", after);
    assert!(after < before + IDLE_BYTES_MAX * count as u64 + (16 << 20), "{before} before, {after} after");
    worker.publish(QUEUE, b"x").unwrap();
    for client in idle.iter_mut().step_by((count / 20).max(1)) {
        eventually("the message", PATIENCE, || client.declare(QUEUE).unwrap() == 1);
    }
}

#[test]
fn consumers_that_read_nothing_hold_little() {
    let (consumers, messages, size) = (20, 6, 1_000_000);
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), &[]);
    server.limit_memory(512 << 20);
    let mut publisher = Client::connect(server.amqp()).unwrap();
    let body = vec![7; size];
    for consumer in 0..consumers {
        let queue = format!("{QUEUE}-{consumer}");
        publisher.declare(&queue).unwrap();
        (0..messages).for_each(|_| publisher.publish(&queue, &body).unwrap());
    }
    let mut deaf: Vec<Client> = Vec::new();
    for consumer in 0..consumers {
        let mut client = Client::connect(server.amqp()).unwrap();
        client.consume(&format!("{QUEUE}-{consumer}"), consumer % 2 == 0).unwrap();
        deaf.push(client);
    }
    std::thread::sleep(Duration::from_secs(1));
    tell_memory("at most, with deaf consumers", server.resident_bytes_max());
    // The server is alive, within its limit, and serves another.
    let mut other = Client::connect(server.amqp()).unwrap();
    other.declare("other").unwrap();
    other.publish("other", b"x").unwrap();
    eventually("a message", PATIENCE, || other.get("other").unwrap().is_some());
    // One that hears again gets what is its own.
    let client = &mut deaf[0];
    assert_eq!(client.method().unwrap().id, DELIVER);
    assert_eq!(client.body().unwrap().len(), size);
}

#[test]
fn lengths_that_cannot_be_take_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), &[]);
    server.limit_memory(256 << 20);
    let said = |bytes: &[u8]| {
        let mut client = Client::connect(server.amqp()).unwrap();
        client.0.write_all(bytes).unwrap();
        client.closed().unwrap()
    };
    // A frame of two gigabytes; a table, a string and an array that are longer than their frame.
    assert_eq!(said(b"\x01\0\x01\x7f\xff\xff\xff\0\x32\0\x0a"), 501);
    assert_eq!(said(b"\x01\0\x01\0\0\0\x0e\0\x32\0\x0a\0\0\x01q\0\xff\xff\xff\xff\0\xce"), 502);
    assert_eq!(said(b"\x01\0\x01\0\0\0\x08\0\x32\0\x0a\0\0\xffq\xce"), 502);
    let array = b"\x01\0\x01\0\0\0\x15\0\x32\0\x0a\0\0\x01q\0\0\0\0\x08\x01aA\xff\xff\xff\xff\0\xce";
    assert_eq!(said(array), 502);
    // A message that says to be of eighteen exabytes ends the channel, not the connection.
    let mut client = Client::connect(server.amqp()).unwrap();
    client.declare(QUEUE).unwrap();
    client.send(1, (60, 40), &[&[0, 0], &short("")[..], &short(QUEUE), &[0]].concat()).unwrap();
    client.frame(2, 1, &[&[0, 60, 0, 0], &[0xff; 8][..], &[0, 0]].concat()).unwrap();
    let close = client.expect((20, 40)).unwrap();
    assert_eq!(close.fields[..2], 406_u16.to_be_bytes());
}
