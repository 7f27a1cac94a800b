"""Exchanges with pika: how messages find their queues."""

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, UnroutableError

from consuming import get
from support import eventually, fresh


@pytest.fixture
def bound(channel):
    """Makes a queue and binds it to an exchange."""

    def bind(exchange, key="", arguments=None):
        name = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(name, exchange, key, arguments)
        return name

    return bind


@pytest.fixture
def exchange(channel):
    """Makes exchanges with fresh names."""
    names = []

    def make(kind, **options):
        names.append(fresh("exchange"))
        channel.exchange_declare(names[-1], kind, **options)
        return names[-1]

    yield make
    cleaner = channel.connection.channel()
    for name in names:
        cleaner.exchange_delete(name)


def bodies(channel, queue):
    """All that is in the queue, once a marker that is sent behind it is there."""
    channel.basic_publish("", queue, "end")
    found = []
    while (body := get(channel, queue, auto_ack=True)[2]) != b"end":
        found.append(body.decode())
    return found


def test_direct_goes_by_the_same_key(channel, exchange, bound):
    name = exchange("direct")
    first, second, both = bound(name, "a"), bound(name, "b"), bound(name, "a")
    channel.queue_bind(both, name, "b")
    for key in ["a", "b", "c"]:
        channel.basic_publish(name, key, key)
    assert bodies(channel, first) == ["a"]
    assert bodies(channel, second) == ["b"]
    assert bodies(channel, both) == ["a", "b"]


def test_fanout_goes_to_everybody_once(channel, exchange, bound):
    name = exchange("fanout")
    queues = [bound(name), bound(name, "whatever")]
    channel.queue_bind(queues[0], name, "twice")
    channel.basic_publish(name, "k", "x")
    assert [bodies(channel, queue) for queue in queues] == [["x"], ["x"]]


def test_topic_goes_by_words(channel, exchange, bound):
    name = exchange("topic")
    patterns = {
        "#": ["stock.usd.nyse", "stock.eur.db", "stock", "", "quick.brown"],
        "stock.#": ["stock.usd.nyse", "stock.eur.db", "stock"],
        "*.eur.*": ["stock.eur.db"],
        "#.nyse": ["stock.usd.nyse"],
        "*": ["stock"],
        "stock.*": [],
    }
    queues = {pattern: bound(name, pattern) for pattern in patterns}
    for key in ["stock.usd.nyse", "stock.eur.db", "stock", "", "quick.brown"]:
        channel.basic_publish(name, key, key)
    assert {pattern: bodies(channel, queue) for pattern, queue in queues.items()} == patterns


def test_headers_go_by_headers(channel, exchange, bound):
    name = exchange("headers")
    both = bound(name, "", {"x-match": "all", "format": "pdf", "pages": 3})
    either = bound(name, "", {"x-match": "any", "format": "pdf", "pages": 3})
    for body, headers in [("a", {"format": "pdf", "pages": 3}), ("b", {"format": "pdf"}), ("c", {"format": "txt"})]:
        channel.basic_publish(name, "", body, pika.BasicProperties(headers=headers))
    assert (bodies(channel, both), bodies(channel, either)) == (["a"], ["a", "b"])


def test_exchanges_feed_each_other(channel, exchange, bound):
    source, destination = exchange("topic"), exchange("fanout")
    channel.exchange_bind(destination, source, "a.#")
    queue = bound(destination)
    channel.basic_publish(source, "a.b", "in")
    channel.basic_publish(source, "b.b", "out")
    assert bodies(channel, queue) == ["in"]
    channel.exchange_unbind(destination, source, "a.#")
    channel.basic_publish(source, "a.b", "not any more")
    assert bodies(channel, queue) == []


def test_an_alternate_exchange_gets_the_rest(channel, exchange, bound):
    rest = exchange("fanout")
    name = exchange("direct", arguments={"alternate-exchange": rest})
    first, others = bound(name, "a"), bound(rest)
    for key in ["a", "b"]:
        channel.basic_publish(name, key, key)
    assert (bodies(channel, first), bodies(channel, others)) == (["a"], ["b"])


def test_copies_go_where_headers_say(channel):
    queues = [channel.queue_declare("", exclusive=True).method.queue for _ in range(3)]
    headers = {"CC": [queues[1]], "BCC": [queues[2]]}
    channel.basic_publish("", queues[0], "x", pika.BasicProperties(headers=headers))
    for queue in queues:
        _, properties, body = get(channel, queue, auto_ack=True)
        assert body == b"x" and properties.headers == {"CC": [queues[1]]}


def test_what_goes_nowhere_comes_back(channel, exchange):
    name = exchange("direct")
    channel.basic_publish(name, "nowhere", "lost")
    channel.confirm_delivery()
    channel.basic_publish(name, "nowhere", "lost, and confirmed all the same")
    with pytest.raises(UnroutableError) as returned:
        channel.basic_publish(name, "nowhere", "wanted", mandatory=True)
    message = returned.value.messages[0]
    assert (message.method.reply_code, message.method.reply_text, message.body) == (312, "NO_ROUTE", b"wanted")


def test_an_auto_delete_exchange_goes_with_its_last_binding(connection):
    channel, name = connection.channel(), fresh("exchange")
    channel.exchange_declare(name, "fanout", auto_delete=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, name)
    channel.exchange_declare(name, passive=True)
    channel.queue_unbind(queue, name)
    with pytest.raises(ChannelClosedByBroker) as gone:
        channel.exchange_declare(name, passive=True)
    assert gone.value.args == (404, f"NOT_FOUND - no exchange '{name}' in vhost '/'")


def test_an_exchange_in_use_stays_if_unused_is_asked_for(connection, exchange):
    name, channel = exchange("fanout"), connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, name)
    with pytest.raises(ChannelClosedByBroker) as refused:
        channel.exchange_delete(name, if_unused=True)
    assert refused.value.args == (406, f"PRECONDITION_FAILED - exchange '{name}' in vhost '/' in use")


def test_refusals(connect, exchange):
    name = exchange("direct")
    with pytest.raises(ChannelClosedByBroker) as refused:
        connect().channel().exchange_declare(name, "fanout")
    assert refused.value.args == (
        406,
        f"PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{name}' in vhost '/': "
        "received 'fanout' but current is 'direct'",
    )
    with pytest.raises(ChannelClosedByBroker) as refused:
        connect().channel().exchange_declare("amq.mine", "fanout")
    assert refused.value.args == (
        403,
        "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
    )
    with pytest.raises(ChannelClosedByBroker) as refused:
        connect().channel().exchange_declare(fresh("exchange"), "strange")
    assert refused.value.args == (406, "PRECONDITION_FAILED - unknown exchange type 'strange'")
    internal = exchange("fanout", internal=True)
    channel = connect().channel()
    channel.basic_publish(internal, "", "x")
    with pytest.raises(ChannelClosedByBroker) as refused:
        channel.queue_declare("", exclusive=True)
    assert refused.value.args == (
        403,
        f"ACCESS_REFUSED - cannot publish to internal exchange '{internal}' in vhost '/'",
    )


def test_publishing_to_nowhere_ends_the_channel_only(connection):
    channel = connection.channel()
    channel.basic_publish("nowhere", "", "x")
    with pytest.raises(ChannelClosedByBroker) as refused:
        channel.queue_declare("", exclusive=True)
    assert refused.value.args == (404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'")
    assert eventually(lambda: connection.channel().is_open)
