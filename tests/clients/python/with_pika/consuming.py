"""Taking messages with pika, failing loudly."""

import time


def get(channel, queue, within_s=10.0, **options):
    """Fetches one message; fails if none comes."""
    deadline = time.monotonic() + within_s
    while True:
        method, properties, body = channel.basic_get(queue, **options)
        if method is not None:
            return method, properties, body
        assert time.monotonic() < deadline, f"no message in {queue} within {within_s} s"
        time.sleep(0.02)


def take(channel, count, within_s=10.0):
    """Waits until the consumers of a channel, whose callbacks append to it, have filled `channel.taken`."""
    deadline = time.monotonic() + within_s
    while len(channel.taken) < count:
        assert time.monotonic() < deadline, f"{len(channel.taken)} of {count} messages within {within_s} s"
        channel.connection.process_data_events(time_limit=0.05)
    return channel.taken


def consume(channel, queue, **options):
    """Begins a consumer whose deliveries go to `channel.taken` as (method, properties, body)."""
    if not hasattr(channel, "taken"):
        channel.taken = []
    return channel.basic_consume(queue, lambda _, *delivery: channel.taken.append(delivery), **options)
