package annals;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What all tests use: clients for the broker under test, fresh names, waiting with a limit, plain assertions. */
final class Kit {
    private Kit() {}

    static final String BROKER = System.getenv("ANNALS_KAFKA");

    /** Writing systems, a combining mark, right-to-left text, a letter outside the basic plane, and a NUL. */
    static final String UNICODE = "Grüße, Ἀθήνα, 東京, عربى, e\u0301, 🦀, \u0000 end";

    /** Something that is asked again and again until it is true. */
    interface Check {
        boolean holds() throws Exception;
    }

    static String fresh(String prefix) {
        return prefix + "-" + UUID.randomUUID().toString().replace("-", "").substring(0, 12);
    }

    static Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", BROKER));
    }

    /** Creates a topic with a fresh name; {@code config} alternates between keys and values. */
    static String makeTopic(int partitions, String... config) throws Exception {
        String name = fresh("topic");
        try (Admin admin = admin()) {
            NewTopic topic = new NewTopic(name, partitions, (short) 1).configs(pairs(config));
            get(admin.createTopics(List.of(topic)).all());
        }
        return name;
    }

    /** A producer of raw bytes; {@code config} alternates between keys and values. */
    static KafkaProducer<byte[], byte[]> producer(String... config) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", BROKER, "linger.ms", "5"));
        settings.putAll(pairs(config));
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** A consumer of raw bytes that starts at the beginning; {@code config} alternates between keys and values. */
    static KafkaConsumer<byte[], byte[]> consumer(String... config) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", BROKER));
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("heartbeat.interval.ms", "500");
        settings.putAll(pairs(config));
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static Map<String, String> pairs(String... config) {
        Map<String, String> map = new HashMap<>();
        for (int i = 0; i < config.length; i += 2) {
            map.put(config[i], config[i + 1]);
        }
        return map;
    }

    /** Sends all {@code values} and waits for every acknowledgement. */
    static void send(String topic, List<String> values, String... config) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(config)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (String value : values) {
                sent.add(producer.send(new ProducerRecord<>(topic, value.getBytes("UTF-8"))));
            }
            for (Future<RecordMetadata> one : sent) {
                get(one);
            }
        }
    }

    /** The numbers from {@code from} up to and without {@code to}, as text. */
    static List<String> numbers(int from, int to) {
        List<String> numbers = new ArrayList<>();
        for (int i = from; i < to; i++) {
            numbers.add(String.valueOf(i));
        }
        return numbers;
    }

    /** Polls at least {@code count} records; fails if they do not come. */
    static List<ConsumerRecord<byte[], byte[]>> poll(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.nanoTime() + Duration.ofSeconds(40).toNanos();
        while (records.size() < count) {
            check(System.nanoTime() < deadline, records.size() + " of " + count + " records in time");
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
        }
        return records;
    }

    /** Reads every record of a topic's partitions, from the beginning to the end as it is now. */
    static List<ConsumerRecord<byte[], byte[]>> readAll(String topic, int partitions) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            List<TopicPartition> assigned = partitions(topic, partitions);
            consumer.assign(assigned);
            consumer.seekToBeginning(assigned);
            Map<TopicPartition, Long> starts = consumer.beginningOffsets(assigned);
            Map<TopicPartition, Long> ends = consumer.endOffsets(assigned);
            long count = assigned.stream().mapToLong(partition -> ends.get(partition) - starts.get(partition)).sum();
            return poll(consumer, (int) count);
        }
    }

    static List<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            partitions.add(new TopicPartition(topic, i));
        }
        return partitions;
    }

    static List<String> values(List<ConsumerRecord<byte[], byte[]>> records) {
        List<String> values = new ArrayList<>();
        records.forEach(record -> values.add(new String(record.value(), java.nio.charset.StandardCharsets.UTF_8)));
        return values;
    }

    static <T> T get(Future<T> future) throws Exception {
        return future.get(40, TimeUnit.SECONDS);
    }

    /** Waits for an answer that is to be an error of the given class. */
    static void refused(Class<? extends Exception> error, Future<?> future) throws Exception {
        try {
            get(future);
        } catch (ExecutionException wrapped) {
            check(error.isInstance(wrapped.getCause()), "refused with " + wrapped.getCause());
            return;
        }
        throw new AssertionError("not refused with " + error.getSimpleName());
    }

    static void eventually(String what, Check check) throws Exception {
        long deadline = System.nanoTime() + Duration.ofSeconds(40).toNanos();
        while (!check.holds()) {
            check(System.nanoTime() < deadline, "in time: " + what);
            Thread.sleep(20);
        }
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError("expected " + what);
        }
    }

    static void same(Object expected, Object found) {
        boolean same = expected instanceof byte[]
                ? Arrays.equals((byte[]) expected, (byte[]) found)
                : Objects.equals(expected, found);
        check(same, expected + ", found " + found);
    }
}
