"""Writes the golden record batches beside this file, with encoders that are not ours.

    pip install kafka-python==3.0.12 aiokafka==0.14.0 python-snappy lz4 zstandard crc32c
    python make_batches.py

Each file is one batch in hexadecimal. The records are those of `sample()` here and in `tests/golden.rs`. The files
named `bare-snappy` and `control` have their header packed by hand in this script: bare Snappy is the framing that
librdkafka writes, and clients have no encoder for control batches.
"""

import pathlib
import struct

import crc32c
import lz4.frame
import snappy
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as AioBuilder
from kafka.record.default_records import DefaultRecordBatchBuilder

HERE = pathlib.Path(__file__).parent
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def sample():
    for i in range(20):
        key = None if i % 5 == 0 else b"key-%d" % i
        value = None if i % 7 == 3 else b"value-%d;" % i * 8
        headers = [("trace", b"%d" % i), ("trace", None), ("ünï", b"")] if i % 3 == 0 else []
        yield i, 1_700_000_000_000 + i * 10 - (1000 if i == 4 else 0), key, value, headers


def build(builder_class, codec, **producer):
    state = dict(is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1) | producer
    builder = builder_class(magic=2, compression_type=codec, batch_size=1 << 20, **state)
    for offset, timestamp, key, value, headers in sample():
        builder.append(offset, timestamp, key, value, headers)
    return bytes(builder.build())


def with_body(batch, attributes, count, body):
    """`batch` with other attributes, count and records: packed by hand."""
    checked = struct.pack(">hi", attributes, count - 1) + batch[27:57] + struct.pack(">i", count) + body
    length = 4 + 1 + 4 + len(checked)
    return batch[:8] + struct.pack(">iibI", length, -1, 2, crc32c.crc32c(checked)) + checked


def write(name, batch):
    lines = [batch.hex()[at : at + 100] for at in range(0, 2 * len(batch), 100)]
    (HERE / f"{name}.hex").write_text("\n".join(lines) + "\n")


for code, name in enumerate(CODECS):
    write(f"kafka-python-{name}", build(DefaultRecordBatchBuilder, code))
    write(f"aiokafka-{name}", build(AioBuilder, code))

plain = build(DefaultRecordBatchBuilder, 0, producer_id=4711, producer_epoch=3, base_sequence=2**31 - 5)
write("kafka-python-idempotent", plain)
write("bare-snappy", with_body(plain, 2, 20, snappy.compress(plain[61:])))
# What Java's client writes: 64 KiB independent blocks, no checksums, no content size.
java_like = dict(block_size=lz4.frame.BLOCKSIZE_MAX64KB, block_linked=False, store_size=False)
write("independent-lz4", with_body(plain, 3, 20, lz4.frame.compress(plain[61:], **java_like)))
# A commit marker: key is version 0 and type 1, value is version 0 and coordinator epoch 5.
record = bytes([0, 0, 0, 8]) + bytes.fromhex("00000001") + bytes([12]) + bytes.fromhex("000000000005") + bytes([0])
write("control", with_body(plain, 0b110000, 1, bytes([len(record) * 2]) + record))
