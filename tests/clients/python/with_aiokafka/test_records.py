"""Records, written and read back with aiokafka."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OffsetOutOfRangeError

from clients import consumer, eventually, make_topic, producer, read, read_all, send
from support import COMPRESSIONS, UNICODE, fresh


@pytest.mark.parametrize("acks", [0, 1, "all"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_every_compression_and_acks_reads_back(compression, acks):
    topic = await make_topic()
    values = [f"{i}:{'repetition ' * 20}".encode() for i in range(200)]
    await send(topic, values, compression_type=None if compression == "none" else compression, acks=acks)

    async def complete():
        records = await read_all(topic)
        return len(records) == len(values) and records

    records = await eventually(complete)
    assert [record.value for record in records] == values
    assert [record.offset for record in records] == list(range(200))


async def test_keys_headers_timestamps_and_nulls_are_kept():
    topic = await make_topic(retention_ms="-1")
    headers = [("trace", b"1"), ("trace", b"2"), ("empty", b""), ("ünï", UNICODE.encode())]
    async with producer() as client:
        sent = await client.send_and_wait(topic, b"v", key=b"k", headers=headers, timestamp_ms=1_234_567_890_123)
        assert (sent.topic, sent.partition, sent.offset) == (topic, 0, 0)
        await client.send_and_wait(topic, None, key=b"tombstone")
        await client.send_and_wait(topic, b"", key=None)
    first, tombstone, empty = await read_all(topic)
    assert (first.key, first.value, first.timestamp) == (b"k", b"v", 1_234_567_890_123)
    assert list(first.headers) == headers
    assert (tombstone.key, tombstone.value) == (b"tombstone", None)
    assert (empty.key, empty.value) == (None, b"")


async def test_text_of_every_writing_system_survives():
    topic = await make_topic()
    await send(topic, [UNICODE.encode()])
    assert [record.value.decode() for record in await read_all(topic)] == [UNICODE]


async def test_an_idempotent_producer_keeps_order_for_each_key():
    topic = await make_topic(partitions=4)
    async with producer(enable_idempotence=True, linger_ms=5) as client:
        pending = [await client.send(topic, b"%d" % i, key=b"key-%d" % (i % 97)) for i in range(20_000)]
        await asyncio.gather(*pending)
    last_seen = {}
    records = await read_all(topic, partitions=4)
    for record in records:
        assert int(record.value) > last_seen.get(record.key, -1)
        last_seen[record.key] = int(record.value)
    assert len(records) == 20_000 and len({record.partition for record in records}) == 4


async def test_large_messages_pass_and_too_large_ones_are_refused():
    topic = await make_topic()
    async with producer(max_request_size=10_000_000) as client:
        await client.send_and_wait(topic, b"x" * 950_000)
        with pytest.raises(MessageSizeTooLargeError):
            await client.send_and_wait(topic, b"x" * 2_000_000)
    assert [len(record.value) for record in await read_all(topic)] == [950_000]


async def test_a_compacted_topic_refuses_a_record_without_a_key():
    topic = await make_topic(cleanup_policy="compact")
    async with producer() as client:
        with pytest.raises(KafkaError):
            await client.send_and_wait(topic, b"no key")
        assert (await client.send_and_wait(topic, b"v", key=b"k")).offset == 0


async def test_a_topic_is_made_by_its_first_record():
    topic = fresh("auto")
    await send(topic, [b"first"])
    assert [record.value for record in await read_all(topic)] == [b"first"]


async def numbers():
    """A topic with one partition, and in it the numbers 0 to 99, stamped 1000, 1010, … 1990."""
    topic = await make_topic(retention_ms="-1")
    async with producer(linger_ms=20) as client:
        pending = [await client.send(topic, b"%d" % i, timestamp_ms=1000 + 10 * i) for i in range(100)]
        await asyncio.gather(*pending)
    return TopicPartition(topic, 0)


async def test_seek_leads_to_any_offset():
    partition = await numbers()
    async with consumer() as client:
        client.assign([partition])
        for target in [50, 3, 98]:
            client.seek(partition, target)
            assert [int(record.value) for record in await read(client, 2)] == [target, target + 1]
        await client.seek_to_end(partition)
        assert await client.position(partition) == 100
        await client.seek_to_beginning(partition)
        assert int((await read(client, 1))[0].value) == 0


async def test_a_time_leads_to_the_first_record_at_or_after_it():
    partition = await numbers()
    async with consumer() as client:
        for time_ms, offset in [(0, 0), (1005, 1), (1570, 57), (1990, 99)]:
            assert (await client.offsets_for_times({partition: time_ms}))[partition].offset == offset
        assert (await client.offsets_for_times({partition: 5000}))[partition] is None
        assert await client.beginning_offsets([partition]) == {partition: 0}
        assert await client.end_offsets([partition]) == {partition: 100}


async def test_a_paused_partition_is_silent():
    partition = await numbers()
    async with consumer() as client:
        client.assign([partition])
        await read(client, 1)
        client.pause(partition)
        assert await client.getmany(timeout_ms=1000) == {}
        client.resume(partition)
        assert len(await read(client, 99)) == 99


@pytest.mark.parametrize("reset", ["earliest", "latest", "none"])
async def test_an_offset_out_of_range_is_reset_as_configured(reset):
    partition = await numbers()
    async with consumer(auto_offset_reset=reset) as client:
        client.assign([partition])
        client.seek(partition, 5000)
        if reset == "none":
            with pytest.raises(OffsetOutOfRangeError):
                await client.getone()
            return
        if reset == "latest":
            assert await client.getmany(timeout_ms=2000) == {}
            await send(partition.topic, [b"100"])
        assert int((await read(client, 1))[0].value) == (0 if reset == "earliest" else 100)
