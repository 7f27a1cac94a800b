"""Consumer groups: who reads what, what happens when members come and go, and what they remember."""

import signal
import subprocess
import sys

import pytest
from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import NewPartitions

from reading import poll
from support import broker, eventually, fresh

STRATEGIES = ["range", "roundrobin", "cooperative-sticky"]


def partitions_of(consumer):
    return {partition.partition for partition in consumer.assignment()}


def settle(consumers, partitions):
    """Polls all `consumers` until they share all `partitions` among them, each with at least one."""

    def settled():
        for consumer in consumers:
            message = consumer.poll(0.1)
            assert message is None or message.error() is None, message.error()
        shares = [partitions_of(consumer) for consumer in consumers]
        return all(shares) and sorted(sum(map(sorted, shares), [])) == list(range(partitions)) and shares

    return eventually(settled, within_s=40, every_s=0)


def committed(consumer, topic, partition=0):
    (found,) = consumer.committed([TopicPartition(topic, partition)], timeout=20)
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_members_share_the_partitions_and_take_over_what_is_left(make_topic, make_consumer, strategy):
    topic, group = make_topic(partitions=4), fresh("group")
    settings = {"group_id": group, "partition_assignment_strategy": strategy}
    first, second = make_consumer(**settings), make_consumer(**settings)
    first.subscribe([topic])
    settle([first], 4)
    second.subscribe([topic])
    shares = settle([first, second], 4)
    assert [len(share) for share in shares] == [2, 2]
    second.close()
    settle([first], 4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_record_is_read_through_a_rebalance(make_topic, make_producer, make_consumer, strategy):
    topic, group = make_topic(partitions=4), fresh("group")
    settings = {
        "group_id": group,
        "partition_assignment_strategy": strategy,
        "enable_auto_commit": False,
    }
    members = [make_consumer(**settings) for _ in range(3)]
    sender = make_producer()
    seen = set()
    for round_number, member in enumerate(members):
        member.subscribe([topic])
        for i in range(200):
            sender.queue(topic, f"{round_number}-{i}", key=str(i))
        sender.flush()
        wanted = {f"{r}-{i}" for r in range(round_number + 1) for i in range(200)}

        def read():
            for consumer in members[: round_number + 1]:
                for message in consumer.consume(500, timeout=0.1):
                    assert message.error() is None, message.error()
                    seen.add(message.value().decode())
                    try:
                        consumer.commit(message, asynchronous=True)
                    except KafkaException as error:
                        # The partition may have just gone to another member, which then reads the record again.
                        assert error.args[0].retriable() or error.args[0].code() < 100
            return wanted <= seen

        eventually(read, within_s=40, every_s=0)


def test_a_killed_member_is_replaced_after_its_session(make_topic, make_consumer):
    topic, group = make_topic(partitions=2), fresh("group")
    program = (
        "from confluent_kafka import Consumer\n"
        f"c = Consumer({{'bootstrap.servers': {broker()!r}, 'group.id': {group!r}, 'session.timeout.ms': 6000}})\n"
        f"c.subscribe([{topic!r}], on_assign=lambda c, p: print('assigned', flush=True))\n"
        "while True: c.poll(0.1)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "assigned\n"
        survivor = make_consumer(group_id=group, session_timeout_ms=6000)
        survivor.subscribe([topic])
        eventually(lambda: survivor.poll(0.1) is None and len(partitions_of(survivor)) == 1, within_s=30)
        child.send_signal(signal.SIGKILL)
        settle([survivor], 2)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_static_member_comes_back_to_its_partitions(make_topic, make_consumer):
    topic, group = make_topic(partitions=4), fresh("group")
    settings = {"group_id": group, "session_timeout_ms": 30_000}
    rebalances = []
    stays = make_consumer(group_instance_id="stays", **settings)
    stays.subscribe(
        [topic],
        on_assign=lambda _, partitions: rebalances.append("assign"),
        on_revoke=lambda _, partitions: rebalances.append("revoke"),
    )
    leaves = make_consumer(group_instance_id="leaves", **settings)
    leaves.subscribe([topic])
    settle([stays, leaves], 4)
    share, before = partitions_of(leaves), list(rebalances)

    leaves.close()
    returns = make_consumer(group_instance_id="leaves", **settings)
    returns.subscribe([topic])
    eventually(lambda: returns.poll(0.1) is None and stays.poll(0.1) is None and partitions_of(returns) == share)
    assert rebalances == before, "the other member noticed nothing"


def test_a_second_member_with_the_same_instance_id_fences_the_first(make_topic, make_consumer):
    topic, group = make_topic(), fresh("group")
    first = make_consumer(group_id=group, group_instance_id="one")
    first.subscribe([topic])
    settle([first], 1)
    second = make_consumer(group_id=group, group_instance_id="one")
    second.subscribe([topic])

    def fenced():
        second.poll(0.1)
        message = first.poll(0.1)
        return message is not None and message.error() and message.error().code()

    assert eventually(fenced, within_s=40) in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID)


def test_a_restarted_consumer_goes_on_where_it_committed(make_topic, make_producer, make_consumer):
    topic, group = make_topic(), fresh("group")
    make_producer().send(topic, [str(i) for i in range(10)])
    first = make_consumer(group_id=group, enable_auto_commit=False)
    first.subscribe([topic])
    messages = poll(first, 4)
    first.commit(messages[-1], asynchronous=False)
    assert len(poll(first, 2)) == 2, "read and not committed"
    first.close()

    second = make_consumer(group_id=group, enable_auto_commit=False)
    second.subscribe([topic])
    assert [message.value() for message in poll(second, 6)] == [b"%d" % i for i in range(4, 10)]


def test_offsets_are_committed_by_themselves_on_close(make_topic, make_producer, make_consumer):
    topic, group = make_topic(), fresh("group")
    make_producer().send(topic, ["a", "b", "c"])
    consumer = make_consumer(group_id=group)
    consumer.subscribe([topic])
    poll(consumer, 3)
    consumer.close()
    assert committed(make_consumer(group_id=group), topic).offset == 3


def test_the_metadata_of_a_commit_is_kept(make_topic, make_producer, make_consumer):
    topic, group = make_topic(), fresh("group")
    make_producer().send(topic, ["a", "b"])
    consumer = make_consumer(group_id=group, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, 0, 0)])
    consumer.commit(offsets=[TopicPartition(topic, 0, 1, "note: ünï")], asynchronous=False)
    found = committed(make_consumer(group_id=group), topic)
    assert (found.offset, found.metadata) == (1, "note: ünï")


def test_groups_are_listed_and_described(make_topic, make_consumer, admin):
    topic, group = make_topic(partitions=2), fresh("group")
    member = make_consumer(group_id=group, client_id="who-i-am", partition_assignment_strategy="roundrobin")
    member.subscribe([topic])
    settle([member], 2)
    listed = admin.list_consumer_groups().result(20)
    assert listed.errors == [] and group in [entry.group_id for entry in listed.valid]

    described = admin.describe_consumer_groups([group])[group].result(20)
    assert described.state == ConsumerGroupState.STABLE
    assert described.partition_assignor == "roundrobin"
    (description,) = described.members
    assert description.client_id == "who-i-am"
    partitions = description.assignment.topic_partitions
    assert sorted((partition.topic, partition.partition) for partition in partitions) == [(topic, 0), (topic, 1)]


def test_offsets_of_a_group_are_listed_altered_and_deleted_with_it(make_topic, make_consumer, admin):
    topic, group = make_topic(partitions=2), fresh("group")
    consumer = make_consumer(group_id=group)
    wanted = [TopicPartition(topic, 0, 3), TopicPartition(topic, 1, 7)]
    consumer.commit(offsets=wanted, asynchronous=False)
    consumer.close()

    def offsets():
        request = [ConsumerGroupTopicPartitions(group)]
        answer = admin.list_consumer_group_offsets(request)[group].result(20)
        return sorted((partition.partition, partition.offset) for partition in answer.topic_partitions)

    assert offsets() == [(0, 3), (1, 7)]
    altered = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 1, 5)])
    admin.alter_consumer_group_offsets([altered])[group].result(20)
    assert offsets() == [(0, 3), (1, 5)]

    admin.delete_consumer_groups([group])[group].result(20)
    assert group not in [entry.group_id for entry in admin.list_consumer_groups().result(20).valid]
    assert committed(make_consumer(group_id=group), topic).offset < 0


def test_a_group_with_members_is_not_deleted(make_topic, make_consumer, admin):
    topic, group = make_topic(), fresh("group")
    member = make_consumer(group_id=group)
    member.subscribe([topic])
    settle([member], 1)
    with pytest.raises(KafkaException) as caught:
        admin.delete_consumer_groups([group])[group].result(20)
    assert caught.value.args[0].code() == KafkaError.NON_EMPTY_GROUP


def test_deleting_an_unknown_group_is_refused(admin):
    group = fresh("group")
    with pytest.raises(KafkaException) as caught:
        admin.delete_consumer_groups([group])[group].result(20)
    assert caught.value.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND


def test_added_partitions_reach_the_group(make_topic, make_consumer, admin):
    topic = make_topic(partitions=1)
    member = make_consumer(topic_metadata_refresh_interval_ms=1000)
    member.subscribe([topic])
    settle([member], 1)
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(20)
    settle([member], 3)
