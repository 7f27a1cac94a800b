use std::sync::Mutex;

use bytes::BufMut;
use futures_util::FutureExt;

use super::*;
use crate::memory::Memory;

/// A batch of `count` records from `base_offset` on that is `size` bytes long. Its checksum is made up.
fn batch(base_offset: i64, count: i32, size: usize, crc: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_i64(base_offset);
    bytes.put_i32(size as i32 - 12);
    bytes.put_i32(0);
    bytes.put_u8(2);
    bytes.put_u32(crc);
    bytes.put_i16(0);
    bytes.put_i32(count - 1);
    bytes.extend((bytes.len()..size).map(|at| (at as i64 * 7 + base_offset) as u8));
    bytes
}

/// A partition of batches.
#[derive(Debug)]
struct Partition {
    batches: Mutex<Vec<(i64, Vec<u8>)>>,
    memory: Memory,
    cut: usize,
}

impl Partition {
    fn new(sizes: &[usize], cut: usize) -> Arc<Self> {
        let batches =
            (0..).zip(sizes).map(|(n, &size)| (n * 10, batch(n * 10, 10, size, n as u32))).collect();
        Arc::new(Self { batches: Mutex::new(batches), memory: Memory::new(1 << 30), cut })
    }

    fn all(&self) -> Vec<u8> {
        self.batches.lock().expect("whole").iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    /// All of it, cut into pieces that begin and end anywhere.
    fn records(self: &Arc<Self>) -> Records {
        Records::new(Arc::clone(self) as Arc<dyn Source>, self.cut(&self.all()))
    }

    fn cut(&self, bytes: &[u8]) -> Vec<Bytes> {
        bytes.chunks(self.cut).map(Bytes::copy_from_slice).collect()
    }
}

impl Source for Partition {
    fn read(&self, offset: i64, bytes_max: usize) -> BoxFuture<'_, Result<(Vec<Bytes>, Share), Close>> {
        let mut found = Vec::new();
        for (_, bytes) in self.batches.lock().expect("whole").iter().filter(|(base, _)| base + 9 >= offset) {
            if !found.is_empty() && found.len() + bytes.len() > bytes_max {
                break;
            }
            found.extend_from_slice(bytes);
        }
        async move { Ok((self.cut(&found), self.memory.take(found.len()).await)) }.boxed()
    }
}

fn consume(records: &mut Records, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let part = records.chunk().len().min(count - bytes.len());
        bytes.extend_from_slice(&records.chunk()[..part]);
        records.advance(part);
    }
    bytes
}

async fn load(records: &mut Records) -> Option<Records> {
    records.load().await.expect("still there").1
}

#[tokio::test]
async fn what_was_given_back_anywhere_goes_on_there() {
    for cut in [1, 13, 100, 10_000] {
        let partition = Partition::new(&[200, 61, 300, 150], cut);
        let all = partition.all();
        for at in 0..all.len() {
            for keep in [0, 1, 50, 250] {
                let mut records = partition.records();
                let mut out = consume(&mut records, at);
                if let Some(kept) = records.give_back(keep) {
                    assert!(records.is_given_back() && records.chunk().is_empty() && kept.len() == keep);
                    out.extend_from_slice(&kept);
                    assert!(load(&mut records).await.is_none());
                }
                let left = records.left();
                out.extend(consume(&mut records, left));
                assert!(out == all, "cut {cut}, at {at}, kept {keep}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_kept_ends_with_a_batch_and_can_be_given_back_later() {
    for cut in [1, 13, 100, 10_000] {
        let partition = Partition::new(&[200, 61, 300, 150], cut);
        let all = partition.all();
        for (at, keep) in (0..all.len()).flat_map(|at| [(at, 1), (at, 50), (at, 250)]) {
            let mut records = partition.records();
            let mut out = consume(&mut records, at);
            let rest = records.split_after(keep);
            let ends = [200, 261, 561, 711];
            let end = if rest.is_some() { ends.into_iter().find(|end| at + keep <= *end) } else { None };
            assert_eq!(at + records.left(), end.unwrap_or(all.len()), "at {at}, kept {keep}");
            let given_back = at % 2 == 0 && records.give_back(0).is_some();
            if given_back {
                assert!(load(&mut records).await.is_none());
            }
            let left = records.left();
            out.extend(consume(&mut records, left));
            if let Some(mut rest) = rest {
                assert!(rest.is_given_back());
                assert!(load(&mut rest).await.is_none());
                let left = rest.left();
                out.extend(consume(&mut rest, left));
            }
            assert!(out == all, "cut {cut}, at {at}, kept {keep}");
        }
    }
}

#[tokio::test]
async fn much_is_read_again_in_slices() {
    let partition = Partition::new(&[700_000, 600_000, 300_000, 2_000_000, 100], 1 << 20);
    let all = partition.all();
    let mut records = partition.records();
    let mut out = consume(&mut records, 650_000);
    assert_eq!(records.give_back(0).as_deref(), Some(&[][..]));
    let mut slices = Vec::new();
    loop {
        let rest = load(&mut records).await;
        slices.push(records.left());
        let left = records.left();
        out.extend(consume(&mut records, left));
        match rest {
            Some(rest) => records = rest,
            None => break,
        }
    }
    assert_eq!(slices, [50_000, 900_000, 2_000_000, 100]);
    assert!(out == all);
}

#[tokio::test]
async fn records_that_are_gone_or_changed_end_the_answer() {
    let gone = |change: fn(&mut Vec<(i64, Vec<u8>)>)| async move {
        let partition = Partition::new(&[200, 300, 400], 64);
        let mut records = partition.records();
        records.advance(250);
        records.give_back(0);
        change(&mut partition.batches.lock().expect("whole"));
        matches!(records.load().await, Err(Close::RecordsGone { offset: 10 }))
    };
    assert!(!gone(|_| ()).await);
    assert!(!gone(|batches| drop(batches.remove(0))).await, "what was sent is not missed");
    assert!(gone(Vec::clear).await);
    assert!(gone(|batches| drop(batches.remove(1))).await);
    assert!(gone(|batches| batches[1].1 = batch(10, 10, 300, 77)).await, "another batch of that size");
    assert!(gone(|batches| batches[1].1 = batch(10, 3, 299, 1)).await);
    assert!(!gone(|batches| drop(batches.remove(2))).await, "it is missed when it is read");
}
