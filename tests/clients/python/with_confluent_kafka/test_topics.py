"""Topics, configurations and what an administrator asks about them."""

import pytest
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from support import eventually, fresh


def error_code(future):
    with pytest.raises(KafkaException) as caught:
        future.result(20)
    return caught.value.args[0].code()


def topic_config(admin, topic):
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return admin.describe_configs([resource])[resource].result(20)


def test_a_topic_is_created_listed_described_and_deleted(admin, make_topic):
    topic = make_topic(partitions=3)
    assert set(admin.list_topics(timeout=20).topics[topic].partitions) == {0, 1, 2}

    described = admin.describe_topics(TopicCollection([topic]))[topic].result(20)
    assert described.name == topic and not described.is_internal
    assert [partition.id for partition in described.partitions] == [0, 1, 2]
    for partition in described.partitions:
        assert partition.leader.id == partition.replicas[0].id == partition.isr[0].id

    admin.delete_topics([topic])[topic].result(20)
    eventually(lambda: topic not in admin.list_topics(timeout=20).topics)


def test_a_topic_cannot_be_created_twice(admin, make_topic):
    topic = make_topic()
    future = admin.create_topics([NewTopic(topic, 1, 1)])[topic]
    assert error_code(future) == KafkaError.TOPIC_ALREADY_EXISTS


@pytest.mark.parametrize("name", ["has space", "sl/ash", ".", "..", "x" * 250])
def test_an_illegal_topic_name_is_refused(admin, name):
    assert error_code(admin.create_topics([NewTopic(name, 1, 1)])[name]) == KafkaError.TOPIC_EXCEPTION


def test_impossible_topics_are_refused(admin):
    name = fresh()
    no_partitions = admin.create_topics([NewTopic(name, 0, 1)])[name]
    assert error_code(no_partitions) == KafkaError.INVALID_PARTITIONS
    unknown_config = admin.create_topics([NewTopic(name, 1, 1, config={"no.such.config": "1"})])[name]
    assert error_code(unknown_config) == KafkaError.INVALID_CONFIG
    bad_value = admin.create_topics([NewTopic(name, 1, 1, config={"retention.ms": "soon"})])[name]
    assert error_code(bad_value) == KafkaError.INVALID_CONFIG


def test_a_topic_that_is_only_validated_is_not_created(admin):
    name = fresh()
    admin.create_topics([NewTopic(name, 1, 1)], validate_only=True)[name].result(20)
    assert name not in admin.list_topics(timeout=20).topics


def test_deleting_an_unknown_topic_is_refused(admin):
    name = fresh()
    assert error_code(admin.delete_topics([name])[name]) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_configs_given_at_creation_are_described(admin, make_topic):
    topic = make_topic(retention_ms="86400000", cleanup_policy="compact,delete")
    config = topic_config(admin, topic)
    assert config["retention.ms"].value == "86400000" and not config["retention.ms"].is_default
    assert set(config["cleanup.policy"].value.split(",")) == {"compact", "delete"}
    assert config["max.message.bytes"].is_default and int(config["max.message.bytes"].value) > 1_000_000


def test_configs_are_altered_one_by_one(admin, make_topic):
    topic = make_topic(retention_ms="86400000", max_message_bytes="2000000")
    resource = ConfigResource(
        ResourceType.TOPIC,
        topic,
        incremental_configs=[
            ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
            ConfigEntry("retention.bytes", "5000000", incremental_operation=AlterConfigOpType.SET),
            ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND),
        ],
    )
    admin.incremental_alter_configs([resource])[resource].result(20)
    config = topic_config(admin, topic)
    assert config["retention.ms"].is_default
    assert config["retention.bytes"].value == "5000000"
    assert config["max.message.bytes"].value == "2000000", "what was not named stays"
    assert set(config["cleanup.policy"].value.split(",")) == {"compact", "delete"}


def test_an_illegal_config_is_refused_and_changes_nothing(admin, make_topic):
    topic = make_topic()
    entry = ConfigEntry("cleanup.policy", "shred", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    assert error_code(admin.incremental_alter_configs([resource])[resource]) == KafkaError.INVALID_CONFIG
    assert topic_config(admin, topic)["cleanup.policy"].value == "delete"


def test_broker_configs_are_described(admin):
    node = admin.describe_cluster().result(20).nodes[0]
    resource = ConfigResource(ResourceType.BROKER, str(node.id))
    assert len(admin.describe_configs([resource])[resource].result(20)) > 0


def test_the_cluster_describes_itself(admin):
    cluster = admin.describe_cluster().result(20)
    assert cluster.cluster_id and len(cluster.nodes) == 1
    assert cluster.controller.id == cluster.nodes[0].id


def test_partitions_are_added_and_never_removed(admin, make_topic):
    topic = make_topic(partitions=2)
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(20)
    eventually(lambda: len(admin.list_topics(timeout=20).topics[topic].partitions) == 5)
    fewer = admin.create_partitions([NewPartitions(topic, 3)])[topic]
    assert error_code(fewer) == KafkaError.INVALID_PARTITIONS


def test_deleted_records_are_gone_and_the_rest_stays(admin, make_topic, make_producer, make_consumer, read_all):
    topic = make_topic()
    make_producer().send(topic, [f"v{i}" for i in range(20)])
    partition = TopicPartition(topic, 0, 12)
    deleted = list(admin.delete_records([partition]).values())[0].result(20)
    assert deleted.low_watermark == 12
    assert make_consumer().get_watermark_offsets(TopicPartition(topic, 0), timeout=20) == (12, 20)
    assert [message.value() for message in read_all(topic)] == [b"v%d" % i for i in range(12, 20)]


def test_deleting_records_beyond_the_end_is_refused(admin, make_topic, make_producer):
    topic = make_topic()
    make_producer().send(topic, ["only"])
    future = list(admin.delete_records([TopicPartition(topic, 0, 99)]).values())[0]
    assert error_code(future) == KafkaError.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize(
    "spec, offset, timestamp",
    [
        (OffsetSpec.earliest(), 0, -1),
        (OffsetSpec.latest(), 4, -1),
        (OffsetSpec.max_timestamp(), 2, 5000),
        (OffsetSpec.for_timestamp(1500), 1, 2000),
        (OffsetSpec.for_timestamp(2000), 1, 2000),
        (OffsetSpec.for_timestamp(9000), -1, -1),
    ],
    ids=["earliest", "latest", "max-timestamp", "between", "exact", "after-the-last"],
)
def test_offsets_are_listed_by_kind_and_time(admin, make_topic, make_producer, spec, offset, timestamp):
    topic = make_topic(retention_ms="-1")
    sender = make_producer()
    for timestamp_ms in [1000, 2000, 5000, 3000]:
        sender.send(topic, ["v"], timestamp=timestamp_ms)
    partition = TopicPartition(topic, 0)
    listed = admin.list_offsets({partition: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED)
    answer = listed[partition].result(20)
    assert (answer.offset, answer.timestamp) == (offset, timestamp)
