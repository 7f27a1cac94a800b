"""The management API through clients that others wrote: amqpstorm's, pyrabbit2 and, where it is installed, rabbitmqadmin."""

import json
import os
import shutil
import subprocess

import pika
import pytest
from amqpstorm.management import ManagementApi
from pyrabbit2.api import Client

from support import amqp, fresh


def http():
    """The address of the HTTP port under test, `HOST:PORT`."""
    return os.environ["ANNALS_HTTP"]


@pytest.fixture
def management():
    return ManagementApi(f"http://{http()}", "guest", "guest", timeout=20)


@pytest.fixture
def rabbit():
    return Client(http(), "guest", "guest", timeout=20)


@pytest.fixture
def queue(management):
    """A durable queue with a fresh name."""
    name = fresh("queue")
    management.queue.declare(name, durable=True)
    yield name
    management.queue.delete(name)


@pytest.fixture
def exchange(management):
    name = fresh("exchange")
    management.exchange.declare(name, exchange_type="topic", durable=True)
    yield name
    management.exchange.delete(name)


@pytest.fixture
def connection():
    host, port = amqp().rsplit(":", 1)
    parameters = pika.ConnectionParameters(
        host, int(port), client_properties={"connection_name": fresh("watched")}
    )
    connection = pika.BlockingConnection(parameters)
    yield connection
    if connection.is_open:
        connection.close()


@pytest.fixture
def admin():
    """Runs RabbitMQ's own `rabbitmqadmin` and returns what it prints."""
    program = shutil.which("rabbitmqadmin")
    if program is None:
        pytest.skip("rabbitmqadmin is not installed (Debian: rabbitmq-server)")
    host, port = http().rsplit(":", 1)

    def run(*arguments, fails=False):
        command = [program, "--host", host, "--port", port, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + (done.stderr if fails else "")

    def listed(*arguments):
        return json.loads(run("-f", "raw_json", *arguments))

    run.listed = listed
    return run
