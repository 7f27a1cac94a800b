"""Connections, channels and queues for the pika suite. Everything opened here is closed after the test."""

import pika
import pytest

from support import amqp, fresh


@pytest.fixture
def connect():
    """Opens connections. One that a test has closed, or that the server has, is left alone afterwards."""
    opened = []

    def open_one(user="guest", password="guest", vhost="/", **parameters):
        host, port = amqp().rsplit(":", 1)
        credentials = pika.PlainCredentials(user, password)
        parameters = pika.ConnectionParameters(host, int(port), vhost, credentials, **parameters)
        opened.append(pika.BlockingConnection(parameters))
        return opened[-1]

    yield open_one
    for connection in opened:
        if connection.is_open:
            connection.close()


@pytest.fixture
def connection(connect):
    return connect()


@pytest.fixture
def channel(connection):
    return connection.channel()


@pytest.fixture
def queue(channel):
    """A durable queue with a fresh name."""
    name = fresh("queue")
    channel.queue_declare(name, durable=True)
    yield name
    channel.connection.channel().queue_delete(name)
