"""pyrabbit2."""

from support import fresh


def test_the_usual_calls_work(rabbit):
    assert rabbit.is_alive() and rabbit.get_whoami()["name"] == "guest"
    assert rabbit.get_all_vhosts()[0]["name"]
    exchange, queue = fresh("exchange"), fresh("queue")
    rabbit.create_exchange("/", exchange, "direct", durable=True)
    rabbit.create_queue("/", queue, durable=True)
    rabbit.create_binding("/", exchange, queue, "key")
    assert rabbit.publish("/", exchange, "key", "message payload") is True
    assert rabbit.get_queue_depth("/", queue) == 1
    assert rabbit.get_messages("/", queue)[0]["payload"] == "message payload"
    rabbit.purge_queue("/", queue)
    assert rabbit.get_queue_depth("/", queue) == 0
    assert exchange in [one["name"] for one in rabbit.get_exchanges("/")]
    keys = [one["properties_key"] for one in rabbit.get_queue_bindings("/", queue) if one["source"] == exchange]
    assert keys == ["key"]
    rabbit.delete_binding("/", exchange, queue, "key")
    rabbit.delete_queue("/", queue)
    rabbit.delete_exchange("/", exchange)
    assert queue not in [one["name"] for one in rabbit.get_queues(vhost="/")]
