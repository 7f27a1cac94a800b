"""Messages with pika: publishing, consuming, settling, and what survives."""

import time

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from consuming import consume, get, take
from support import UNICODE, eventually, fresh


def test_every_property_and_header_comes_back(channel, queue):
    headers = {"text": UNICODE, "yes": True, "small": -5, "large": 1 << 40, "list": [1, "b"], "table": {"x": None}}
    properties = pika.BasicProperties(
        content_type="text/plain",
        content_encoding="identity",
        headers=headers,
        delivery_mode=2,
        priority=4,
        correlation_id="correlation",
        reply_to="reply",
        expiration="600000",
        message_id="message",
        timestamp=1_700_000_000,
        type="kind",
        user_id="guest",
        app_id="app",
        cluster_id="cluster",
    )
    channel.basic_publish("", queue, UNICODE.encode(), properties)
    method, found, body = get(channel, queue)
    assert (method.exchange, method.routing_key, method.redelivered) == ("", queue, False)
    assert body.decode() == UNICODE and found == properties


@pytest.mark.parametrize("size", [0, 1, 4096, 131_064, 131_065, 1 << 20, 10 << 20])
def test_bodies_of_all_sizes(channel, queue, size):
    body = bytes(number % 251 for number in range(1000)) * (size // 1000 + 1)
    channel.confirm_delivery()
    channel.basic_publish("", queue, body[:size], pika.BasicProperties(delivery_mode=2))
    assert get(channel, queue)[2] == body[:size]


def test_a_message_that_is_too_large_is_refused(connection, queue):
    channel = connection.channel()
    channel.confirm_delivery()
    with pytest.raises(ChannelClosedByBroker) as refused:
        channel.basic_publish("", queue, b"x" * ((16 << 20) + 1))
    assert refused.value.reply_code == 406 and "larger than" in refused.value.reply_text


def test_order_holds(channel, queue):
    count = 2000
    for number in range(count):
        channel.basic_publish("", queue, str(number))
    consume(channel, queue, auto_ack=True)
    assert [int(body) for _, _, body in take(channel, count)] == list(range(count))


def test_prefetch_limits_each_consumer(connection, queue):
    channel = connection.channel()
    for number in range(10):
        channel.basic_publish("", queue, str(number))
    channel.basic_qos(prefetch_count=3)
    consume(channel, queue)
    take(channel, 3)
    connection.process_data_events(time_limit=0.3)
    assert len(channel.taken) == 3
    channel.basic_ack(channel.taken[1][0].delivery_tag, multiple=True)
    take(channel, 5)
    connection.process_data_events(time_limit=0.3)
    assert [body for _, _, body in channel.taken] == [b"0", b"1", b"2", b"3", b"4"]


def test_prefetch_of_a_channel_counts_all_its_consumers(connection):
    channel = connection.channel()
    queues = [channel.queue_declare("", exclusive=True).method.queue for _ in range(2)]
    for queue in queues:
        for number in range(5):
            channel.basic_publish("", queue, str(number))
    channel.basic_qos(prefetch_count=4, global_qos=True)
    for queue in queues:
        consume(channel, queue)
    take(channel, 4)
    connection.process_data_events(time_limit=0.3)
    assert len(channel.taken) == 4
    channel.basic_ack(0, multiple=True)
    take(channel, 8)


def test_a_small_window_of_a_channel_serves_all_its_queues(connection):
    channel = connection.channel()
    queues = [channel.queue_declare("", exclusive=True).method.queue for _ in range(3)]
    channel.basic_qos(prefetch_count=1, global_qos=True)
    for queue in queues:
        for _ in range(30):
            channel.basic_publish("", queue, queue)
        consume(channel, queue)
    served = []
    for _ in range(30):
        method, _, body = take(channel, 1)[0]
        channel.taken.clear()
        served.append(body)
        channel.basic_ack(method.delivery_tag)
    assert len(set(served)) == 3


def test_what_is_not_acknowledged_comes_again(connection, queue):
    channel = connection.channel()
    for number in range(3):
        channel.basic_publish("", queue, str(number))
    consume(channel, queue)
    tags = [method.delivery_tag for method, _, _ in take(channel, 3)]
    channel.basic_ack(tags[1])
    channel.close()
    other = connection.channel()
    for expected in [b"0", b"2"]:
        method, properties, body = get(other, queue)
        # How often is a matter of quorum queues; some clients take no header that they do not know.
        assert (body, method.redelivered, properties.headers) == (expected, True, None)
        other.basic_ack(method.delivery_tag)
    assert other.basic_get(queue)[0] is None


def test_a_requeued_message_goes_to_its_place(channel, queue):
    for number in range(3):
        channel.basic_publish("", queue, str(number))
    first, _, _ = get(channel, queue)
    second, _, _ = get(channel, queue)
    channel.basic_nack(second.delivery_tag, multiple=True, requeue=True)
    assert [get(channel, queue, auto_ack=True)[2] for _ in range(3)] == [b"0", b"1", b"2"]


def test_recover_gives_all_back(channel, queue):
    channel.basic_publish("", queue, "x")
    get(channel, queue)
    channel.basic_recover(requeue=True)
    method, _, _ = get(channel, queue)
    assert method.redelivered


def test_an_unknown_tag_ends_the_channel(connection, queue):
    channel = connection.channel()
    channel.basic_ack(7)
    with pytest.raises(ChannelClosedByBroker) as refused:
        channel.queue_declare(queue, passive=True)
    assert refused.value.args == (406, "PRECONDITION_FAILED - unknown delivery tag 7")


def test_an_exclusive_consumer_is_alone(connection, queue):
    first, second = connection.channel(), connection.channel()
    consume(first, queue, exclusive=True)
    with pytest.raises(ChannelClosedByBroker) as refused:
        consume(second, queue)
    assert refused.value.args == (403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use")


def test_a_consumer_is_told_that_its_queue_is_gone(connection):
    channel, name = connection.channel(), fresh("queue")
    channel.queue_declare(name)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tag = consume(channel, name)
    connection.channel().queue_delete(name)
    deadline = time.monotonic() + 5
    while not cancelled and time.monotonic() < deadline:
        connection.process_data_events(time_limit=0.05)
    assert cancelled == [tag]


def test_consumers_with_priority_come_first(connection, queue):
    low, high = connection.channel(), connection.channel()
    consume(low, queue, auto_ack=True)
    high.basic_qos(prefetch_count=2)
    consume(high, queue, arguments={"x-priority": 5})
    publisher = connection.channel()
    for number in range(4):
        publisher.basic_publish("", queue, str(number))
    take(high, 2)
    take(low, 2)
    assert [body for _, _, body in high.taken] == [b"0", b"1"]


def test_a_transaction_happens_when_it_is_committed(connection, queue):
    channel, other = connection.channel(), connection.channel()
    channel.tx_select()
    channel.basic_publish("", queue, "rolled back")
    channel.tx_rollback()
    channel.basic_publish("", queue, "committed")
    assert other.queue_declare(queue, passive=True).method.message_count == 0
    channel.tx_commit()
    assert other.queue_declare(queue, passive=True).method.message_count == 1
    method, _, body = get(channel, queue)
    assert body == b"committed"
    channel.basic_ack(method.delivery_tag)
    channel.tx_rollback()
    channel.basic_ack(method.delivery_tag)
    channel.tx_commit()
    assert other.basic_get(queue)[0] is None


def test_replies_come_straight_back(connect, queue):
    asker, answerer = connect().channel(), connect().channel()
    consume(asker, "amq.rabbitmq.reply-to", auto_ack=True)
    request = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="7")
    asker.basic_publish("", queue, "question", request)
    _, properties, _ = get(answerer, queue)
    assert properties.reply_to.startswith("amq.rabbitmq.reply-to.")
    answerer.queue_declare(properties.reply_to, passive=True)
    answer = pika.BasicProperties(correlation_id=properties.correlation_id)
    # Replies are confirmed as other messages are, at once.
    answerer.confirm_delivery()
    answerer.basic_publish("", properties.reply_to, "answer", answer)
    _, properties, body = take(asker, 1)[0]
    assert (body, properties.correlation_id) == (b"answer", "7")


def test_confirms_come_for_everything(connect, queue):
    acked = []
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    for number in range(200):
        channel.basic_publish("", queue, str(number), pika.BasicProperties(delivery_mode=2))
        acked.append(number)
    eventually(lambda: connection.channel().queue_declare(queue, passive=True).method.message_count == 200)
    assert len(acked) == 200
