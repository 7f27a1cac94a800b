package annals;

import static annals.Kit.*;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;

/** What is sent arrives as it was sent, however it was sent, or is refused by name. */
final class RecordTests {
    static void addTo(Map<String, Main.Test> tests) {
        for (String compression : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            for (String acks : List.of("0", "1", "all")) {
                tests.put("records read back: " + compression + ", acks " + acks, () -> readBack(compression, acks));
            }
        }
        tests.put("keys, headers, timestamps and nulls are kept", RecordTests::everythingKept);
        tests.put("text of every writing system survives", RecordTests::unicode);
        tests.put("broker stamps the time where the topic says so", RecordTests::logAppendTime);
        tests.put("idempotent producer keeps order for each key", RecordTests::orderForEachKey);
        tests.put("large messages pass and too large ones are refused", RecordTests::large);
        tests.put("compacted topic refuses a record without a key", RecordTests::compacted);
        tests.put("topic is made by its first record", RecordTests::autoCreated);
    }

    private static void readBack(String compression, String acks) throws Exception {
        String topic = makeTopic(1);
        List<String> values = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            values.add(i + ":" + "repetition ".repeat(20));
        }
        String idempotence = String.valueOf(acks.equals("all"));
        send(topic, values, "compression.type", compression, "acks", acks, "enable.idempotence", idempotence);
        // With acks 0 nobody said that the records have arrived yet.
        eventually("all records are there", () -> readAll(topic, 1).size() == 200);
        List<ConsumerRecord<byte[], byte[]>> records = readAll(topic, 1);
        same(values, values(records));
        for (int i = 0; i < 200; i++) {
            same((long) i, records.get(i).offset());
        }
    }

    private static void everythingKept() throws Exception {
        String topic = makeTopic(1, "retention.ms", "-1");
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            var full = new ProducerRecord<>(topic, 0, 1_234_567_890_123L, bytes("k"), bytes("v"));
            full.headers().add("trace", bytes("1")).add("trace", bytes("2")).add("empty", new byte[0]);
            full.headers().add("null", null).add("ünï", bytes(UNICODE));
            RecordMetadata sent = get(producer.send(full));
            same(0L, sent.offset());
            same(1_234_567_890_123L, sent.timestamp());
            get(producer.send(new ProducerRecord<>(topic, bytes("tombstone"), null)));
            get(producer.send(new ProducerRecord<>(topic, null, new byte[0])));
        }
        List<ConsumerRecord<byte[], byte[]>> records = readAll(topic, 1);
        ConsumerRecord<byte[], byte[]> full = records.get(0);
        same(bytes("k"), full.key());
        same(bytes("v"), full.value());
        same(1_234_567_890_123L, full.timestamp());
        Header[] headers = full.headers().toArray();
        same(
                List.of("trace", "trace", "empty", "null", "ünï"),
                Arrays.stream(headers).map(Header::key).toList());
        same(bytes("1"), headers[0].value());
        same(bytes("2"), headers[1].value());
        same(0, headers[2].value().length);
        same(null, headers[3].value());
        same(bytes(UNICODE), headers[4].value());
        same(null, records.get(1).value());
        same(null, records.get(2).key());
        same(0, records.get(2).value().length);
    }

    private static void unicode() throws Exception {
        String topic = makeTopic(1);
        send(topic, List.of(UNICODE));
        same(List.of(UNICODE), values(readAll(topic, 1)));
    }

    private static void logAppendTime() throws Exception {
        String topic = makeTopic(1, "message.timestamp.type", "LogAppendTime");
        long before = System.currentTimeMillis();
        long answered;
        try (KafkaProducer<byte[], byte[]> producer = producer("compression.type", "gzip")) {
            answered = get(producer.send(new ProducerRecord<>(topic, 0, 1000L, null, bytes("v")))).timestamp();
        }
        ConsumerRecord<byte[], byte[]> record = readAll(topic, 1).get(0);
        same(TimestampType.LOG_APPEND_TIME, record.timestampType());
        same(answered, record.timestamp());
        check(record.timestamp() >= before - 1000, "the broker's time, not " + record.timestamp());
    }

    private static void orderForEachKey() throws Exception {
        String topic = makeTopic(4);
        try (KafkaProducer<byte[], byte[]> producer = producer("compression.type", "lz4")) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < 20_000; i++) {
                byte[] key = bytes("key-" + i % 97);
                sent.add(producer.send(new ProducerRecord<>(topic, key, bytes(String.valueOf(i)))));
            }
            for (Future<RecordMetadata> one : sent) {
                get(one);
            }
        }
        Map<String, Integer> lastSeen = new HashMap<>();
        HashSet<Integer> partitions = new HashSet<>();
        List<ConsumerRecord<byte[], byte[]>> records = readAll(topic, 4);
        for (ConsumerRecord<byte[], byte[]> record : records) {
            int number = Integer.parseInt(new String(record.value(), StandardCharsets.UTF_8));
            Integer before = lastSeen.put(new String(record.key(), StandardCharsets.UTF_8), number);
            check(before == null || before < number, "no step back from " + before + " to " + number);
            partitions.add(record.partition());
        }
        same(20_000, records.size());
        same(4, partitions.size());
    }

    private static void large() throws Exception {
        String topic = makeTopic(1);
        try (KafkaProducer<byte[], byte[]> producer = producer("max.request.size", "10000000")) {
            get(producer.send(new ProducerRecord<>(topic, new byte[950_000])));
            refused(RecordTooLargeException.class, producer.send(new ProducerRecord<>(topic, new byte[2_000_000])));
        }
        same(950_000, readAll(topic, 1).get(0).value().length);
        String wide = makeTopic(1, "max.message.bytes", "5000000");
        try (KafkaProducer<byte[], byte[]> producer = producer("max.request.size", "10000000")) {
            get(producer.send(new ProducerRecord<>(wide, new byte[3_000_000])));
        }
        same(3_000_000, readAll(wide, 1).get(0).value().length);
    }

    private static void compacted() throws Exception {
        String topic = makeTopic(1, "cleanup.policy", "compact");
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            refused(InvalidRecordException.class, producer.send(new ProducerRecord<>(topic, bytes("no key"))));
            get(producer.send(new ProducerRecord<>(topic, bytes("k"), bytes("v"))));
        }
        same(List.of("v"), values(readAll(topic, 1)));
    }

    private static void autoCreated() throws Exception {
        String topic = fresh("auto");
        send(topic, List.of("first"));
        same(List.of("first"), values(readAll(topic, 1)));
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
