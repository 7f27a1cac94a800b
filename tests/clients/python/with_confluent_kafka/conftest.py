"""Clients and topics for the confluent-kafka suite. Everything opened here is closed after the test."""

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from reading import poll
from support import broker, fresh


@pytest.fixture(scope="session")
def admin():
    return AdminClient({"bootstrap.servers": broker()})


@pytest.fixture
def make_topic(admin):
    """Creates a topic with a fresh name and returns the name."""

    def make(partitions=1, **config):
        name = fresh()
        settings = {key.replace("_", "."): value for key, value in config.items()}
        admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(20)
        return name

    return make


@pytest.fixture
def make_producer():
    """A producer that fails loudly: `send` waits for every acknowledgement and returns the messages."""
    return Sender


@pytest.fixture
def make_consumer():
    consumers = []

    def make(**config):
        settings = {"bootstrap.servers": broker(), "group.id": fresh("group"), "auto.offset.reset": "earliest"}
        settings.update({key.replace("_", "."): value for key, value in config.items()})
        consumers.append(Consumer(settings))
        return consumers[-1]

    yield make
    for consumer in consumers:
        consumer.close()


class Sender:
    def __init__(self, **config):
        settings = {"bootstrap.servers": broker(), "linger.ms": 5}
        settings.update({key.replace("_", "."): value for key, value in config.items()})
        self.producer = Producer(settings)
        self.delivered = []
        self.errors = []

    def _on_delivery(self, error, message):
        if error is not None:
            self.errors.append(error)
        else:
            self.delivered.append(message)

    def queue(self, topic, value, **arguments):
        """Hands one record to the client without waiting."""
        while True:
            try:
                return self.producer.produce(topic, value, on_delivery=self._on_delivery, **arguments)
            except BufferError:
                self.producer.poll(0.1)

    def flush(self):
        """Waits for every answer."""
        assert self.producer.flush(30) == 0, "some records got no answer"

    def send(self, topic, values, **arguments):
        """Sends `values` and returns the acknowledged messages in the order of acknowledgement."""
        self.delivered.clear()
        for value in values:
            self.queue(topic, value, **arguments)
        self.flush()
        assert self.errors == []
        return list(self.delivered)

    def send_refused(self, topic, value, **arguments):
        """Sends one record that is to be refused and returns the code of the error."""
        self.queue(topic, value, **arguments)
        self.flush()
        assert self.delivered == [] and len(self.errors) == 1
        return self.errors[0].code()


@pytest.fixture
def read_all(make_consumer):
    """Reads every record of a topic's partitions, from the beginning to the end as it is now."""

    def read(topic, partitions=1, **config):
        consumer = make_consumer(enable_auto_commit=False, **config)
        ends = {}
        for partition in range(partitions):
            ends[partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
        consumer.assign([TopicPartition(topic, partition, low) for partition, (low, _) in ends.items()])
        return poll(consumer, sum(high - low for low, high in ends.values()))

    return read
