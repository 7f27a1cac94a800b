"""Consumer groups with aiokafka."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.structs import OffsetAndMetadata

from clients import admin, consumer, eventually, make_topic, read, send
from support import fresh

ASSIGNORS = [RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor]


async def settle(consumers, partitions):
    """Waits until `consumers` share all `partitions` among them, each with at least one."""

    async def settled():
        await asyncio.gather(*(client.getmany(timeout_ms=50) for client in consumers))
        shares = [{partition.partition for partition in client.assignment()} for client in consumers]
        return all(shares) and sorted(sum(map(sorted, shares), [])) == list(range(partitions)) and shares

    return await eventually(settled)


@pytest.mark.parametrize("assignor", ASSIGNORS, ids=lambda assignor: assignor.name)
async def test_members_share_the_partitions_and_take_over_what_is_left(assignor):
    topic, group = await make_topic(partitions=4), fresh("group")
    settings = {
        "group_id": group,
        "partition_assignment_strategy": [assignor],
        "heartbeat_interval_ms": 300,
        "metadata_max_age_ms": 1000,
    }
    async with consumer(topic, **settings) as first:
        await settle([first], 4)
        async with consumer(topic, **settings) as second:
            assert [len(share) for share in await settle([first, second], 4)] == [2, 2]
        await settle([first], 4)


async def test_a_static_member_comes_back_to_its_partitions():
    topic, group = await make_topic(partitions=4), fresh("group")
    settings = {"group_id": group, "heartbeat_interval_ms": 300, "session_timeout_ms": 30_000}
    async with AsyncExitStack() as stack:
        stays = await stack.enter_async_context(consumer(topic, group_instance_id="stays", **settings))
        async with consumer(topic, group_instance_id="leaves", **settings) as leaves:
            kept, share = await settle([stays, leaves], 4)
        async with consumer(topic, group_instance_id="leaves", **settings) as returns:
            assert await settle([stays, returns], 4) == [kept, share]


async def test_a_restarted_consumer_goes_on_where_it_committed():
    topic, group = await make_topic(), fresh("group")
    await send(topic, [b"%d" % i for i in range(10)])
    async with consumer(topic, group_id=group, enable_auto_commit=False) as first:
        await read(first, 4)
        await first.commit()
        await read(first, 2)
    async with consumer(topic, group_id=group, enable_auto_commit=False) as second:
        assert [record.value for record in await read(second, 6)] == [b"%d" % i for i in range(4, 10)]


async def test_offsets_and_metadata_are_committed_and_listed():
    topic, group = await make_topic(partitions=2), fresh("group")
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    async with consumer(group_id=group, enable_auto_commit=False) as client:
        client.assign([first, second])
        await client.commit({first: (3, "note: ünï"), second: 7})
        assert await client.committed(first) == 3
    async with admin() as client:
        offsets = await client.list_consumer_group_offsets(group)
    assert offsets == {first: OffsetAndMetadata(3, "note: ünï"), second: OffsetAndMetadata(7, "")}


async def test_groups_are_listed_and_described():
    topic, group = await make_topic(), fresh("group")
    async with consumer(topic, group_id=group, client_id="who-i-am") as member, admin() as client:
        await settle([member], 1)
        assert group in [name for name, *_ in await client.list_consumer_groups()]
        (answer,) = await client.describe_consumer_groups([group])
        code, name, state, kind, _, members, *_ = answer.groups[0]
        assert (code, name, state, kind) == (0, group, "Stable", "consumer")
        assert [entry[1] for entry in members] == ["who-i-am"]
