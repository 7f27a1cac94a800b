package annals;

import static annals.Kit.*;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;

/** Consumer groups: who reads what, what happens when members come and go, and what they remember. */
final class GroupTests {
    static void addTo(Map<String, Main.Test> tests) {
        for (String assignor : List.of("Range", "RoundRobin", "Sticky", "CooperativeSticky")) {
            tests.put("members share the partitions: " + assignor, () -> membersShare(assignor));
        }
        tests.put("static member comes back to its partitions", GroupTests::staticMember);
        tests.put("second member with the same instance id fences the first", GroupTests::fenced);
        tests.put("silent member is replaced after its session", GroupTests::silentMember);
        tests.put("restarted consumer goes on where it committed", GroupTests::restart);
        tests.put("metadata of a commit is kept", GroupTests::commitMetadata);
        tests.put("groups are listed, described and deleted", GroupTests::lifeOfAGroup);
        tests.put("offsets of a group are altered and deleted", GroupTests::offsets);
    }

    private static KafkaConsumer<byte[], byte[]> member(String topic, String... config) {
        KafkaConsumer<byte[], byte[]> member = consumer(config);
        member.subscribe(List.of(topic));
        return member;
    }

    /** Polls all members until they share all partitions among them, each with at least one. */
    @SafeVarargs
    private static List<Set<TopicPartition>> settle(int partitions, KafkaConsumer<byte[], byte[]>... members)
            throws Exception {
        List<Set<TopicPartition>> shares = new ArrayList<>();
        eventually("the members share " + partitions + " partitions", () -> {
            shares.clear();
            for (KafkaConsumer<byte[], byte[]> member : members) {
                member.poll(Duration.ofMillis(100));
                shares.add(Set.copyOf(member.assignment()));
            }
            Set<TopicPartition> all = new HashSet<>();
            shares.forEach(all::addAll);
            int held = shares.stream().mapToInt(Set::size).sum();
            return all.size() == partitions && held == partitions && shares.stream().noneMatch(Set::isEmpty);
        });
        return List.copyOf(shares);
    }

    private static void membersShare(String assignor) throws Exception {
        String topic = makeTopic(4);
        String strategy = "org.apache.kafka.clients.consumer." + assignor + "Assignor";
        String[] config = {"group.id", fresh("group"), "partition.assignment.strategy", strategy};
        try (KafkaConsumer<byte[], byte[]> first = member(topic, config)) {
            settle(4, first);
            try (KafkaConsumer<byte[], byte[]> second = member(topic, config)) {
                settle(4, first, second).forEach(share -> same(2, share.size()));
            }
            settle(4, first);
        }
    }

    private static void staticMember() throws Exception {
        String topic = makeTopic(4);
        String group = fresh("group");
        List<String> rebalances = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> stays = consumer("group.id", group, "group.instance.id", "stays")) {
            stays.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    rebalances.add("revoked");
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    rebalances.add("assigned");
                }
            });
            Set<TopicPartition> share;
            try (var leaves = member(topic, "group.id", group, "group.instance.id", "leaves")) {
                share = settle(4, stays, leaves).get(1);
            }
            List<String> before = List.copyOf(rebalances);
            try (var returns = member(topic, "group.id", group, "group.instance.id", "leaves")) {
                same(share, settle(4, stays, returns).get(1));
            }
            same(before, rebalances);
        }
    }

    private static void fenced() throws Exception {
        String topic = makeTopic(1);
        String[] config = {"group.id", fresh("group"), "group.instance.id", "one"};
        try (KafkaConsumer<byte[], byte[]> first = member(topic, config)) {
            settle(1, first);
            try (KafkaConsumer<byte[], byte[]> second = member(topic, config)) {
                settle(1, second);
                eventually("the first is fenced", () -> {
                    try {
                        return first.poll(Duration.ofMillis(100)).count() < 0;
                    } catch (FencedInstanceIdException expected) {
                        return true;
                    }
                });
            }
        }
    }

    /** A static member sends no leave request when it closes, so for the others it has just fallen silent. */
    private static void silentMember() throws Exception {
        String topic = makeTopic(2);
        String group = fresh("group");
        try (var survivor = member(topic, "group.id", group, "session.timeout.ms", "6000")) {
            String[] config = {"group.id", group, "session.timeout.ms", "6000", "group.instance.id", "silent"};
            try (var silent = member(topic, config)) {
                settle(2, survivor, silent);
            }
            settle(2, survivor);
        }
    }

    private static void restart() throws Exception {
        String topic = makeTopic(1);
        String[] config = {"group.id", fresh("group"), "max.poll.records", "2"};
        send(topic, numbers(0, 10));
        try (KafkaConsumer<byte[], byte[]> first = member(topic, config)) {
            poll(first, 4);
            first.commitSync();
            poll(first, 2);
        }
        try (KafkaConsumer<byte[], byte[]> second = member(topic, config)) {
            same(numbers(4, 10), values(poll(second, 6)));
        }
    }

    private static void commitMetadata() throws Exception {
        String topic = makeTopic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        String group = fresh("group");
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("group.id", group)) {
            consumer.assign(List.of(partition));
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(1, "note: ünï")));
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("group.id", group)) {
            OffsetAndMetadata found = consumer.committed(Set.of(partition)).get(partition);
            same(1L, found.offset());
            same("note: ünï", found.metadata());
        }
    }

    private static boolean listed(Admin admin, String group) throws Exception {
        return get(admin.listConsumerGroups().all()).stream().anyMatch(entry -> entry.groupId().equals(group));
    }

    private static void lifeOfAGroup() throws Exception {
        String topic = makeTopic(2);
        String group = fresh("group");
        try (Admin admin = admin()) {
            try (var member = member(topic, "group.id", group, "client.id", "who-i-am")) {
                settle(2, member);
                member.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(0)));
                check(listed(admin, group), "the group in the list");
                ConsumerGroupDescription described =
                        get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
                same("range", described.partitionAssignor());
                same(1, described.members().size());
                var only = described.members().iterator().next();
                same("who-i-am", only.clientId());
                same(Set.copyOf(partitions(topic, 2)), only.assignment().topicPartitions());
                refused(GroupNotEmptyException.class, admin.deleteConsumerGroups(List.of(group)).all());
            }
            get(admin.deleteConsumerGroups(List.of(group)).all());
            check(!listed(admin, group), "no group in the list");
            refused(GroupIdNotFoundException.class, admin.deleteConsumerGroups(List.of(group)).all());
        }
    }

    private static void offsets() throws Exception {
        String topic = makeTopic(2);
        String group = fresh("group");
        TopicPartition first = new TopicPartition(topic, 0);
        TopicPartition second = new TopicPartition(topic, 1);
        try (Admin admin = admin()) {
            var wanted = Map.of(first, new OffsetAndMetadata(3), second, new OffsetAndMetadata(7));
            get(admin.alterConsumerGroupOffsets(group, wanted).all());
            same(wanted, get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()));
            get(admin.deleteConsumerGroupOffsets(group, Set.of(first)).all());
            same(
                    Map.of(second, new OffsetAndMetadata(7)),
                    get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()));
            try (var member = member(topic, "group.id", group)) {
                settle(2, member);
                refused(
                        GroupSubscribedToTopicException.class,
                        admin.deleteConsumerGroupOffsets(group, Set.of(second)).all());
            }
        }
    }
}
