"""Queues with pika: declaring, looking at, limiting, deleting."""

import time

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from consuming import consume, get, take
from support import eventually, fresh


def test_a_queue_is_declared_counted_purged_and_deleted(channel):
    name = fresh("queue")
    assert channel.queue_declare(name, durable=True).method.message_count == 0
    for number in range(5):
        channel.basic_publish("", name, str(number))
    eventually(lambda: channel.queue_declare(name, passive=True).method.message_count == 5)
    assert channel.queue_purge(name).method.message_count == 5
    channel.basic_publish("", name, "one more")
    eventually(lambda: channel.queue_declare(name, passive=True).method.message_count == 1)
    assert channel.queue_delete(name).method.message_count == 1
    assert channel.queue_delete(name).method.message_count == 0, "deleting what is not there is fine"


def test_the_server_chooses_a_name(channel):
    name = channel.queue_declare("", exclusive=True).method.queue
    assert name.startswith("amq.gen-")
    channel.basic_publish("", name, "hello")
    assert get(channel, name)[2] == b"hello"


@pytest.mark.parametrize(
    "second, text",
    [
        ({"durable": False}, "inequivalent arg 'durable' for queue '{}' in vhost '/': received 'false' but current is 'true'"),
        (
            {"durable": True, "auto_delete": True},
            "inequivalent arg 'auto_delete' for queue '{}' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            {"durable": True, "arguments": {"x-max-length": 6}},
            "inequivalent arg 'x-max-length' for queue '{}' in vhost '/': received '6' but current is '5'",
        ),
        (
            {"durable": True, "arguments": {"x-max-length": 5, "x-message-ttl": 1000}},
            "inequivalent arg 'x-message-ttl' for queue '{}' in vhost '/': "
            "received the value '1000' of type 'signedint' but current is none",
        ),
    ],
)
def test_another_declaration_is_refused(channel, second, text):
    name = fresh("queue")
    first = {"durable": True, "arguments": {"x-max-length": 5}}
    channel.queue_declare(name, **first)
    channel.queue_declare(name, **first)
    second.setdefault("arguments", first["arguments"])
    with pytest.raises(ChannelClosedByBroker) as refused:
        channel.queue_declare(name, **second)
    assert refused.value.reply_code == 406
    assert refused.value.reply_text == "PRECONDITION_FAILED - " + text.format(name)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"x-message-ttl": -1}, "invalid arg 'x-message-ttl' for queue '{}' in vhost '/': {{value_negative,-1}}"),
        (
            {"x-message-ttl": "5"},
            "invalid arg 'x-message-ttl' for queue '{}' in vhost '/': \"expected integer, got longstr\"",
        ),
        ({"x-expires": 0}, "invalid arg 'x-expires' for queue '{}' in vhost '/': {{value_zero,0}}"),
        ({"x-max-priority": 256}, "invalid arg 'x-max-priority' for queue '{}' in vhost '/': {{max_value_exceeded,256}}"),
        (
            {"x-dead-letter-routing-key": "k"},
            "invalid arg 'x-dead-letter-routing-key' for queue '{}' in vhost '/': routing_key_but_no_dlx_defined",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_refused(channel, arguments, text):
    name = fresh("queue")
    with pytest.raises(ChannelClosedByBroker) as refused:
        channel.queue_declare(name, arguments=arguments)
    assert refused.value.reply_code == 406
    assert refused.value.reply_text == "PRECONDITION_FAILED - " + text.format(name)


def test_what_is_not_there_is_not_found(connection):
    for ask in [
        lambda channel: channel.queue_declare("nowhere", passive=True),
        lambda channel: channel.basic_get("nowhere"),
        lambda channel: channel.queue_purge("nowhere"),
        lambda channel: channel.queue_bind("nowhere", "amq.direct", "k"),
    ]:
        with pytest.raises(ChannelClosedByBroker) as refused:
            ask(connection.channel())
        assert refused.value.args == (404, "NOT_FOUND - no queue 'nowhere' in vhost '/'")


def test_an_exclusive_queue_belongs_to_its_connection(connect):
    owner, other = connect(), connect()
    name = fresh("queue")
    owner.channel().queue_declare(name, exclusive=True)
    with pytest.raises(ChannelClosedByBroker) as refused:
        other.channel().queue_declare(name, passive=True)
    assert refused.value.args == (
        405,
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '/'. It could be originally "
        "declared on another connection or the exclusive property value does not match that of the original declaration.",
    )
    owner.close()
    with pytest.raises(ChannelClosedByBroker) as gone:
        other.channel().queue_declare(name, passive=True)
    assert gone.value.reply_code == 404


def test_an_auto_delete_queue_goes_with_its_last_consumer(connection):
    channel = connection.channel()
    name = fresh("queue")
    channel.queue_declare(name, auto_delete=True)
    tags = [consume(channel, name), consume(channel, name)]
    assert channel.queue_declare(name, passive=True).method.consumer_count == 2
    channel.basic_cancel(tags[0])
    channel.queue_declare(name, passive=True)
    channel.basic_cancel(tags[1])
    with pytest.raises(ChannelClosedByBroker) as gone:
        channel.queue_declare(name, passive=True)
    assert gone.value.reply_code == 404


def test_a_queue_in_use_is_not_deleted_if_unused_is_asked_for(connection, queue):
    channel = connection.channel()
    channel.basic_publish("", queue, "x")
    eventually(lambda: channel.queue_declare(queue, passive=True).method.message_count == 1)
    with pytest.raises(ChannelClosedByBroker) as refused:
        channel.queue_delete(queue, if_empty=True)
    assert refused.value.args == (406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty")
    channel = connection.channel()
    consume(channel, queue)
    other = connection.channel()
    with pytest.raises(ChannelClosedByBroker) as refused:
        other.queue_delete(queue, if_unused=True)
    assert refused.value.args == (406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use")


def test_a_length_limit_drops_the_oldest(channel):
    name = fresh("queue")
    channel.queue_declare(name, arguments={"x-max-length": 3})
    for number in range(10):
        channel.basic_publish("", name, str(number))
    bodies = [get(channel, name, auto_ack=True)[2] for _ in range(3)]
    assert bodies == [b"7", b"8", b"9"]
    assert channel.basic_get(name)[0] is None


def test_a_full_queue_refuses_if_it_is_to(channel):
    name = fresh("queue")
    channel.queue_declare(name, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.confirm_delivery()
    channel.basic_publish("", name, "fits")
    with pytest.raises(pika.exceptions.NackError):
        channel.basic_publish("", name, "does not")
    assert get(channel, name)[2] == b"fits"


@pytest.mark.parametrize("how", ["queue", "message"])
def test_time_to_live_ends_in_the_dead_letter_queue(channel, how):
    dead, name = fresh("dead"), fresh("queue")
    channel.queue_declare(dead)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    if how == "queue":
        arguments["x-message-ttl"] = 50
    channel.queue_declare(name, arguments=arguments)
    properties = pika.BasicProperties(expiration="50" if how == "message" else None, headers={"mine": 1})
    channel.basic_publish("", name, "late", properties)
    _, properties, body = get(channel, dead)
    assert body == b"late" and properties.expiration is None
    headers = properties.headers
    assert headers["mine"] == 1
    assert (headers["x-first-death-queue"], headers["x-first-death-reason"]) == (name, "expired")
    death = headers["x-death"][0]
    assert (death["queue"], death["reason"], death["count"], death["exchange"]) == (name, "expired", 1, "")
    assert death["routing-keys"] == [name]
    assert death.get("original-expiration") == ("50" if how == "message" else None)


def test_a_rejected_message_is_dead_lettered(channel):
    exchange, dead, name = fresh("exchange"), fresh("dead"), fresh("queue")
    channel.exchange_declare(exchange, "fanout")
    channel.queue_declare(dead)
    channel.queue_bind(dead, exchange)
    channel.queue_declare(name, arguments={"x-dead-letter-exchange": exchange})
    channel.basic_publish("", name, "not wanted")
    method, _, _ = get(channel, name)
    channel.basic_reject(method.delivery_tag, requeue=False)
    method, properties, body = get(channel, dead, auto_ack=True)
    assert method.routing_key == name and body == b"not wanted"
    death = properties.headers["x-death"][0]
    assert (death["reason"], death["count"], death["queue"]) == ("rejected", 1, name)


def test_priorities_come_first(channel):
    name = fresh("queue")
    channel.queue_declare(name, arguments={"x-max-priority": 9})
    for priority in [0, 5, 9, 1, 5, None]:
        channel.basic_publish("", name, str(priority), pika.BasicProperties(priority=priority))
    eventually(lambda: channel.queue_declare(name, passive=True).method.message_count == 6)
    bodies = [get(channel, name, auto_ack=True)[2] for _ in range(6)]
    assert bodies == [b"9", b"5", b"5", b"1", b"0", b"None"]


def test_a_queue_that_nobody_uses_expires(connection):
    name = fresh("queue")
    connection.channel().queue_declare(name, arguments={"x-expires": 1000})
    for _ in range(5):
        time.sleep(0.3)
        # To look at it is to use it.
        connection.channel().queue_declare(name, passive=True)

    def is_gone():
        try:
            connection.channel().queue_declare(name, passive=True)
        except ChannelClosedByBroker as closed:
            return closed.reply_code == 404
        time.sleep(1.5)
        return False

    eventually(is_gone)


def test_one_consumer_at_a_time(connection):
    name = fresh("queue")
    first, second = connection.channel(), connection.channel()
    first.queue_declare(name, arguments={"x-single-active-consumer": True})
    tag = consume(first, name, auto_ack=True)
    consume(second, name, auto_ack=True)
    for number in range(4):
        first.basic_publish("", name, str(number))
    assert [body for _, _, body in take(first, 4)] == [b"0", b"1", b"2", b"3"] and second.taken == []
    first.basic_cancel(tag)
    first.basic_publish("", name, "4")
    assert take(second, 1)[0][2] == b"4"


def test_a_delivery_limit_ends_the_circle(channel):
    dead, name = fresh("dead"), fresh("queue")
    channel.queue_declare(dead)
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 2,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead,
    }
    channel.queue_declare(name, durable=True, arguments=arguments)
    channel.basic_publish("", name, "poison")
    for _ in range(3):
        method, _, _ = get(channel, name)
        channel.basic_nack(method.delivery_tag, requeue=True)
    _, properties, _ = get(channel, dead)
    assert properties.headers["x-death"][0]["reason"] == "delivery_limit"
    channel.queue_delete(name)
