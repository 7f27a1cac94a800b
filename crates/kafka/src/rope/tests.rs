use futures_util::future::BoxFuture;

use super::*;
use crate::memory::Memory;

/// A source of one batch of 3000 bytes at offset 5.
#[derive(Debug)]
struct OneBatch(Memory);

fn one_batch() -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i64(5);
    bytes.put_i32(3000 - 12);
    bytes.put_slice(&[9; 3000 - 12]);
    bytes.freeze()
}

impl Source for OneBatch {
    fn read(&self, offset: i64, _: usize) -> BoxFuture<'_, Result<(Vec<Bytes>, Share), Close>> {
        assert_eq!(offset, 5);
        Box::pin(async { Ok((vec![one_batch()], self.0.take(3000).await)) })
    }
}

fn rope(memory: &Memory, records: &[Bytes]) -> Rope {
    let mut builder = RopeBuilder::default();
    builder.buffer().put_slice(b"head ");
    builder.records(records, || Arc::new(OneBatch(memory.clone())));
    builder.buffer().put_slice(b" tail");
    builder.finish()
}

#[test]
fn parts_come_out_in_order_however_they_are_consumed() {
    let mut rope = rope(&Memory::new(4096), &[Bytes::from(vec![b'x'; 3000]), Bytes::from(vec![b'y'; 10])]);
    assert_eq!((rope.parts.len(), rope.remaining(), rope.loaded()), (3, 3020, 3010));
    let mut slices = [IoSlice::new(&[]); 5];
    assert_eq!(rope.chunks_vectored(&mut slices), 4);
    assert_eq!(slices.map(|slice| slice.len()), [5, 3000, 10, 5, 0]);
    assert_eq!(rope.chunks_vectored(&mut [IoSlice::new(&[]); 2]), 2);
    rope.advance(3006);
    let mut slices = [IoSlice::new(&[]); 2];
    assert_eq!(rope.chunks_vectored(&mut slices), 2);
    assert_eq!((slices[0].len(), slices[1].len()), (9, 5));
    assert_eq!(rope.copy_to_bytes(12), "yyyyyyyyy ta");
    assert_eq!(rope.copy_to_bytes(2), "il");
    assert!(!rope.has_remaining() && rope.chunk().is_empty());
}

#[test]
fn records_are_shared_unless_they_are_few() {
    let memory = Memory::new(4096);
    let payload = Bytes::from(vec![1; 3000]);
    let mut large = rope(&memory, std::slice::from_ref(&payload));
    large.advance(5);
    assert_eq!(large.chunk().as_ptr(), payload.as_ptr());
    assert_eq!(rope(&memory, &[Bytes::from_static(b"few")]).parts.len(), 1);
}

#[tokio::test]
async fn records_are_given_back_with_their_memory_and_loaded_again() {
    let memory = Memory::new(4096);
    let mut rope = rope(&memory, &[one_batch()]);
    rope.hold(memory.take(3000).await);
    rope.advance(105);
    rope.give_back(300);
    assert_eq!((rope.remaining(), rope.loaded(), memory.taken_bytes()), (2905, 0, 0));
    {
        let mut slices = [IoSlice::new(&[]); 5];
        assert_eq!(rope.chunks_vectored(&mut slices), 1, "it ends where records lack");
        assert_eq!(slices[0].len(), 300);
    }
    assert!(!rope.lacks_records());
    rope.advance(300);
    assert!(rope.lacks_records());
    rope.load().await.expect("still there");
    assert_eq!((rope.remaining(), rope.loaded(), memory.taken_bytes()), (2605, 2600, 3072));
    assert_eq!(rope.copy_to_bytes(2605)[2598..], *b"\x09\x09 tail");
    drop(rope);
    assert_eq!(memory.taken_bytes(), 0);
}
