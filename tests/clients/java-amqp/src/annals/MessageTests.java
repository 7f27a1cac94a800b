package annals;

import static annals.Kit.*;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcClientParams;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListSet;

/** Bodies, properties, confirms, acknowledgements, limits, transactions, replies. */
final class MessageTests {
    private MessageTests() {}

    static void addTo(Map<String, Main.Test> tests) {
        tests.put("every property and every kind of header comes back", with(MessageTests::properties));
        tests.put("bodies of all sizes come back", with(MessageTests::sizes));
        tests.put("everything is confirmed", with(MessageTests::confirms));
        tests.put("prefetch limits each consumer, and a channel as a whole", with(MessageTests::prefetch));
        tests.put("deliveries are acknowledged, rejected and given back", with(MessageTests::settling));
        tests.put("what is not acknowledged comes again when its channel is closed", with(MessageTests::redelivery));
        tests.put("a cancelled consumer keeps what it has", with(MessageTests::cancelled));
        tests.put("tags that nobody knows end the channel", with(MessageTests::unknownTags));
        tests.put("recover gives all back", with(MessageTests::recover));
        tests.put("exclusive consumers are alone", with(MessageTests::exclusive));
        tests.put("consumers with a higher priority come first", with(MessageTests::consumerPriorities));
        tests.put("a transaction happens when it is committed", with(MessageTests::transactions));
        tests.put("transactions and confirms do not go together", with(MessageTests::modes));
        tests.put("replies come straight back", with(MessageTests::replies));
        tests.put("copies go where CC and BCC say", with(MessageTests::copies));
        tests.put("thousands that a dead consumer held come again", MessageTests::deadConsumer);
    }

    private static void properties(Channel channel) throws Exception {
        Map<String, Object> headers = new HashMap<>();
        headers.put("text", "Grüße 🦀");
        headers.put("yes", true);
        headers.put("none", null);
        headers.put("byte", (byte) -7);
        headers.put("short", (short) -300);
        headers.put("int", 70_000);
        headers.put("long", 1L << 40);
        headers.put("float", 1.5f);
        headers.put("double", 0.1);
        headers.put("decimal", new BigDecimal("-12.345"));
        headers.put("time", new Date(1_700_000_000_000L));
        headers.put("bytes", new byte[] {0, -1});
        headers.put("list", Arrays.asList(1, true, Map.of("a", 2L)));
        headers.put("nested", Map.of("deep", Map.of("er", 3)));
        AMQP.BasicProperties sent = new AMQP.BasicProperties("text/plain", "utf-8", headers, 2, 4, "c", "r", "60000",
                "m", new Date(1_700_000_001_000L), "t", "guest", "a", null);
        String queue = queue(channel);
        channel.basicPublish("", queue, sent, bytes("x"));
        AMQP.BasicProperties found = get(channel, queue, true).getProps();
        Map<String, Object> came = new HashMap<>();
        found.getHeaders().forEach((name, value) -> came.put(name, plain(value)));
        same(headers.keySet(), came.keySet());
        headers.forEach((name, value) -> same(value, came.get(name)));
        same(sent.builder().headers(null).build(), found.builder().headers(null).build());
    }

    private static Object plain(Object value) {
        if (value instanceof LongString text) {
            return text.toString();
        }
        return value;
    }

    private static void sizes(Channel channel) throws Exception {
        String queue = queue(channel);
        for (int size : new int[] {0, 1, 131_063, 131_064, 131_065, 262_128, 5_000_000, 16 * 1024 * 1024}) {
            byte[] body = new byte[size];
            Arrays.fill(body, (byte) size);
            channel.basicPublish("", queue, PERSISTENT, body);
            same(body, get(channel, queue, true).getBody());
        }
    }

    private static void confirms(Channel channel) throws Exception {
        String queue = queue(channel);
        ConcurrentSkipListSet<Long> open = new ConcurrentSkipListSet<>();
        channel.confirmSelect();
        channel.addConfirmListener(
                (tag, multiple) -> {
                    if (multiple) {
                        open.headSet(tag, true).clear();
                    } else {
                        open.remove(tag);
                    }
                },
                (tag, multiple) -> {});
        for (int i = 0; i < 1000; i++) {
            open.add(channel.getNextPublishSeqNo());
            AMQP.BasicProperties properties = i % 2 == 0 ? PERSISTENT : PLAIN;
            channel.basicPublish("", i % 10 == 0 ? "nowhere" : queue, properties, bytes("x"));
        }
        eventually("all confirms", open::isEmpty);
        same(1001L, channel.getNextPublishSeqNo());
        same(900L, channel.messageCount(queue));
    }

    private static void prefetch(Channel channel) throws Exception {
        String queue = queue(channel);
        for (int i = 0; i < 20; i++) {
            send(channel, queue, String.valueOf(i));
        }
        channel.basicQos(2);
        Collector first = consume(channel, queue, false);
        same(List.of("0", "1"), first.bodies(2));
        channel.basicQos(3);
        Collector second = consume(channel, queue, false);
        same(List.of("2", "3", "4"), second.bodies(3));
        first.nothing();
        second.nothing();
        Channel whole = channel.getConnection().createChannel();
        whole.basicQos(4, true);
        Collector third = consume(whole, queue, false);
        Collector fourth = consume(whole, queue, false);
        eventually("four deliveries", () -> third.taken.size() + fourth.taken.size() == 4);
        nothingMore(third, fourth, 4);
        // A limit for each consumer and one for the channel hold together.
        Channel both = channel.getConnection().createChannel();
        both.basicQos(2, false);
        both.basicQos(3, true);
        Collector fifth = consume(both, queue, false);
        fifth.bodies(2);
        fifth.nothing();
        Collector sixth = consume(both, queue, false);
        sixth.bodies(1);
        sixth.nothing();
    }

    private static void settling(Channel channel) throws Exception {
        String queue = queue(channel);
        for (String body : List.of("a", "b", "c", "d", "e")) {
            send(channel, queue, body);
        }
        Collector consumer = consume(channel, queue, false);
        List<Delivery> taken = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            taken.add(consumer.next());
        }
        channel.basicCancel(consumer.getConsumerTag());
        channel.basicAck(taken.get(1).tag(), true);
        channel.basicReject(taken.get(2).tag(), false);
        channel.basicNack(taken.get(4).tag(), true, true);
        GetResponse again = get(channel, queue, true);
        same("d", text(again.getBody()));
        check(again.getEnvelope().isRedeliver(), "a message that comes again");
        same(List.of("e"), drain(channel, queue));
    }

    private static void redelivery(Channel channel) throws Exception {
        String queue = queue(channel);
        Channel other = channel.getConnection().createChannel();
        for (String body : List.of("a", "b", "c")) {
            send(channel, queue, body);
        }
        Collector consumer = consume(other, queue, false);
        consumer.next();
        other.basicAck(consumer.next().tag(), false);
        consumer.next();
        other.close();
        GetResponse first = get(channel, queue, true);
        check(first.getEnvelope().isRedeliver(), "a message that comes again");
        same("a", text(first.getBody()));
        same(List.of("c"), drain(channel, queue));
    }

    private static void cancelled(Channel channel) throws Exception {
        String queue = queue(channel);
        send(channel, queue, "x");
        Collector consumer = consume(channel, queue, false);
        Delivery delivery = consumer.next();
        channel.basicCancel(consumer.getConsumerTag());
        same(null, channel.basicGet(queue, true));
        channel.basicNack(delivery.tag(), false, true);
        same("x", text(get(channel, queue, true).getBody()));
    }

    private static void unknownTags(Channel channel) throws Exception {
        Connection connection = channel.getConnection();
        String text = "406 PRECONDITION_FAILED - unknown delivery tag ";
        same(text + 5, closed(connection, other -> other.basicAck(5, false)));
        same(text + 5, closed(connection, other -> other.basicAck(5, true)));
        same(text + 0, closed(connection, other -> other.basicAck(0, false)));
        same(text + 1, closed(connection, other -> other.basicReject(1, true)));
        same(text + 7, closed(connection, other -> other.basicNack(7, true, false)));
        // All of nothing is nothing.
        channel.basicAck(0, true);
        channel.basicNack(0, true, true);
        channel.queueDeclare();
        String queue = queue(channel);
        send(channel, queue, "x");
        same(text + 1, closed(connection, other -> {
            long tag = get(other, queue, false).getEnvelope().getDeliveryTag();
            other.basicAck(tag, false);
            other.basicAck(tag, false);
        }));
        send(channel, queue, "x");
        same(text + 1, closed(connection, other -> {
            get(other, queue, true);
            other.basicAck(1, false);
        }));
    }

    private static void recover(Channel channel) throws Exception {
        String queue = queue(channel);
        send(channel, queue, "a");
        send(channel, queue, "b");
        channel.basicQos(2);
        Collector consumer = consume(channel, queue, false);
        same(List.of("a", "b"), consumer.bodies(2));
        channel.basicRecover(true);
        Delivery first = consumer.next();
        same("a", first.body());
        check(first.envelope().isRedeliver() && first.tag() == 3, "a delivery of its own");
        same("b", consumer.next().body());
    }

    private static void exclusive(Channel channel) throws Exception {
        String queue = queue(channel);
        String text = "403 ACCESS_REFUSED - queue '" + queue + "' in vhost '/' in exclusive use";
        Connection connection = channel.getConnection();
        channel.basicConsume(queue, true, "mine", false, true, null, new Collector(channel));
        same(text, closed(connection, other -> consume(other, queue, true)));
        channel.basicCancel("mine");
        consume(channel, queue, true);
        same(text, closed(connection, other ->
                other.basicConsume(queue, true, "", false, true, null, new Collector(other))));
    }

    private static void consumerPriorities(Channel channel) throws Exception {
        String queue = queue(channel);
        Collector low = consume(channel, queue, true);
        Channel other = channel.getConnection().createChannel();
        other.basicQos(1);
        Collector high = new Collector(other);
        other.basicConsume(queue, false, Map.of("x-priority", 10), high);
        send(channel, queue, "a");
        same("a", high.next().body());
        // The higher one is full.
        send(channel, queue, "b");
        same("b", low.next().body());
        other.basicAck(1, false);
        send(channel, queue, "c");
        same("c", high.next().body());
        same("406 PRECONDITION_FAILED - invalid arg 'x-priority' for queue '" + queue + "' in vhost '/': "
                + "\"expected integer, got longstr\"", closed(channel.getConnection(), third ->
                third.basicConsume(queue, false, Map.of("x-priority", "high"), new Collector(third))));
    }

    private static void transactions(Channel channel) throws Exception {
        String queue = queue(channel);
        send(channel, queue, "old");
        Channel other = channel.getConnection().createChannel();
        channel.txSelect();
        GetResponse old = get(channel, queue, false);
        channel.basicAck(old.getEnvelope().getDeliveryTag(), false);
        send(channel, queue, "a");
        same(0L, other.messageCount(queue));
        channel.txRollback();
        same(0L, other.messageCount(queue));
        // The acknowledgement was taken back as well.
        channel.basicAck(old.getEnvelope().getDeliveryTag(), false);
        send(channel, queue, "b");
        send(channel, queue, "c");
        channel.txCommit();
        same(List.of("b", "c"), drain(other, queue));
        channel.close();
        same(0L, other.messageCount(queue));
    }

    private static void modes(Channel channel) throws Exception {
        Connection connection = channel.getConnection();
        same("406 PRECONDITION_FAILED - channel is not transactional", closed(connection, Channel::txCommit));
        same("406 PRECONDITION_FAILED - channel is not transactional", closed(connection, Channel::txRollback));
        same("406 PRECONDITION_FAILED - cannot switch from tx to confirm mode", closed(connection, other -> {
            other.txSelect();
            other.confirmSelect();
        }));
        same("406 PRECONDITION_FAILED - cannot switch from confirm to tx mode", closed(connection, other -> {
            other.confirmSelect();
            other.txSelect();
        }));
    }

    private static void replies(Channel channel) throws Exception {
        String requests = queue(channel);
        Channel server = channel.getConnection().createChannel();
        server.basicConsume(requests, true, (tag, request) -> {
            AMQP.BasicProperties properties = request.getProperties();
            AMQP.BasicProperties reply =
                    new AMQP.BasicProperties.Builder().correlationId(properties.getCorrelationId()).build();
            server.basicPublish("", properties.getReplyTo(), reply, bytes("re: " + text(request.getBody())));
        }, tag -> {});
        RpcClient client = new RpcClient(new RpcClientParams()
                .channel(channel).exchange("").routingKey(requests).replyTo("amq.rabbitmq.reply-to").timeout(WITHIN_MS));
        for (int i = 0; i < 10; i++) {
            same("re: " + i, text(client.primitiveCall(bytes(String.valueOf(i)))));
        }
        client.close();
        Connection connection = channel.getConnection();
        AMQP.BasicProperties asking = new AMQP.BasicProperties.Builder().replyTo("amq.rabbitmq.reply-to").build();
        same("406 PRECONDITION_FAILED - fast reply consumer does not exist", closed(connection, other ->
                other.basicPublish("", "q", asking, new byte[0])));
        same("406 PRECONDITION_FAILED - reply consumer cannot acknowledge", closed(connection, other ->
                other.basicConsume("amq.rabbitmq.reply-to", false, new Collector(other))));
        same("406 PRECONDITION_FAILED - reply consumer already set", closed(connection, other -> {
            other.basicConsume("amq.rabbitmq.reply-to", true, new Collector(other));
            other.basicConsume("amq.rabbitmq.reply-to", true, new Collector(other));
        }));
    }

    private static void copies(Channel channel) throws Exception {
        List<String> queues = List.of(queue(channel), queue(channel), queue(channel));
        Map<String, Object> headers = Map.of("CC", List.of(queues.get(1)), "BCC", List.of(queues.get(2)));
        AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder().headers(headers).build();
        channel.basicPublish("", queues.get(0), properties, bytes("x"));
        for (String queue : queues) {
            same(Collections.singleton("CC"), get(channel, queue, true).getProps().getHeaders().keySet());
        }
        AMQP.BasicProperties wrong = properties.builder().headers(Map.of("CC", "not a list")).build();
        same("406 PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}", closed(
                channel.getConnection(), other -> other.basicPublish("", "q", wrong, new byte[0])));
    }

    private static void deadConsumer() throws Exception {
        int count = 5000;
        try (Connection connection = connect()) {
            Channel channel = connection.createChannel();
            String queue = queue(channel);
            for (int i = 0; i < count; i++) {
                send(channel, queue, String.valueOf(i));
            }
            Connection doomed = connect();
            Collector collector = consume(doomed.createChannel(), queue, false);
            eventually("all deliveries", () -> collector.taken.size() == count);
            doomed.abort(0);
            Collector heir = consume(channel, queue, true);
            for (int i = 0; i < count; i++) {
                Delivery delivery = heir.next();
                same(String.valueOf(i), delivery.body());
                check(delivery.envelope().isRedeliver(), "a message that comes again");
            }
            heir.nothing();
        }
    }
}
