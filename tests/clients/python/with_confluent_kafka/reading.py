"""Reading with confluent-kafka, failing loudly."""


def poll(consumer, count, within_s=30.0):
    """Polls `count` messages; fails on an error or if they do not come."""
    messages = []
    while len(messages) < count:
        batch = consumer.consume(min(count - len(messages), 1000), timeout=within_s)
        assert batch, f"{len(messages)} of {count} messages within {within_s} s"
        for message in batch:
            assert message.error() is None, message.error()
        messages.extend(batch)
    return messages
