"""aiokafka clients that close themselves, and topics with fresh names."""

import asyncio
import time
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from support import broker, fresh


@asynccontextmanager
async def running(client):
    await client.start()
    try:
        yield client
    finally:
        await (client.close if isinstance(client, AIOKafkaAdminClient) else client.stop)()


def admin():
    return running(AIOKafkaAdminClient(bootstrap_servers=broker()))


def producer(**config):
    return running(AIOKafkaProducer(bootstrap_servers=broker(), **config))


def consumer(*topics, **config):
    settings = {"auto_offset_reset": "earliest", **config}
    return running(AIOKafkaConsumer(*topics, bootstrap_servers=broker(), **settings))


async def make_topic(partitions=1, **config):
    """Creates a topic with a fresh name and returns the name."""
    name = fresh()
    configs = {key.replace("_", "."): value for key, value in config.items()}
    async with admin() as client:
        answer = await client.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    assert [error for _, error, *_ in answer.topic_errors] == [0], answer
    return name


async def send(topic, values, **config):
    """Sends `values` and waits for every acknowledgement."""
    async with producer(linger_ms=5, **config) as client:
        pending = [await client.send(topic, value) for value in values]
        return await asyncio.gather(*pending)


async def read(client, count, within_s=30.0):
    """Reads `count` records; fails if they do not come."""
    records = []
    while len(records) < count:
        batches = await client.getmany(timeout_ms=int(within_s * 1000), max_records=count - len(records))
        assert batches, f"{len(records)} of {count} records within {within_s} s"
        records.extend(record for batch in batches.values() for record in batch)
    return records


async def read_all(topic, partitions=1):
    """Reads every record of a topic's partitions, from the beginning to the end as it is now."""
    async with consumer() as client:
        assigned = [TopicPartition(topic, partition) for partition in range(partitions)]
        client.assign(assigned)
        starts, ends = await client.beginning_offsets(assigned), await client.end_offsets(assigned)
        await client.seek_to_beginning(*assigned)
        return await read(client, sum(ends[partition] - starts[partition] for partition in assigned))


async def eventually(check, within_s=30.0):
    """Awaits `check()` until it returns something true, and returns that."""
    deadline = time.monotonic() + within_s
    while True:
        result = await check()
        if result:
            return result
        assert time.monotonic() < deadline, f"still {result!r} after {within_s} s"
        await asyncio.sleep(0.05)
