"""Reading with kafka-python, failing loudly."""


def poll(consumer, count, within_s=30.0):
    """Polls `count` records; fails if they do not come."""
    records = []
    while len(records) < count:
        batches = consumer.poll(timeout_ms=int(within_s * 1000), max_records=count - len(records))
        assert batches, f"{len(records)} of {count} records within {within_s} s"
        records.extend(record for batch in batches.values() for record in batch)
    return records
