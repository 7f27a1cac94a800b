"""Reading from every place of a partition."""

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, TopicPartition

from reading import poll
from support import eventually, fresh


@pytest.fixture
def numbers(make_topic, make_producer):
    """A topic with one partition, and in it the numbers 0 to 99 in few batches, stamped 1000, 1010, … 1990."""
    topic = make_topic(retention_ms="-1")
    sender = make_producer(linger_ms=50)
    for i in range(100):
        sender.queue(topic, str(i), timestamp=1000 + 10 * i)
    sender.flush()
    assert sender.errors == []
    return topic


def values(messages):
    return [int(message.value()) for message in messages]


@pytest.mark.parametrize("start, first", [(OFFSET_BEGINNING, 0), (0, 0), (1, 1), (57, 57), (99, 99)])
def test_reading_starts_where_it_is_told(numbers, make_consumer, start, first):
    consumer = make_consumer()
    consumer.assign([TopicPartition(numbers, 0, start)])
    assert values(poll(consumer, 100 - first)) == list(range(first, 100))


def test_reading_from_the_end_sees_only_what_comes_later(numbers, make_consumer, make_producer):
    consumer = make_consumer(enable_partition_eof=True)
    consumer.assign([TopicPartition(numbers, 0, OFFSET_END)])
    end = eventually(lambda: consumer.poll(1))
    assert end.error().code() == KafkaError._PARTITION_EOF and end.offset() == 100
    make_producer().send(numbers, ["100"])
    assert values(poll(consumer, 1)) == [100]


@pytest.mark.parametrize("time_ms, offset", [(0, 0), (1000, 0), (1005, 1), (1570, 57), (1990, 99)])
def test_a_time_leads_to_the_first_record_at_or_after_it(numbers, make_consumer, time_ms, offset):
    consumer = make_consumer()
    (found,) = consumer.offsets_for_times([TopicPartition(numbers, 0, time_ms)], timeout=20)
    assert found.offset == offset


def test_a_time_after_the_last_record_leads_to_the_end(numbers, make_consumer):
    (found,) = make_consumer().offsets_for_times([TopicPartition(numbers, 0, 5000)], timeout=20)
    assert found.offset in (OFFSET_END, 100)


def test_seek_goes_back_and_forth(numbers, make_consumer):
    consumer = make_consumer()
    consumer.assign([TopicPartition(numbers, 0, 0)])
    assert values(poll(consumer, 10)) == list(range(10))
    for target in [50, 3, 98]:
        consumer.seek(TopicPartition(numbers, 0, target))
        assert values(poll(consumer, 1)) == [target]


def test_a_paused_partition_is_silent_and_the_other_goes_on(make_topic, make_producer, make_consumer):
    topic = make_topic(partitions=2)
    consumer = make_consumer()
    partitions = [TopicPartition(topic, 0, 0), TopicPartition(topic, 1, 0)]
    consumer.assign(partitions)
    consumer.pause(partitions[:1])
    sender = make_producer()
    sender.send(topic, ["paused"], partition=0)
    sender.send(topic, ["flows"], partition=1)
    assert [message.value() for message in poll(consumer, 1)] == [b"flows"]
    assert consumer.poll(1) is None
    consumer.resume(partitions[:1])
    assert [message.value() for message in poll(consumer, 1)] == [b"paused"]


def test_watermarks_frame_the_partition(numbers, make_consumer):
    assert make_consumer().get_watermark_offsets(TopicPartition(numbers, 0), timeout=20) == (0, 100)


@pytest.mark.parametrize("reset, expected", [("earliest", 0), ("latest", None)])
def test_an_offset_out_of_range_is_reset_as_configured(numbers, make_consumer, make_producer, reset, expected):
    consumer = make_consumer(auto_offset_reset=reset)
    consumer.assign([TopicPartition(numbers, 0, 5000)])
    if expected is None:
        assert consumer.poll(3) is None
        make_producer().send(numbers, ["100"])
        expected = 100
    assert values(poll(consumer, 1)) == [expected]


def test_an_offset_out_of_range_is_an_error_where_no_reset_is_wanted(numbers, make_consumer):
    consumer = make_consumer(auto_offset_reset="error")
    consumer.assign([TopicPartition(numbers, 0, 5000)])
    message = eventually(lambda: consumer.poll(1))
    assert message.error().code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


def test_a_message_larger_than_the_fetch_limit_still_arrives(make_topic, make_producer, make_consumer):
    topic = make_topic()
    make_producer().send(topic, [b"x" * 500_000, b"y" * 500_000])
    consumer = make_consumer(max_partition_fetch_bytes=1000, fetch_max_bytes=1_000_000, message_max_bytes=1000)
    consumer.assign([TopicPartition(topic, 0, 0)])
    assert [len(message.value()) for message in poll(consumer, 2)] == [500_000, 500_000]


def test_a_reader_that_waits_is_woken_by_the_next_record(make_topic, make_producer, make_consumer):
    topic = make_topic()
    consumer = make_consumer(fetch_wait_max_ms=20_000, socket_timeout_ms=60_000)
    consumer.assign([TopicPartition(topic, 0, 0)])
    assert consumer.poll(1) is None
    make_producer().send(topic, ["wake up"])
    message = consumer.poll(5)
    assert message is not None and message.value() == b"wake up", "well before the 20 s that a fetch may wait"


def test_a_consumer_makes_no_topic(make_consumer, admin):
    topic = fresh("absent")
    consumer = make_consumer()
    consumer.subscribe([topic])
    message = eventually(lambda: consumer.poll(1))
    assert message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert topic not in admin.list_topics(timeout=20).topics


def test_topics_are_subscribed_by_pattern(make_topic, make_producer, make_consumer, admin):
    topic = make_topic()
    make_producer().send(topic, ["v"])
    consumer = make_consumer()
    consumer.subscribe([f"^{topic[:-3]}.*"])
    assert [message.topic() for message in poll(consumer, 1)] == [topic]
