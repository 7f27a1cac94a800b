"""Stands in for a module of kafka-python's tests that its source package lacks.

The tests run against a broker that is there already, so nothing is ever spawned.
"""


class ExternalService:
    """A broker that somebody else started and will stop."""

    def __init__(self, host, port):
        self.host = host
        self.port = port

    def open(self):
        pass

    def close(self):
        pass

    def stop(self):
        pass


class SpawnedService:
    """What the tests would start if they were not told of a broker."""

    def __init__(self, args=None, env=None):
        raise RuntimeError("set KAFKA_URI: there is no Apache Kafka here to start")
