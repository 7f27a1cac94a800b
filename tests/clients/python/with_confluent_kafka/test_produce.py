"""What is sent arrives as it was sent, however it was sent, or is refused by name."""

import pytest
from confluent_kafka import KafkaError, TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME

from support import COMPRESSIONS, UNICODE, eventually, fresh, now_ms


@pytest.mark.parametrize("acks", ["0", "1", "all"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_and_acks_reads_back(make_topic, make_producer, read_all, compression, acks):
    topic = make_topic()
    values = [f"{i}:" + "repetition " * 20 for i in range(200)]
    make_producer(compression_type=compression, acks=acks).send(topic, values)
    messages = eventually(lambda: len(found := read_all(topic)) == len(values) and found)
    assert [message.value().decode() for message in messages] == values
    assert [message.offset() for message in messages] == list(range(200))


def test_acknowledgements_carry_consecutive_offsets(make_topic, make_producer):
    delivered = make_producer().send(make_topic(), ["a", "b", "c"])
    assert [message.offset() for message in delivered] == [0, 1, 2]


def test_keys_headers_and_timestamps_are_kept(make_topic, make_producer, read_all):
    topic = make_topic(retention_ms="-1")
    headers = [("trace", b"1"), ("trace", b"2"), ("empty", b""), ("null", None), ("ünï", UNICODE.encode())]
    make_producer().send(topic, ["v"], key="k", headers=headers, timestamp=1_234_567_890_123)
    (message,) = read_all(topic)
    assert message.key() == b"k"
    assert message.headers() == headers, "duplicate header keys stay, in order"
    assert message.timestamp() == (TIMESTAMP_CREATE_TIME, 1_234_567_890_123)


def test_null_and_empty_are_not_the_same(make_topic, make_producer, read_all):
    topic = make_topic()
    sender = make_producer()
    sender.send(topic, [None], key="null")
    sender.send(topic, [b""], key="empty")
    sender.send(topic, [b"no key"])
    sender.send(topic, [b"empty key"], key=b"")
    found = [(message.key(), message.value()) for message in read_all(topic)]
    assert found == [(b"null", None), (b"empty", b""), (None, b"no key"), (b"", b"empty key")]


def test_text_of_every_writing_system_survives(make_topic, make_producer, read_all):
    topic = make_topic()
    make_producer().send(topic, [UNICODE], key=UNICODE)
    (message,) = read_all(topic)
    assert message.key().decode() == message.value().decode() == UNICODE


def test_every_byte_survives(make_topic, make_producer, read_all):
    topic = make_topic()
    make_producer(compression_type="lz4").send(topic, [bytes(range(256)) * 300])
    assert read_all(topic)[0].value() == bytes(range(256)) * 300


def test_the_broker_stamps_the_time_where_the_topic_says_so(make_topic, make_producer, read_all):
    topic = make_topic(message_timestamp_type="LogAppendTime")
    before = now_ms()
    make_producer(compression_type="gzip").send(topic, ["v", "w"], timestamp=1000)
    for message in read_all(topic):
        kind, timestamp_ms = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        assert before - 1000 <= timestamp_ms <= now_ms() + 1000


def test_an_idempotent_producer_writes_each_record_once(make_topic, make_producer, read_all):
    topic = make_topic(partitions=3)
    sender = make_producer(enable_idempotence=True, linger_ms=0)
    values = [f"{i}" for i in range(3000)]
    sender.send(topic, values)
    found = [message.value().decode() for message in read_all(topic, partitions=3)]
    assert sorted(found, key=int) == values


def test_a_large_message_passes(make_topic, make_producer, read_all):
    topic = make_topic()
    value = b"large" * 190_000
    make_producer(message_max_bytes=1_000_000).send(topic, [value])
    assert read_all(topic)[0].value() == value


def test_a_message_above_the_brokers_limit_is_refused(make_topic, make_producer, read_all):
    topic = make_topic()
    sender = make_producer(message_max_bytes=10_000_000)
    assert sender.send_refused(topic, b"x" * 2_000_000) == KafkaError.MSG_SIZE_TOO_LARGE
    assert read_all(topic) == []


def test_the_topics_own_limit_counts_in_both_directions(make_topic, make_producer, read_all):
    small = make_topic(max_message_bytes="1000")
    assert make_producer().send_refused(small, b"x" * 2000) == KafkaError.MSG_SIZE_TOO_LARGE
    large = make_topic(max_message_bytes="5000000")
    make_producer(message_max_bytes=10_000_000).send(large, [b"x" * 3_000_000])
    assert len(read_all(large)[0].value()) == 3_000_000


def test_a_compacted_topic_refuses_a_record_without_a_key(make_topic, make_producer, read_all):
    topic = make_topic(cleanup_policy="compact")
    assert make_producer().send_refused(topic, "no key") == KafkaError.INVALID_RECORD
    make_producer().send(topic, ["with key"], key="k")
    assert [message.value() for message in read_all(topic)] == [b"with key"]


def test_a_topic_is_made_by_its_first_record(make_producer, read_all):
    topic = fresh("auto")
    make_producer().send(topic, ["first"])
    assert [message.value() for message in read_all(topic)] == [b"first"]


def test_order_is_kept_for_each_key(make_topic, make_producer, read_all):
    topic = make_topic(partitions=4)
    sender = make_producer(compression_type="lz4", enable_idempotence=True)
    for i in range(20_000):
        sender.queue(topic, str(i), key=f"key-{i % 97}")
    sender.flush()
    assert sender.errors == [] and len(sender.delivered) == 20_000

    last_seen, partition_of = {}, {}
    messages = read_all(topic, partitions=4)
    for message in messages:
        key, number = message.key(), int(message.value())
        assert number % 97 == int(key[4:])
        assert number > last_seen.get(key, -1), f"{key} went back to {number}"
        assert partition_of.setdefault(key, message.partition()) == message.partition()
        last_seen[key] = number
    assert len(messages) == 20_000
    assert len(set(partition_of.values())) == 4
