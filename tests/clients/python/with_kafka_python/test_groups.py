"""Consumer groups with kafka-python."""

import pytest
from kafka import TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.structs import OffsetAndMetadata

from reading import poll
from support import eventually, fresh

ASSIGNORS = [
    RangePartitionAssignor,
    RoundRobinPartitionAssignor,
    StickyPartitionAssignor,
    CooperativeStickyAssignor,
]


def settle(consumers, partitions):
    """Polls all `consumers` until they share all `partitions` among them, each with at least one."""

    def settled():
        for consumer in consumers:
            consumer.poll(timeout_ms=100)
        shares = [{partition.partition for partition in consumer.assignment()} for consumer in consumers]
        return all(shares) and sorted(sum(map(sorted, shares), [])) == list(range(partitions)) and shares

    return eventually(settled, within_s=40, every_s=0)


def send(producer, topic, values):
    for value in values:
        producer.send(topic, value)
    producer.flush()


@pytest.mark.parametrize("assignor", ASSIGNORS, ids=lambda assignor: assignor.name)
def test_members_share_the_partitions_and_take_over_what_is_left(make_topic, make_consumer, assignor):
    topic, group = make_topic(partitions=4), fresh("group")
    settings = {"group_id": group, "partition_assignment_strategy": [assignor], "heartbeat_interval_ms": 500}
    first = make_consumer(**settings)
    first.subscribe([topic])
    settle([first], 4)
    second = make_consumer(**settings)
    second.subscribe([topic])
    assert [len(share) for share in settle([first, second], 4)] == [2, 2]
    second.close()
    settle([first], 4)


def test_a_static_member_comes_back_to_its_partitions(make_topic, make_consumer):
    topic, group = make_topic(partitions=4), fresh("group")
    settings = {"group_id": group, "heartbeat_interval_ms": 500, "session_timeout_ms": 30_000}
    stays = make_consumer(group_instance_id="stays", **settings)
    stays.subscribe([topic])
    leaves = make_consumer(group_instance_id="leaves", **settings)
    leaves.subscribe([topic])
    kept, share = settle([stays, leaves], 4)
    leaves.close()
    returns = make_consumer(group_instance_id="leaves", **settings)
    returns.subscribe([topic])
    assert settle([stays, returns], 4) == [kept, share]


def test_a_restarted_consumer_goes_on_where_it_committed(make_topic, make_producer, make_consumer):
    topic, group = make_topic(), fresh("group")
    send(make_producer(), topic, [b"%d" % i for i in range(10)])
    first = make_consumer(group_id=group, enable_auto_commit=False)
    first.subscribe([topic])
    poll(first, 4)
    first.commit()
    poll(first, 2)
    first.close()
    second = make_consumer(group_id=group, enable_auto_commit=False)
    second.subscribe([topic])
    assert [record.value for record in poll(second, 6)] == [b"%d" % i for i in range(4, 10)]


def test_the_metadata_of_a_commit_is_kept(make_topic, make_producer, make_consumer):
    topic, group = make_topic(), fresh("group")
    send(make_producer(), topic, [b"a", b"b"])
    partition = TopicPartition(topic, 0)
    consumer = make_consumer(group_id=group, enable_auto_commit=False)
    consumer.assign([partition])
    consumer.commit({partition: OffsetAndMetadata(1, "note: ünï", -1)})
    found = make_consumer(group_id=group).committed(partition, metadata=True)
    assert (found.offset, found.metadata) == (1, "note: ünï")


def test_groups_are_listed_described_and_deleted(admin, make_topic, make_consumer):
    topic, group = make_topic(), fresh("group")
    member = make_consumer(group_id=group, client_id="who-i-am")
    member.subscribe([topic])
    settle([member], 1)
    member.commit({TopicPartition(topic, 0): OffsetAndMetadata(0, "", -1)})
    assert group in [entry["group_id"] for entry in admin.list_groups()]
    described = admin.describe_groups([group])[group]
    assert described["group_state"] == "Stable"
    assert [entry["client_id"] for entry in described["members"]] == ["who-i-am"]
    assert deletion(admin, group) == "NonEmptyGroupError"
    member.close()
    assert deletion(admin, group) is None
    assert group not in [entry["group_id"] for entry in admin.list_groups()]
    assert deletion(admin, group) == "GroupIdNotFoundError"


def deletion(admin, group):
    """Asks for the deletion of `group` and returns the name of the error, or None."""
    answer = admin.delete_groups([group])[group]
    return None if answer == "OK" else answer


def test_offsets_of_a_group_are_listed_altered_and_deleted(admin, make_topic):
    topic, group = make_topic(partitions=2), fresh("group")
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    admin.alter_group_offsets(group, {first: OffsetAndMetadata(3, "a", -1), second: OffsetAndMetadata(7, "", -1)})
    offsets = admin.list_group_offsets({group: None})[group]
    assert (offsets[first].offset, offsets[first].metadata, offsets[second].offset) == (3, "a", 7)
    admin.delete_group_offsets(group, [first])
    offsets = admin.list_group_offsets({group: None})[group]
    assert set(offsets) == {second}
