"""Request and reply between pika and the Rust library: RabbitMQ's tutorial for Python on one side, `annals::rpc` on the other.

The other side is the program of `examples/queues`, which `cargo xtask test` builds and names in `ANNALS_EXAMPLE_QUEUES`.
"""

import os
import subprocess
import threading
import uuid

import pika
import pytest

from support import amqp, fresh

PROGRAM = os.environ.get("ANNALS_EXAMPLE_QUEUES")

pytestmark = pytest.mark.skipif(not PROGRAM, reason="ANNALS_EXAMPLE_QUEUES names no program")


def uri():
    return f"amqp://guest:guest@{amqp()}/%2f"


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


class FibonacciRpcClient:
    """As in the tutorial's `rpc_client.py`."""

    def __init__(self, connection, queue):
        self.connection, self.queue = connection, queue
        self.channel = connection.channel()
        result = self.channel.queue_declare(queue="", exclusive=True)
        self.callback_queue = result.method.queue
        self.channel.basic_consume(
            queue=self.callback_queue, on_message_callback=self.on_response, auto_ack=True
        )
        self.response = None
        self.corr_id = None

    def on_response(self, ch, method, props, body):
        if self.corr_id == props.correlation_id:
            self.response, self.properties = body, props

    def call(self, n):
        self.response = None
        self.corr_id = str(uuid.uuid4())
        self.channel.basic_publish(
            exchange="",
            routing_key=self.queue,
            properties=pika.BasicProperties(reply_to=self.callback_queue, correlation_id=self.corr_id),
            body=str(n),
        )
        while self.response is None:
            self.connection.process_data_events(time_limit=30)
        return self.response


def on_request(ch, method, props, body):
    """As in the tutorial's `rpc_server.py`."""
    response = fib(int(body))
    ch.basic_publish(
        exchange="",
        routing_key=props.reply_to,
        properties=pika.BasicProperties(correlation_id=props.correlation_id),
        body=str(response),
    )
    ch.basic_ack(delivery_tag=method.delivery_tag)


@pytest.fixture
def responder():
    """The library's responder, on a subject of its own."""
    subject = fresh("rpc")
    process = subprocess.Popen([PROGRAM, "respond", uri(), subject], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield subject
    process.kill()
    process.wait()


@pytest.fixture
def server(connect):
    """The tutorial's server, in a thread of its own. Gives its queue."""
    queue = fresh("rpc_queue")
    ready, stop = threading.Event(), threading.Event()

    def serve():
        connection = connect()
        channel = connection.channel()
        channel.queue_declare(queue=queue)
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue=queue, on_message_callback=on_request)
        ready.set()
        while not stop.is_set():
            connection.process_data_events(time_limit=0.05)
        channel.queue_delete(queue)
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(30)
    yield queue
    stop.set()
    thread.join()


def test_pika_asks_the_library(connection, responder):
    client = FibonacciRpcClient(connection, responder)
    assert [int(client.call(n)) for n in [0, 1, 10, 30]] == [0, 1, 55, 832040]
    assert client.properties.content_type == "text/plain; charset=utf-8"


def test_pika_is_told_why_not(connection, responder):
    client = FibonacciRpcClient(connection, responder)
    assert client.call("thirty") == b'{"kind":"input","code":"not-a-number","message":"send digits"}'
    assert client.properties.content_type == "application/vnd.annals.failure+json"


def test_the_library_asks_pika(server):
    for n, expected in [(10, "55\n"), (20, "6765\n")]:
        asked = subprocess.run(
            [PROGRAM, "request", uri(), server, str(n)], capture_output=True, text=True, timeout=60, check=True
        )
        assert asked.stdout == expected


def test_nobody_responds():
    command = [PROGRAM, "request", uri(), fresh("nobody"), "1"]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert asked.returncode == 1
    assert "nobody responds" in asked.stdout
