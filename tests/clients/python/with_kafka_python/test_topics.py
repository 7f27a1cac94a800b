"""Topics, configurations and records, as kafka-python's administrator sees them."""

import uuid

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    InvalidPartitionsError,
    InvalidTopicError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from support import eventually, fresh


def topic_config(admin, topic, config_filter="all"):
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    described = admin.describe_configs([resource], config_filter=config_filter)["topic"][topic]
    return {name: entry["value"] for name, entry in described.items()}


def test_a_topic_is_created_listed_described_and_deleted(admin, make_topic):
    topic = make_topic(partitions=3)
    assert topic in admin.list_topics()
    (described,) = admin.describe_topics([topic])
    assert described["name"] == topic
    assert sorted(partition["partition_index"] for partition in described["partitions"]) == [0, 1, 2]
    admin.delete_topics([topic])
    eventually(lambda: topic not in admin.list_topics())


def test_a_topic_is_described_by_its_id(admin, make_topic):
    topic = make_topic()
    (by_name,) = admin.describe_topics([topic])
    (by_id,) = admin.describe_topics([uuid.UUID(by_name["topic_id"])])
    assert by_id["name"] == topic


def test_partitions_are_described_page_by_page(admin, make_topic):
    topic = make_topic(partitions=5)
    first = admin.describe_topic_partitions([topic], response_partition_limit=3)
    assert [p["partition_index"] for p in first["topics"][0]["partitions"]] == [0, 1, 2]
    cursor = {key: first["next_cursor"][key] for key in ["topic_name", "partition_index"]}
    rest = admin.describe_topic_partitions([topic], response_partition_limit=3, cursor=cursor)
    assert [p["partition_index"] for p in rest["topics"][0]["partitions"]] == [3, 4]
    assert rest["next_cursor"] is None


def test_impossible_topics_are_refused(admin, make_topic):
    topic = make_topic()
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
    with pytest.raises(InvalidTopicError):
        admin.create_topics({"not a name": {"num_partitions": 1, "replication_factor": 1}})
    with pytest.raises(InvalidPartitionsError):
        admin.create_topics({fresh(): {"num_partitions": 0, "replication_factor": 1}})
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.delete_topics([fresh()])


def test_a_topic_is_created_with_the_brokers_defaults(admin):
    topic = fresh()
    admin.create_topics([topic])
    assert len(admin.describe_topics([topic])[0]["partitions"]) >= 1


def test_configs_are_described_altered_and_reset(admin, make_topic):
    topic = make_topic(retention_ms="86400000")
    assert topic_config(admin, topic)["retention.ms"] == "86400000"
    changes = {"retention.ms": "3600000", "cleanup.policy": ("APPEND", "compact")}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, changes)])
    changed = topic_config(admin, topic, config_filter="modified")
    assert changed["retention.ms"] == "3600000"
    assert set(changed["cleanup.policy"].split(",")) == {"compact", "delete"}
    admin.reset_configs([ConfigResource(ConfigResourceType.TOPIC, topic, ["retention.ms", "cleanup.policy"])])
    after = topic_config(admin, topic)
    assert after["retention.ms"] == "604800000" and after["cleanup.policy"] == "delete"


def test_partitions_are_added_and_never_removed(admin, make_topic):
    topic = make_topic(partitions=1)
    admin.create_partitions({topic: 4})
    eventually(lambda: len(admin.describe_topics([topic])[0]["partitions"]) == 4)
    with pytest.raises(InvalidPartitionsError):
        admin.create_partitions({topic: 2})


def test_deleted_records_are_gone_and_the_rest_stays(admin, make_topic, make_producer, read_all):
    topic = make_topic()
    producer = make_producer()
    for i in range(10):
        producer.send(topic, b"%d" % i)
    producer.flush()
    partition = TopicPartition(topic, 0)
    assert admin.delete_records({partition: 7})[partition]["low_watermark"] == 7
    assert [record.value for record in read_all(topic)] == [b"7", b"8", b"9"]
    with pytest.raises(OffsetOutOfRangeError):
        admin.delete_records({partition: 99})


def test_offsets_are_listed_by_kind_and_time(admin, make_topic, make_producer):
    topic = make_topic(retention_ms="-1")
    producer = make_producer()
    for timestamp_ms in [1000, 2000, 5000, 3000]:
        producer.send(topic, b"v", timestamp_ms=timestamp_ms).get(20)
    partition = TopicPartition(topic, 0)

    def offset(spec):
        return admin.list_partition_offsets({partition: spec})[partition].offset

    assert offset(OffsetSpec.EARLIEST) == 0
    assert offset(OffsetSpec.LATEST) == 4
    assert offset(OffsetSpec.MAX_TIMESTAMP) == 2
    assert offset(1500) == 1


def test_the_broker_names_its_state(admin, make_topic, make_producer):
    topic = make_topic()
    make_producer(enable_idempotence=True).send(topic, b"v").get(20)
    cluster = admin.describe_cluster()
    assert cluster["cluster_id"] and len(cluster["brokers"]) == 1
    partition = TopicPartition(topic, 0)
    (producer,) = admin.describe_producers([partition])[partition].active_producers
    assert producer.producer_id >= 0 and producer.last_sequence == 0
    (logs,) = admin.describe_log_dirs([topic])
    sizes = [
        partition["partition_size"]
        for folder in logs["log_dirs"]
        for described in folder["topics"]
        if described["name"] == topic
        for partition in described["partitions"]
    ]
    assert len(sizes) == 1 and sizes[0] > 0
