"""Clients and topics for the kafka-python suite. Everything opened here is closed after the test."""

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from reading import poll
from support import broker, fresh


@pytest.fixture(scope="session")
def admin():
    client = KafkaAdminClient(bootstrap_servers=broker())
    yield client
    client.close()


@pytest.fixture
def make_topic(admin):
    """Creates a topic with a fresh name and returns the name."""

    def make(partitions=1, **config):
        name = fresh()
        configs = {key.replace("_", "."): value for key, value in config.items()}
        admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1, "configs": configs}})
        return name

    return make


@pytest.fixture
def make_producer():
    producers = []

    def make(**config):
        producers.append(KafkaProducer(bootstrap_servers=broker(), **config))
        return producers[-1]

    yield make
    for producer in producers:
        producer.close(10)


@pytest.fixture
def make_consumer():
    consumers = []

    def make(**config):
        settings = {"auto_offset_reset": "earliest", **config}
        consumers.append(KafkaConsumer(bootstrap_servers=broker(), **settings))
        return consumers[-1]

    yield make
    for consumer in consumers:
        consumer.close()


@pytest.fixture
def read_all(make_consumer):
    """Reads every record of a topic's partitions, from the beginning to the end as it is now."""

    def read(topic, partitions=1, **config):
        consumer = make_consumer(**config)
        assigned = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(assigned)
        starts, ends = consumer.beginning_offsets(assigned), consumer.end_offsets(assigned)
        consumer.seek_to_beginning(*assigned)
        return poll(consumer, sum(ends[partition] - starts[partition] for partition in assigned))

    return read
