package annals;

import static annals.Kit.*;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Topics, configurations and what an administrator asks about them. */
final class TopicTests {
    static void addTo(Map<String, Main.Test> tests) {
        tests.put("topic is created, listed, described and deleted", TopicTests::lifeOfATopic);
        tests.put("topic creation answers with its shape", TopicTests::creationAnswers);
        tests.put("topic that is only validated is not created", TopicTests::validateOnly);
        tests.put("topics that cannot be are refused", TopicTests::impossibleTopics);
        tests.put("topic is described and deleted by its id", TopicTests::byId);
        tests.put("topic configs are described and altered one by one", TopicTests::configs);
        tests.put("broker configs are described", TopicTests::brokerConfigs);
        tests.put("partitions are added and never removed", TopicTests::partitionsAdded);
        tests.put("deleted records are gone and the rest stays", TopicTests::recordsDeleted);
        tests.put("offsets are listed by kind and time", TopicTests::offsetsListed);
        tests.put("cluster describes itself", TopicTests::cluster);
        tests.put("log directories and producers are described", TopicTests::insides);
    }

    private static TopicDescription describe(Admin admin, String topic) throws Exception {
        return get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
    }

    private static void lifeOfATopic() throws Exception {
        String topic = makeTopic(3);
        try (Admin admin = admin()) {
            check(get(admin.listTopics().names()).contains(topic), "the topic in the list");
            TopicDescription described = describe(admin, topic);
            same(3, described.partitions().size());
            described.partitions().forEach(partition -> same(List.of(partition.leader()), partition.isr()));
            get(admin.deleteTopics(List.of(topic)).all());
            eventually("the topic is gone", () -> !get(admin.listTopics().names()).contains(topic));
        }
    }

    private static void creationAnswers() throws Exception {
        String topic = fresh("topic");
        try (Admin admin = admin()) {
            NewTopic request = new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "86400000"));
            CreateTopicsResult created = admin.createTopics(List.of(request));
            same(2, get(created.numPartitions(topic)));
            same(1, get(created.replicationFactor(topic)));
            same("86400000", get(created.config(topic)).get("retention.ms").value());
            same(describe(admin, topic).topicId(), get(created.topicId(topic)));
        }
    }

    private static void validateOnly() throws Exception {
        String topic = fresh("topic");
        try (Admin admin = admin()) {
            List<NewTopic> request = List.of(new NewTopic(topic, 1, (short) 1));
            get(admin.createTopics(request, new CreateTopicsOptions().validateOnly(true)).all());
            check(!get(admin.listTopics().names()).contains(topic), "no topic");
        }
    }

    private static void impossibleTopics() throws Exception {
        String topic = makeTopic(1);
        short one = 1;
        try (Admin admin = admin()) {
            refused(TopicExistsException.class, admin.createTopics(List.of(new NewTopic(topic, 1, one))).all());
            refused(InvalidTopicException.class, admin.createTopics(List.of(new NewTopic("a b", 1, one))).all());
            NewTopic empty = new NewTopic(fresh("topic"), 0, one);
            refused(InvalidPartitionsException.class, admin.createTopics(List.of(empty)).all());
            NewTopic odd = new NewTopic(fresh("topic"), 1, one).configs(Map.of("no.such.config", "1"));
            refused(InvalidConfigurationException.class, admin.createTopics(List.of(odd)).all());
            refused(UnknownTopicOrPartitionException.class, admin.deleteTopics(List.of(fresh("topic"))).all());
            refused(
                    UnknownTopicOrPartitionException.class,
                    admin.describeTopics(List.of(fresh("topic"))).allTopicNames());
        }
    }

    private static void byId() throws Exception {
        String topic = makeTopic(1);
        try (Admin admin = admin()) {
            TopicCollection ids = TopicCollection.ofTopicIds(List.of(describe(admin, topic).topicId()));
            same(topic, get(admin.describeTopics(ids).allTopicIds()).values().iterator().next().name());
            get(admin.deleteTopics(ids).all());
            eventually("the topic is gone", () -> !get(admin.listTopics().names()).contains(topic));
        }
    }

    private static void configs() throws Exception {
        String topic = makeTopic(1, "retention.ms", "86400000", "max.message.bytes", "2000000");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = admin()) {
            Collection<AlterConfigOp> changes = List.of(
                    new AlterConfigOp(new ConfigEntry("retention.ms", null), AlterConfigOp.OpType.DELETE),
                    new AlterConfigOp(new ConfigEntry("retention.bytes", "5000000"), AlterConfigOp.OpType.SET),
                    new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND));
            get(admin.incrementalAlterConfigs(Map.of(resource, changes)).all());
            Config config = get(admin.describeConfigs(List.of(resource)).all()).get(resource);
            same("604800000", config.get("retention.ms").value());
            check(config.get("retention.ms").isDefault(), "the default again");
            same("5000000", config.get("retention.bytes").value());
            same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config.get("retention.bytes").source());
            same("2000000", config.get("max.message.bytes").value());
            same(Set.of("compact", "delete"), Set.of(config.get("cleanup.policy").value().split(",")));

            Collection<AlterConfigOp> wrong = List.of(
                    new AlterConfigOp(new ConfigEntry("cleanup.policy", "shred"), AlterConfigOp.OpType.SET));
            refused(
                    InvalidConfigurationException.class,
                    admin.incrementalAlterConfigs(Map.of(resource, wrong)).all());
        }
    }

    private static void brokerConfigs() throws Exception {
        try (Admin admin = admin()) {
            String node = get(admin.describeCluster().nodes()).iterator().next().idString();
            ConfigResource resource = new ConfigResource(ConfigResource.Type.BROKER, node);
            Config config = get(admin.describeConfigs(List.of(resource)).all()).get(resource);
            check(!config.entries().isEmpty(), "some configs");
        }
    }

    private static void partitionsAdded() throws Exception {
        String topic = makeTopic(1);
        try (Admin admin = admin()) {
            get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all());
            eventually("four partitions", () -> describe(admin, topic).partitions().size() == 4);
            refused(
                    InvalidPartitionsException.class,
                    admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all());
        }
    }

    private static void recordsDeleted() throws Exception {
        String topic = makeTopic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        send(topic, numbers(0, 10));
        try (Admin admin = admin()) {
            var deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(7)));
            same(7L, get(deleted.lowWatermarks().get(partition)).lowWatermark());
            same(numbers(7, 10), values(readAll(topic, 1)));
            refused(
                    OffsetOutOfRangeException.class,
                    admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(99))).all());
        }
    }

    private static void offsetsListed() throws Exception {
        String topic = makeTopic(1, "retention.ms", "-1");
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            for (long timestamp : new long[] {1000, 2000, 5000, 3000}) {
                get(producer.send(new ProducerRecord<>(topic, 0, timestamp, null, new byte[1])));
            }
        }
        try (Admin admin = admin()) {
            same(0L, offset(admin, topic, OffsetSpec.earliest()).offset());
            same(4L, offset(admin, topic, OffsetSpec.latest()).offset());
            same(2L, offset(admin, topic, OffsetSpec.maxTimestamp()).offset());
            same(5000L, offset(admin, topic, OffsetSpec.maxTimestamp()).timestamp());
            same(1L, offset(admin, topic, OffsetSpec.forTimestamp(1500)).offset());
            same(2000L, offset(admin, topic, OffsetSpec.forTimestamp(1500)).timestamp());
            same(-1L, offset(admin, topic, OffsetSpec.forTimestamp(9000)).offset());
        }
    }

    private static ListOffsetsResultInfo offset(Admin admin, String topic, OffsetSpec spec) throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        return get(admin.listOffsets(Map.of(partition, spec)).partitionResult(partition));
    }

    private static void cluster() throws Exception {
        try (Admin admin = admin()) {
            var cluster = admin.describeCluster();
            check(!get(cluster.clusterId()).isEmpty(), "a cluster id");
            same(1, get(cluster.nodes()).size());
            same(get(cluster.nodes()).iterator().next(), get(cluster.controller()));
        }
    }

    private static void insides() throws Exception {
        String topic = makeTopic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        send(topic, numbers(0, 3), "enable.idempotence", "true");
        try (Admin admin = admin()) {
            var states = get(admin.describeProducers(List.of(partition)).partitionResult(partition));
            same(1, states.activeProducers().size());
            ProducerState state = states.activeProducers().get(0);
            same(2, state.lastSequence());
            same(0, state.producerEpoch());

            int node = get(admin.describeCluster().nodes()).iterator().next().id();
            var folders = get(admin.describeLogDirs(List.of(node)).allDescriptions()).get(node);
            long sizes = folders.values().stream()
                    .filter(folder -> folder.replicaInfos().containsKey(partition))
                    .mapToLong(folder -> folder.replicaInfos().get(partition).size())
                    .sum();
            check(sizes > 0, "a size above zero");
        }
    }
}
