//! What strangers, broken clients and wrong ports send: a clear error or a closed connection, memory as before, and
//! other clients are served meanwhile.

use std::time::Duration;

use annals_topics::batch::{
    Batch, BatchBuilder, BatchOptions, Compression, HEADER_LEN, Marker, NewRecord, Producer,
};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use tempfile::TempDir;

use crate::clients::{self, Dice, PATIENCE, create, producer, read_all, record, send_all};
use crate::server::{Server, eventually};
use crate::wire::{Wire, fetch, produce, produce_error, request};

/// Seconds after which memory that is not in use must be back.
const GIVEN_BACK_WITHIN_S: u32 = 30;
/// How much more memory than before a server may hold after an attack. What asks for gigabytes would show.
const SLACK_BYTES: u64 = 160 << 20;
const METADATA: i16 = 3;
const PRODUCE: i16 = 0;
const FETCH: i16 = 1;

/// A server under attack, with one topic that somebody uses.
struct Target {
    server: Server,
    resident_before: u64,
    _directory: TempDir,
}

impl Target {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(directory.path());
        create(server.kafka(), "good", 1, &[]);
        create(server.kafka(), "latest", 1, &[("cleanup.policy", "compact")]);
        let target = Self { resident_before: 0, server, _directory: directory };
        target.assert_served();
        Self { resident_before: target.server.resident_bytes(), ..target }
    }

    fn wire(&self) -> Wire {
        Wire::connect(self.server.kafka())
    }

    /// Another client goes on working.
    fn assert_served(&self) {
        let before = clients::reader(self.server.kafka(), "good").1[&0].1;
        let producer = producer(self.server.kafka(), &[]);
        let sent = send_all(&producer, (0..20).map(|number| record("good", 0, number.to_string())));
        assert!(sent.iter().all(Result::is_ok), "{sent:?}");
        let read = read_all(self.server.kafka(), "good");
        assert_eq!(read.len() as i64, before + 20);
        assert_eq!(read.last().unwrap().payload(), Some(&b"19"[..]));
    }

    /// What was taken meanwhile is given back. The allocator keeps it for about ten seconds before it does that.
    fn assert_unmoved(&self) {
        self.assert_served();
        let limit = self.resident_before + SLACK_BYTES;
        let is_unmoved = || self.server.resident_bytes() < limit;
        for _ in 0..GIVEN_BACK_WITHIN_S {
            if is_unmoved() {
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        let (before, now) = (self.resident_before >> 20, self.server.resident_bytes() >> 20);
        panic!("{before} MiB before, {now} MiB now");
    }

    /// The error code that producing these bytes is answered with.
    fn refusal(&self, topic: &str, records: &[u8]) -> i16 {
        let mut wire = self.wire();
        wire.send(PRODUCE, 7, &produce(topic, records));
        produce_error(topic, &wire.receive().unwrap())
    }
}

pub(crate) fn batch(compression: Compression, len: usize) -> Batch {
    let mut builder =
        BatchBuilder::new(BatchOptions { codec: compression.into(), ..BatchOptions::default() });
    let value = vec![0; len];
    builder.push(&NewRecord { key: Some(b"key"), value: Some(&value), ..NewRecord::at(0) }).unwrap();
    builder.build().unwrap()
}

/// The batch with these changes and a checksum that fits.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = batch(Compression::None, 100).encode().to_vec();
    change(&mut bytes);
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// CRC-32C bit by bit: what a stranger would write, independent of ours.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn foreign_protocols_and_absurd_lengths_are_closed() {
    let target = Target::start();
    let attacks: [&[u8]; 10] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"AMQP\x00\x00\x09\x01",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x7f\xff\xff\xff",
        b"\x80\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x07\x00\x03\x00\x01\x00\x00\x00",
    ];
    for attack in attacks {
        let mut wire = target.wire();
        wire.try_send(attack).unwrap();
        assert!(wire.is_closed(), "{attack:?}");
    }
    target.assert_unmoved();
}

#[test]
fn unknown_apis_and_versions_are_closed() {
    let target = Target::start();
    for (key, version) in [(0x7fff, 0), (-1, 0), (METADATA, 99), (METADATA, -1), (PRODUCE, 2), (1000, 3)] {
        let mut wire = target.wire();
        wire.send(key, version, &[0; 40]);
        assert!(wire.is_closed(), "{key} {version}");
    }
    target.assert_unmoved();
}

#[test]
fn counts_that_ask_for_gigabytes_are_closed() {
    let target = Target::start();
    let huge = i32::MAX.to_be_bytes();
    // What each API reads before its first array: then the count follows.
    let before: [(i16, i16, usize); 12] = [
        (METADATA, 1, 0),
        (FETCH, 4, 17),
        (2, 1, 4),
        (8, 2, 2 + 4 + 2 + 8),
        (9, 1, 2),
        (11, 0, 2 + 4 + 2 + 2),
        (14, 0, 2 + 4 + 2),
        (15, 0, 0),
        (19, 2, 0),
        (20, 1, 0),
        (32, 1, 0),
        (37, 0, 0),
    ];
    for (key, version, len) in before {
        for _ in 0..20 {
            let mut wire = target.wire();
            wire.send(key, version, &[&vec![0; len][..], &huge, &[0; 64]].concat());
            assert!(wire.is_closed(), "{key}");
        }
    }
    // A count in a varint, of a version with tagged fields.
    let mut wire = target.wire();
    wire.try_send(b"\0\0\0\x13\0\x03\0\x09\0\0\0\x07\xff\xff\0\xff\xff\xff\xff\x07\x01\0\0").unwrap();
    assert!(wire.is_closed());
    target.assert_unmoved();
}

#[test]
fn counts_that_nearly_fit_take_no_more_than_their_share() {
    let target = Target::start();
    // Eight million empty names in a request of 16 MB: legal lengths, absurd content.
    let body = [&8_000_000_i32.to_be_bytes()[..], &vec![0; 16_000_000]].concat();
    for _ in 0..4 {
        let mut wire = target.wire();
        // Refused while it is sent, perhaps.
        let _ = wire.try_send(&request(METADATA, 1, &body));
        wire.receive();
    }
    target.assert_served();
    let resident = target.server.resident_bytes();
    assert!(resident < target.resident_before + 3 * SLACK_BYTES, "{} MiB", resident >> 20);
}

#[test]
fn bad_batches_are_refused_by_name() {
    let target = Target::start();
    let good = batch(Compression::None, 100).encode().to_vec();
    assert_eq!(target.refusal("good", &good), 0);
    let corrupt = RDKafkaErrorCode::InvalidMessage as i32 as i16;
    assert_eq!(corrupt, 2);
    let invalid_record = 87;
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(target.refusal("good", &flipped), corrupt);
    assert_eq!(target.refusal("good", &good[..good.len() - 1]), corrupt);
    assert_eq!(target.refusal("good", &good[..HEADER_LEN - 1]), corrupt);
    // The length field is not covered by the checksum.
    let mut long = good.clone();
    long[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(target.refusal("good", &long), RDKafkaErrorCode::MessageSizeTooLarge as i32 as i16);
    for magic in [0, 1] {
        assert_eq!(target.refusal("good", &forged(|bytes| bytes[16] = magic)), 43, "magic {magic}");
    }
    assert_ne!(target.refusal("good", &forged(|bytes| bytes[16] = 9)), 0);
    let control = Batch::marker(0, Producer { id: 1, epoch: 0, base_sequence: -1 }, Marker::Commit, 0, 0);
    assert_eq!(target.refusal("good", &control.unwrap().encode()), invalid_record);
    assert_eq!(target.refusal("good", &forged(|bytes| bytes[22] |= 0x20)), invalid_record);
    let count = |count: i32| forged(|bytes| bytes[57..61].copy_from_slice(&count.to_be_bytes()));
    for wrong in [-1, 0, 2, i32::MAX] {
        assert_eq!(target.refusal("good", &count(wrong)), invalid_record, "{wrong} records");
    }
    assert_eq!(target.refusal("latest", &forged(|bytes| bytes[22] |= 7)), 76);
    target.assert_unmoved();
}

#[test]
fn decompression_bombs_do_not_go_off() {
    let target = Target::start();
    // A compacted topic looks at keys, so it has to expand what comes.
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Lz4, Compression::Snappy] {
        let bomb = batch(compression, 400 << 20).encode();
        for _ in 0..3 {
            let code = target.refusal("latest", &bomb);
            assert_ne!(code, 0, "{compression} of {} bytes", bomb.len());
        }
    }
    target.assert_unmoved();
}

#[test]
fn random_bytes_disturb_nobody() {
    let target = Target::start();
    let mut dice = Dice(42);
    for round in 0..600 {
        let mut wire = target.wire();
        let len = dice.below(300) as usize;
        let noise = dice.bytes(len);
        let sent = match round % 3 {
            // A frame of the right length around nonsense.
            0 => [&(len as i32).to_be_bytes()[..], &noise].concat(),
            // A known API in a random version around it.
            1 => request(dice.below(70) as i16, dice.below(14) as i16, &noise),
            _ => noise,
        };
        let _ = wire.try_send(&sent);
    }
    target.assert_unmoved();
}

#[test]
fn flipped_bits_in_good_requests_disturb_nobody() {
    let target = Target::start();
    let mut dice = Dice(43);
    let records = batch(Compression::Zstd, 1000).encode();
    let good = [
        request(PRODUCE, 7, &produce("latest", &records)),
        request(FETCH, 4, &fetch("latest", 0, 1 << 20)),
        request(METADATA, 1, &[0, 0, 0, 1, 0, 4, b'g', b'o', b'o', b'd']),
    ];
    for round in 0..600 {
        let mut bytes = good[round % good.len()].clone();
        for _ in 0..=dice.below(3) {
            // Not in the length: the server would wait for the rest.
            let bit = 32 + dice.below(bytes.len() as u64 * 8 - 32) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let mut wire = target.wire();
        let _ = wire.try_send(&bytes);
    }
    target.assert_unmoved();
}

#[test]
fn those_who_dribble_and_stall_keep_nobody_waiting() {
    let target = Target::start();
    let whole = request(METADATA, 1, &[0xff; 4]);
    let mut slow: Vec<Wire> = (0..300).map(|_| target.wire()).collect();
    for byte in &whole[..whole.len() - 1] {
        for wire in &mut slow {
            wire.try_send(&[*byte]).unwrap();
        }
    }
    // And some who announce as much as is allowed, and send nothing of it.
    let mut greedy: Vec<Wire> = (0..20).map(|_| target.wire()).collect();
    for wire in &mut greedy {
        wire.try_send(&(16_i32 << 20).to_be_bytes()).unwrap();
    }
    let resident = target.server.resident_bytes();
    assert!(resident < target.resident_before + SLACK_BYTES, "{} MiB", resident >> 20);
    drop(greedy);
    target.assert_served();
    // Before they are closed for taking too long.
    for wire in &mut slow {
        wire.try_send(&whole[whole.len() - 1..]).unwrap();
        assert!(wire.receive().is_some(), "whoever comes to the end is answered");
    }
    target.assert_unmoved();
}

#[test]
fn those_who_never_read_take_a_bounded_share() {
    let target = Target::start();
    let values = (0..40).map(|_| record("good", 0, vec![7; 900_000]));
    let sent = send_all(&producer(target.server.kafka(), &[]), values);
    assert!(sent.iter().all(Result::is_ok));
    let before = target.server.resident_bytes();
    let deaf: Vec<Wire> = (0..12)
        .map(|_| {
            let mut wire = target.wire();
            wire.write_timeout(Duration::from_millis(200));
            let asks = request(FETCH, 4, &fetch("good", 0, 30 << 20)).repeat(200);
            let _ = wire.try_send(&asks);
            wire
        })
        .collect();
    std::thread::sleep(Duration::from_secs(2));
    let resident = target.server.resident_bytes();
    assert!(resident < before + 2 * SLACK_BYTES, "{} MiB, then {} MiB", before >> 20, resident >> 20);
    target.assert_served();
    drop(deaf);
    target.assert_served();
}

#[test]
fn hundreds_of_connections_that_come_and_go_leave_nothing() {
    let target = Target::start();
    for _ in 0..5 {
        let wires: Vec<Wire> = (0..400).map(|_| target.wire()).collect();
        drop(wires);
    }
    let open = || {
        let metrics = target.server.get("/metrics");
        let line =
            metrics.lines().find(|line| line.starts_with("annals_connections") && !line.contains("total"));
        line.and_then(|line| line.split_whitespace().last()).map(str::to_owned)
    };
    assert!(open().is_some(), "{}", target.server.get("/metrics"));
    eventually("the connections are gone", PATIENCE, || open().is_some_and(|open| open == "0"));
    target.assert_unmoved();
}
