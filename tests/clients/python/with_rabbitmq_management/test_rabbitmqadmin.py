"""RabbitMQ's own command line tool for the management API."""

import json
import pathlib

from support import fresh


def test_objects_are_declared_listed_and_deleted(admin):
    exchange, queue = fresh("exchange"), fresh("queue")
    assert admin("declare", "exchange", f"name={exchange}", "type=topic") == "exchange declared\n"
    arguments = 'arguments={"x-max-length":5}'
    assert admin("declare", "queue", f"name={queue}", arguments) == "queue declared\n"
    binding = [f"source={exchange}", f"destination={queue}"]
    assert admin("declare", "binding", *binding, "routing_key=a.#") == "binding declared\n"
    queues = {one["name"]: one for one in admin.listed("list", "queues", "name", "arguments", "durable")}
    assert queues[queue] == {"name": queue, "arguments": {"x-max-length": 5}, "durable": True}
    bindings = [one for one in admin.listed("list", "bindings") if one["source"] == exchange]
    assert [(one["destination"], one["routing_key"]) for one in bindings] == [(queue, "a.#")]
    key = bindings[0]["properties_key"]
    admin("delete", "binding", *binding, "destination_type=queue", f"properties_key={key}")
    assert not [one for one in admin.listed("list", "bindings") if one["source"] == exchange]
    assert admin("delete", "queue", f"name={queue}") == "queue deleted\n"
    assert admin("delete", "exchange", f"name={exchange}") == "exchange deleted\n"
    assert "Not found" in admin("delete", "queue", f"name={queue}", fails=True)


def test_messages_are_published_got_and_purged(admin):
    queue = fresh("queue")
    admin("declare", "queue", f"name={queue}")
    assert admin("publish", f"routing_key={queue}", "payload=hello") == "Message published\n"
    assert "NOT routed" in admin("publish", f"routing_key={fresh('none')}", "payload=hello")
    got = admin.listed("get", f"queue={queue}")
    assert (got[0]["payload"], got[0]["message_count"], got[0]["properties"]) == ("hello", 0, [])
    assert admin("purge", "queue", f"name={queue}") == "queue purged\n"
    assert admin.listed("get", f"queue={queue}") == []
    admin("delete", "queue", f"name={queue}")


def test_every_list_can_be_shown(admin):
    for what in [
        "users", "vhosts", "connections", "exchanges", "bindings", "permissions", "channels", "consumers", "queues",
        "policies", "operator_policies", "parameters", "nodes", "vhost_limits",
    ]:
        admin("list", what)
    assert "4.1.0" in admin("show", "overview")


def test_what_is_refused_is_told(admin):
    queue = fresh("queue")
    admin("declare", "queue", f"name={queue}")
    told = admin("declare", "queue", f"name={queue}", "durable=false", fails=True)
    text = f"inequivalent arg 'durable' for queue '{queue}' in vhost '/': received 'false' but current is 'true'"
    assert text in told
    admin("delete", "queue", f"name={queue}")


def test_definitions_go_out_and_come_back(admin, tmp_path):
    vhost, queue, exchange = fresh("vhost"), fresh("queue"), fresh("exchange")
    admin("declare", "vhost", f"name={vhost}")
    within = ["-V", vhost]
    admin(*within, "declare", "exchange", f"name={exchange}", "type=headers")
    admin(*within, "declare", "queue", f"name={queue}", 'arguments={"x-message-ttl":60000}')
    arguments = 'arguments={"x-match":"all","pages":3}'
    admin(*within, "declare", "binding", f"source={exchange}", f"destination={queue}", arguments)
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    admin("export", str(first))
    admin("delete", "vhost", f"name={vhost}")
    assert vhost not in [one["name"] for one in admin.listed("list", "vhosts")]
    admin("import", str(first))
    admin("export", str(second))

    def comparable(path):
        document = json.loads(path.read_text())
        parts = ["vhosts", "queues", "exchanges", "bindings", "permissions"]
        return {part: sorted(document[part], key=json.dumps) for part in parts}

    assert comparable(first) == comparable(second)
    found = [one for one in comparable(second)["bindings"] if one["vhost"] == vhost]
    assert [(one["source"], one["destination"], one["arguments"]) for one in found] == [
        (exchange, queue, {"x-match": "all", "pages": 3})
    ]
    admin("delete", "vhost", f"name={vhost}")


def test_definitions_that_rabbitmq_wrote_are_taken_in(admin):
    """What RabbitMQ 3.10.8 exported: a virtual host `shop` with all kinds of exchanges, and a policy, which has no place here."""
    admin("import", str(pathlib.Path(__file__).with_name("definitions_of_rabbitmq_3_10_8.json")))
    within = ["-V", "shop"]
    queues = {one["name"]: one for one in admin.listed(*within, "list", "queues")}
    assert set(queues) == {"billing", "shipping", "scratch", "dead"}
    assert queues["shipping"]["type"] == "quorum" and queues["shipping"]["arguments"]["x-delivery-limit"] == 3
    assert (queues["scratch"]["durable"], queues["scratch"]["auto_delete"]) == (False, True)
    admin(*within, "publish", "exchange=orders", "routing_key=orders.17.paid", "payload=x")
    depths = {one["name"]: one["messages"] for one in admin.listed(*within, "list", "queues")}
    assert depths == {"billing": 1, "shipping": 1, "scratch": 0, "dead": 0}
    admin("import", str(pathlib.Path(__file__).with_name("definitions_of_rabbitmq_3_10_8.json")))
    admin("delete", "vhost", "name=shop")
