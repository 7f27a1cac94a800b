"""amqpstorm's management client."""

import time

import pytest
import requests
from amqpstorm.management.exception import ApiError

from support import eventually, fresh


def test_the_server_tells_who_it_is(management):
    assert management.whoami() == {"name": "guest", "tags": ["administrator"]}
    overview = management.overview()
    assert overview["object_totals"]["exchanges"] >= 7
    assert {kind["name"] for kind in overview["exchange_types"]} >= {"direct", "fanout", "topic", "headers"}
    assert management.nodes()[0]["running"] is True
    assert management.aliveness_test("/") == {"status": "ok"}


def test_a_wrong_password_is_refused(management):
    from amqpstorm.management import ManagementApi

    stranger = ManagementApi(management.http_client._base_url.removesuffix("/api/"), "guest", "wrong")
    with pytest.raises(ApiError) as refused:
        stranger.whoami()
    assert refused.value.error_code == 401


def test_messages_go_in_and_come_out(management, queue):
    assert management.basic.publish("hello", queue, properties={"delivery_mode": 2, "headers": {"h": 1}}) == {
        "routed": True
    }
    assert management.basic.publish("nobody", fresh("nowhere")) == {"routed": False}
    looked = management.basic.get(queue, requeue=True, to_dict=True)
    assert (looked[0]["payload"], looked[0]["redelivered"]) == ("hello", False)
    assert looked[0]["properties"] == {"delivery_mode": 2, "headers": {"h": 1}}
    taken = management.basic.get(queue, requeue=False, to_dict=True)
    assert (taken[0]["payload"], taken[0]["redelivered"]) == ("hello", True)
    assert management.basic.get(queue, to_dict=True) == []


def test_a_queue_shows_its_counts_and_can_be_emptied(management, queue):
    for body in ["a", "b", "c"]:
        management.basic.publish(body, queue)
    shown = management.queue.get(queue)
    assert (shown["messages"], shown["messages_ready"], shown["consumers"]) == (3, 3, 0)
    assert shown["message_stats"]["publish"] == 3
    management.queue.purge(queue)
    assert management.queue.get(queue)["messages"] == 0


def test_a_queue_that_is_watched_shows_its_rates(management, queue):
    management.queue.get(queue)
    for number in range(50):
        management.basic.publish(str(number), queue)
    time.sleep(5.2)
    shown = management.queue.get(queue)
    rates = shown["message_stats"]["publish_details"]["rate"], shown["messages_details"]["rate"]
    assert 0 < rates[0] == rates[1] <= 50 / 5
    assert management.overview()["message_stats"]["publish_details"]["rate"] >= 0


def test_a_declaration_that_differs_is_refused_in_rabbitmqs_words(management, queue):
    with pytest.raises(ApiError) as refused:
        management.queue.declare(queue, durable=False)
    assert refused.value.error_code == 400
    # amqpstorm does not tell the reason.
    url = f"{management.http_client._base_url}/api/queues/%2F/{queue}"
    answer = requests.put(url, json={"durable": False}, auth=("guest", "guest"), timeout=20)
    assert f"inequivalent arg 'durable' for queue '{queue}' in vhost '/'" in answer.json()["reason"]
    with pytest.raises(ApiError) as missing:
        management.queue.get(fresh("nothing"))
    assert missing.value.error_code == 404


def test_bindings_route(management, queue, exchange):
    management.queue.bind(queue=queue, exchange=exchange, routing_key="orders.#")
    bindings = [one for one in management.queue.bindings(queue) if one["source"] == exchange]
    assert [(one["routing_key"], one["properties_key"]) for one in bindings] == [("orders.#", "orders.%23")]
    assert management.basic.publish("x", "orders.new", exchange=exchange)["routed"] is True
    management.queue.unbind(queue=queue, exchange=exchange, routing_key="orders.#", properties_key="orders.%23")
    assert management.basic.publish("x", "orders.new", exchange=exchange)["routed"] is False


def test_connections_channels_and_consumers_are_seen(management, connection, queue):
    channel = connection.channel()
    channel.basic_qos(prefetch_count=7)
    channel.confirm_delivery()
    channel.basic_consume(queue, lambda *_: None, consumer_tag="watcher")
    name = connection._impl.params.client_properties["connection_name"]
    seen = [one for one in management.connection.list() if one["user_provided_name"] == name]
    assert [(one["user"], one["vhost"], one["state"], one["channels"]) for one in seen] == [
        ("guest", "/", "running", 1)
    ]
    assert seen[0]["client_properties"]["product"] == "Pika Python Client Library"
    assert seen[0]["recv_oct"] > 0 and seen[0]["send_oct"] > 0
    channels = [one for one in management.channel.list() if one["connection_details"]["name"] == seen[0]["name"]]
    assert [(one["number"], one["prefetch_count"], one["confirm"], one["consumer_count"]) for one in channels] == [
        (1, 7, True, 1)
    ]
    consumers = management.queue.get(queue)["consumer_details"]
    assert [(one["consumer_tag"], one["ack_required"], one["channel_details"]["number"]) for one in consumers] == [
        ("watcher", True, 1)
    ]
    assert management.connection.get(seen[0]["name"])["name"] == seen[0]["name"]


def test_a_connection_is_sent_away(management, connection):
    import pika.exceptions

    name = connection._impl.params.client_properties["connection_name"]
    seen = next(one for one in management.connection.list() if one["user_provided_name"] == name)
    management.connection.close(seen["name"], reason="enough")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        while True:
            connection.process_data_events(time_limit=1)
    assert (closed.value.reply_code, closed.value.reply_text) == (320, "CONNECTION_FORCED - enough")
    eventually(lambda: all(one["name"] != seen["name"] for one in management.connection.list()))


def test_virtual_hosts_come_and_go(management):
    name = fresh("vhost")
    management.virtual_host.create(name)
    assert name in [one["name"] for one in management.virtual_host.list()]
    assert management.virtual_host.get_permissions(name)[0]["configure"] == ".*"
    management.virtual_host.delete(name)
    assert name not in [one["name"] for one in management.virtual_host.list()]


def test_lists_come_in_pages(management):
    names = sorted(fresh("paged") for _ in range(3))
    for name in names:
        management.queue.declare(name)
    page = management.http_client.get("queues?page=1&page_size=2&name=paged-&sort=name&columns=name")
    assert (page["filtered_count"], page["item_count"], page["page_count"]) == (3, 2, 2)
    assert [one for one in page["items"]] == [{"name": name} for name in names[:2]]
    for name in names:
        management.queue.delete(name)
