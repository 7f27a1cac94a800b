"""Topics and configurations, as aiokafka's administrator sees them."""

from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from clients import admin, eventually, make_topic, read_all, send
from support import fresh

TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS, UNKNOWN_TOPIC = 36, 37, 3


async def topic_config(client, topic):
    (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    ((code, _, _, name, entries),) = answer.resources
    assert (code, name) == (0, topic)
    return {entry[0]: entry[1] for entry in entries}


async def test_a_topic_is_created_listed_described_and_deleted():
    topic = await make_topic(partitions=3)
    async with admin() as client:
        assert topic in await client.list_topics()
        (described,) = await client.describe_topics([topic])
        assert sorted(partition["partition"] for partition in described["partitions"]) == [0, 1, 2]
        await client.delete_topics([topic])

        async def gone():
            return topic not in await client.list_topics()

        await eventually(gone)


async def test_impossible_topics_are_refused():
    topic = await make_topic()
    async with admin() as client:
        answer = await client.create_topics([NewTopic(topic, 1, 1)])
        assert answer.topic_errors[0][1] == TOPIC_ALREADY_EXISTS
        answer = await client.create_topics([NewTopic(fresh(), 0, 1)])
        assert answer.topic_errors[0][1] == INVALID_PARTITIONS
        answer = await client.delete_topics([fresh()])
        assert answer.topic_error_codes[0][1] == UNKNOWN_TOPIC


async def test_configs_are_described_and_altered():
    topic = await make_topic(retention_ms="86400000", cleanup_policy="compact")
    async with admin() as client:
        config = await topic_config(client, topic)
        assert (config["retention.ms"], config["cleanup.policy"]) == ("86400000", "compact")
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "3600000"})
        await client.alter_configs([resource])
        config = await topic_config(client, topic)
        assert config["retention.ms"] == "3600000"
        assert config["cleanup.policy"] == "delete", "the older call replaces all that was set"


async def test_partitions_are_added():
    topic = await make_topic()
    async with admin() as client:
        answer = await client.create_partitions({topic: NewPartitions(4)})
        assert answer.topic_errors[0][1] == 0

        async def added():
            (described,) = await client.describe_topics([topic])
            return len(described["partitions"]) == 4

        await eventually(added)


async def test_deleted_records_are_gone_and_the_rest_stays():
    topic = await make_topic()
    await send(topic, [b"%d" % i for i in range(10)])
    partition = TopicPartition(topic, 0)
    async with admin() as client:
        assert await client.delete_records({partition: RecordsToDelete(before_offset=7)}) == {partition: 7}
    assert [record.value for record in await read_all(topic)] == [b"7", b"8", b"9"]


async def test_the_cluster_describes_itself():
    async with admin() as client:
        cluster = await client.describe_cluster()
        assert len(cluster["brokers"]) == 1
