"""Connections with pika: coming in, staying, and being sent away."""

import socket
import time

import pika
import pytest
from pika.exceptions import (
    AMQPConnectionError,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from support import amqp


def test_the_server_says_what_it_can(connection):
    properties = connection._impl.server_properties
    assert properties["capabilities"]["publisher_confirms"] and properties["capabilities"]["basic.nack"]


def test_a_wrong_password_is_refused(connect):
    with pytest.raises(ProbableAuthenticationError) as refused:
        connect(password="wrong")
    assert "Login was refused using authentication mechanism PLAIN" in str(refused.value)


def test_an_unknown_virtual_host_is_refused(connect):
    with pytest.raises((ProbableAccessDeniedError, ConnectionClosedByBroker)) as refused:
        connect(vhost="nowhere")
    assert "NOT_ALLOWED - vhost nowhere not found" in str(refused.value)


def test_heartbeats_keep_a_quiet_connection(connect):
    connection = connect(heartbeat=1)
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        connection.process_data_events(time_limit=0.2)
    assert connection.channel().is_open


def test_a_silent_client_is_sent_away(connect):
    connection = connect(heartbeat=1)
    time.sleep(4)
    with pytest.raises(AMQPConnectionError):
        connection.channel()
        connection.process_data_events(time_limit=1)


def test_many_channels(connection):
    channels = [connection.channel() for _ in range(300)]
    assert all(channel.is_open for channel in channels)
    for channel in channels:
        channel.close()


def test_a_channel_beyond_the_maximum_is_not_opened(connect):
    connection = connect(channel_max=5)
    [connection.channel() for _ in range(5)]
    with pytest.raises(pika.exceptions.NoFreeChannels):
        connection.channel()


def answer(*sent, within_s=5):
    """What the server says to these bytes before it closes the connection, or says no more."""
    host, port = amqp().rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=within_s) as stream:
        received = b""
        for bytes_ in sent:
            stream.sendall(bytes_)
        try:
            while chunk := stream.recv(4096):
                received += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return received


def test_another_version_is_told_ours():
    assert answer(b"AMQP\x00\x00\x09\x02") == b"AMQP\x00\x00\x09\x01"
    assert answer(b"AMQP\x01\x01\x08\x00").startswith(b"AMQP")


def test_another_protocol_is_sent_away():
    assert answer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"AMQP")


def test_a_frame_that_is_none_is_refused():
    garbage = b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0b\xff"
    received = answer(b"AMQP\x00\x00\x09\x01", garbage)
    assert b"PLAIN" in received, "the greeting comes first"
