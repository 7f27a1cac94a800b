"""Records, written and read back with kafka-python."""

import pytest
from kafka import TopicPartition
from kafka.errors import InvalidRecordError, MessageSizeTooLargeError

from reading import poll
from support import COMPRESSIONS, UNICODE, eventually, fresh


@pytest.mark.parametrize("acks", [0, 1, "all"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_and_acks_reads_back(make_topic, make_producer, read_all, compression, acks):
    topic = make_topic()
    producer = make_producer(
        compression_type=None if compression == "none" else compression,
        acks=acks,
        enable_idempotence=False,
        linger_ms=5,
    )
    values = [f"{i}:{'repetition ' * 20}" for i in range(200)]
    for value in values:
        producer.send(topic, value.encode())
    producer.flush()
    records = eventually(lambda: len(found := read_all(topic)) == len(values) and found)
    assert [record.value.decode() for record in records] == values
    assert [record.offset for record in records] == list(range(200))


def test_keys_headers_timestamps_and_nulls_are_kept(make_topic, make_producer, read_all):
    topic = make_topic(retention_ms="-1")
    headers = [("trace", b"1"), ("trace", b"2"), ("empty", b""), ("ünï", UNICODE.encode())]
    producer = make_producer()
    sent = producer.send(topic, b"v", key=b"k", headers=headers, timestamp_ms=1_234_567_890_123).get(20)
    assert (sent.topic, sent.partition, sent.offset) == (topic, 0, 0)
    producer.send(topic, None, key=b"tombstone").get(20)
    producer.send(topic, b"", key=None).get(20)
    first, tombstone, empty = read_all(topic)
    assert (first.key, first.value, first.timestamp) == (b"k", b"v", 1_234_567_890_123)
    assert list(first.headers) == headers
    assert (tombstone.key, tombstone.value) == (b"tombstone", None)
    assert (empty.key, empty.value) == (None, b"")


def test_text_of_every_writing_system_survives(make_topic, make_producer, read_all):
    topic = make_topic()
    make_producer().send(topic, UNICODE.encode(), key=UNICODE.encode()).get(20)
    (record,) = read_all(topic)
    assert record.key.decode() == record.value.decode() == UNICODE


def test_an_idempotent_producer_keeps_order_for_each_key(make_topic, make_producer, read_all):
    topic = make_topic(partitions=4)
    producer = make_producer(enable_idempotence=True, acks="all", linger_ms=5)
    for i in range(20_000):
        producer.send(topic, b"%d" % i, key=b"key-%d" % (i % 97))
    producer.flush()
    last_seen = {}
    records = read_all(topic, partitions=4)
    for record in records:
        assert int(record.value) > last_seen.get(record.key, -1)
        last_seen[record.key] = int(record.value)
    assert len(records) == 20_000 and len({record.partition for record in records}) == 4


def test_large_messages_pass_and_too_large_ones_are_refused(make_topic, make_producer, read_all):
    topic = make_topic()
    producer = make_producer(max_request_size=10_000_000)
    producer.send(topic, b"x" * 950_000).get(20)
    with pytest.raises(MessageSizeTooLargeError):
        producer.send(topic, b"x" * 2_000_000).get(20)
    assert [len(record.value) for record in read_all(topic)] == [950_000]


def test_a_compacted_topic_refuses_a_record_without_a_key(make_topic, make_producer):
    topic = make_topic(cleanup_policy="compact")
    with pytest.raises(InvalidRecordError):
        make_producer().send(topic, b"no key").get(20)
    assert make_producer().send(topic, b"v", key=b"k").get(20).offset == 0


def test_a_topic_is_made_by_its_first_record(make_producer, read_all):
    topic = fresh("auto")
    make_producer().send(topic, b"first").get(20)
    assert [record.value for record in read_all(topic)] == [b"first"]


@pytest.fixture
def numbers(make_topic, make_producer):
    """A topic with one partition, and in it the numbers 0 to 99, stamped 1000, 1010, … 1990."""
    topic = make_topic(retention_ms="-1")
    producer = make_producer(linger_ms=20)
    for i in range(100):
        producer.send(topic, b"%d" % i, timestamp_ms=1000 + 10 * i)
    producer.flush()
    return TopicPartition(topic, 0)


@pytest.mark.parametrize("sessions", [True, False], ids=["fetch-sessions", "full-fetches"])
def test_seek_leads_to_any_offset(numbers, make_consumer, sessions):
    consumer = make_consumer(enable_incremental_fetch_sessions=sessions)
    consumer.assign([numbers])
    for target in [50, 3, 98]:
        consumer.seek(numbers, target)
        assert [int(record.value) for record in poll(consumer, 2)] == [target, target + 1]
    consumer.seek_to_beginning(numbers)
    assert int(poll(consumer, 1)[0].value) == 0
    consumer.seek_to_end(numbers)
    assert consumer.position(numbers) == 100


def test_a_time_leads_to_the_first_record_at_or_after_it(numbers, make_consumer):
    consumer = make_consumer()
    for time_ms, offset in [(0, 0), (1005, 1), (1570, 57), (1990, 99)]:
        assert consumer.offsets_for_times({numbers: time_ms})[numbers].offset == offset
    assert consumer.offsets_for_times({numbers: 5000})[numbers] is None


def test_beginning_and_end_frame_the_partition(numbers, make_consumer):
    consumer = make_consumer()
    assert consumer.beginning_offsets([numbers]) == {numbers: 0}
    assert consumer.end_offsets([numbers]) == {numbers: 100}


def test_a_paused_partition_is_silent(numbers, make_consumer):
    consumer = make_consumer()
    consumer.assign([numbers])
    poll(consumer, 1)
    consumer.pause(numbers)
    assert consumer.poll(timeout_ms=1000) == {}
    consumer.resume(numbers)
    assert len(poll(consumer, 99)) == 99


@pytest.mark.parametrize("reset, expected", [("earliest", 0), ("latest", 100)])
def test_an_offset_out_of_range_is_reset_as_configured(numbers, make_consumer, make_producer, reset, expected):
    consumer = make_consumer(auto_offset_reset=reset)
    consumer.assign([numbers])
    consumer.seek(numbers, 5000)
    if reset == "latest":
        eventually(lambda: consumer.poll(timeout_ms=100) == {} and consumer.position(numbers) == 100)
        make_producer().send(numbers.topic, b"100").get(20)
    assert int(poll(consumer, 1)[0].value) == expected
