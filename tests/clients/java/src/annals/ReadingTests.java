package annals;

import static annals.Kit.*;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/** Reading from every place of a partition. */
final class ReadingTests {
    static void addTo(Map<String, Main.Test> tests) {
        tests.put("seek leads to any offset", ReadingTests::seek);
        tests.put("time leads to the first record at or after it", ReadingTests::byTime);
        tests.put("beginning and end frame the partition", ReadingTests::frame);
        tests.put("paused partition is silent and the other goes on", ReadingTests::pause);
        tests.put("offset out of range is reset as configured", ReadingTests::reset);
        tests.put("message larger than the fetch limit still arrives", ReadingTests::beyondTheFetchLimit);
        tests.put("many partitions are read in one fetch session", ReadingTests::manyPartitions);
        tests.put("consumer makes no topic where it must not", ReadingTests::noTopicMade);
    }

    /** A topic with one partition, and in it the numbers 0 to 99, stamped 1000, 1010, … 1990. */
    private static TopicPartition numbersTopic() throws Exception {
        String topic = makeTopic(1, "retention.ms", "-1");
        try (KafkaProducer<byte[], byte[]> producer = producer("linger.ms", "20")) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < 100; i++) {
                byte[] value = String.valueOf(i).getBytes();
                sent.add(producer.send(new ProducerRecord<>(topic, 0, 1000L + 10 * i, null, value)));
            }
            for (Future<RecordMetadata> one : sent) {
                get(one);
            }
        }
        return new TopicPartition(topic, 0);
    }

    private static void seek() throws Exception {
        TopicPartition partition = numbersTopic();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("max.poll.records", "2")) {
            consumer.assign(List.of(partition));
            for (int target : new int[] {50, 3, 98}) {
                consumer.seek(partition, target);
                same(numbers(target, target + 2), values(poll(consumer, 2)));
            }
            consumer.seekToEnd(List.of(partition));
            same(100L, consumer.position(partition));
            consumer.seekToBeginning(List.of(partition));
            same(numbers(0, 2), values(poll(consumer, 2)));
        }
    }

    private static void byTime() throws Exception {
        TopicPartition partition = numbersTopic();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            long[][] expected = {{0, 0}, {1000, 0}, {1005, 1}, {1570, 57}, {1990, 99}};
            for (long[] pair : expected) {
                same(pair[1], consumer.offsetsForTimes(Map.of(partition, pair[0])).get(partition).offset());
            }
            same(null, consumer.offsetsForTimes(Map.of(partition, 5000L)).get(partition));
        }
    }

    private static void frame() throws Exception {
        TopicPartition partition = numbersTopic();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            same(Map.of(partition, 0L), consumer.beginningOffsets(List.of(partition)));
            same(Map.of(partition, 100L), consumer.endOffsets(List.of(partition)));
            same(1, consumer.partitionsFor(partition.topic()).size());
        }
    }

    private static void pause() throws Exception {
        String topic = makeTopic(2);
        List<TopicPartition> partitions = partitions(topic, 2);
        try (KafkaProducer<byte[], byte[]> producer = producer();
                KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(partitions);
            consumer.pause(partitions.subList(0, 1));
            get(producer.send(new ProducerRecord<>(topic, 0, null, "paused".getBytes())));
            get(producer.send(new ProducerRecord<>(topic, 1, null, "flows".getBytes())));
            same(List.of("flows"), values(poll(consumer, 1)));
            same(0, consumer.poll(Duration.ofSeconds(1)).count());
            consumer.resume(partitions.subList(0, 1));
            same(List.of("paused"), values(poll(consumer, 1)));
        }
    }

    private static void reset() throws Exception {
        TopicPartition partition = numbersTopic();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("auto.offset.reset", "earliest")) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 5000);
            same(numbers(0, 100), values(poll(consumer, 100)));
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("auto.offset.reset", "none")) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 5000);
            eventually("the error", () -> {
                try {
                    return consumer.poll(Duration.ofMillis(200)).count() < 0;
                } catch (OffsetOutOfRangeException expected) {
                    return expected.offsetOutOfRangePartitions().get(partition) == 5000L;
                }
            });
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("auto.offset.reset", "latest")) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 5000);
            eventually("the end", () -> {
                same(0, consumer.poll(Duration.ofMillis(100)).count());
                return consumer.position(partition) == 100;
            });
            send(partition.topic(), List.of("100"));
            same(List.of("100"), values(poll(consumer, 1)));
        }
    }

    private static void beyondTheFetchLimit() throws Exception {
        String topic = makeTopic(1);
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            for (int i = 0; i < 2; i++) {
                get(producer.send(new ProducerRecord<>(topic, new byte[500_000])));
            }
        }
        String[] config = {"max.partition.fetch.bytes", "1000", "fetch.max.bytes", "1000"};
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(config)) {
            consumer.assign(partitions(topic, 1));
            poll(consumer, 2).forEach(record -> same(500_000, record.value().length));
        }
    }

    /** Only partitions with news are in an incremental answer; a partition that was forgotten is asked for again. */
    private static void manyPartitions() throws Exception {
        String topic = makeTopic(20);
        List<TopicPartition> partitions = partitions(topic, 20);
        try (KafkaProducer<byte[], byte[]> producer = producer();
                KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(partitions);
            for (int round = 0; round < 3; round++) {
                for (int i = 0; i < 20; i += 1 + round) {
                    get(producer.send(new ProducerRecord<>(topic, i, null, String.valueOf(i).getBytes())));
                }
                int expected = (20 + round) / (1 + round);
                same(expected, poll(consumer, expected).size());
                consumer.assign(partitions.subList(0, 10));
                consumer.poll(Duration.ofMillis(100));
                consumer.assign(partitions);
                consumer.seekToEnd(partitions);
                partitions.forEach(consumer::position);
            }
        }
    }

    private static void noTopicMade() throws Exception {
        String topic = fresh("absent");
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("allow.auto.create.topics", "false");
                var admin = admin()) {
            consumer.assign(partitions(topic, 1));
            same(0, consumer.poll(Duration.ofSeconds(1)).count());
            check(!get(admin.listTopics().names()).contains(topic), "no topic");
        }
    }
}
