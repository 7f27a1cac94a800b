package annals;

import static annals.Kit.*;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What queues are and what they keep. */
final class QueueTests {
    private QueueTests() {}

    static void addTo(Map<String, Main.Test> tests) {
        tests.put("a queue is declared, counted, purged and deleted", with(QueueTests::lifecycle));
        tests.put("the server chooses a name that then needs not be said", with(QueueTests::chosenName));
        tests.put("an exclusive queue is locked, and goes with its connection", QueueTests::exclusive);
        tests.put("an exclusive queue cannot be had as a shared one", QueueTests::exclusiveAgain);
        tests.put("an auto-delete queue goes with its last consumer", with(QueueTests::autoDelete));
        tests.put("another declaration is refused", with(QueueTests::inequivalent));
        tests.put("arguments that make no sense are refused", with(QueueTests::arguments));
        tests.put("queues in use and queues with messages stay if that is asked for", with(QueueTests::conditions));
        tests.put("length limits drop, refuse and dead-letter", with(QueueTests::limits));
        tests.put("priorities are strict", with(QueueTests::priorities));
        tests.put("a queue expires, unless it is used", with(QueueTests::expiry));
        tests.put("a consumer learns that its queue is gone", with(QueueTests::gone));
        tests.put("one consumer is active, and then the next", with(QueueTests::singleActive));
        tests.put("quorum and classic queues are accepted", with(QueueTests::types));
    }

    private static void lifecycle(Channel channel) throws Exception {
        String queue = queue(channel);
        channel.confirmSelect();
        for (String body : List.of("a", "b", "c")) {
            send(channel, queue, body);
        }
        channel.waitForConfirmsOrDie(WITHIN_MS);
        AMQP.Queue.DeclareOk found = channel.queueDeclarePassive(queue);
        same(3, found.getMessageCount());
        same(0, found.getConsumerCount());
        same(3L, channel.messageCount(queue));
        same(3, channel.queuePurge(queue).getMessageCount());
        send(channel, queue, "d");
        channel.waitForConfirmsOrDie(WITHIN_MS);
        same(1, channel.queueDelete(queue).getMessageCount());
        same(0, channel.queueDelete(queue).getMessageCount());
    }

    private static void chosenName(Channel channel) throws Exception {
        String queue = channel.queueDeclare().getQueue();
        check(queue.startsWith("amq.gen-"), "a name of the server: " + queue);
        channel.queueBind("", "amq.direct", queue);
        channel.basicPublish("amq.direct", queue, PLAIN, bytes("x"));
        same("x", text(get(channel, "", true).getBody()));
        same("404 NOT_FOUND - no previously declared queue", closed(channel.getConnection(), other ->
                other.basicGet("", true)));
        same("403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'", closed(
                channel.getConnection(), other -> other.queueDeclare("amq.mine", false, false, false, null)));
    }

    private static String locked(String queue) {
        return "405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '" + queue + "' in vhost '/'. It "
                + "could be originally declared on another connection or the exclusive property value does not match "
                + "that of the original declaration.";
    }

    private static void exclusive() throws Exception {
        String queue = fresh("queue");
        try (Connection other = connect()) {
            try (Connection owner = connect()) {
                owner.createChannel().queueDeclare(queue, false, true, false, null);
                same(locked(queue), closed(other, channel -> channel.queueDeclarePassive(queue)));
                same(locked(queue), closed(other, channel -> channel.basicConsume(queue, new Collector(channel))));
                same(locked(queue), closed(other, channel -> channel.queueDelete(queue)));
                same(locked(queue), closed(other, channel -> channel.queueDeclare(queue, false, true, false, null)));
                // Another channel of the owner may.
                owner.createChannel().queueDeclarePassive(queue);
            }
            same("404 NOT_FOUND - no queue '" + queue + "' in vhost '/'", closed(other, channel ->
                    channel.queueDeclarePassive(queue)));
        }
    }

    private static void exclusiveAgain() throws Exception {
        try (Connection connection = connect()) {
            Channel channel = connection.createChannel();
            String queue = channel.queueDeclare(fresh("queue"), false, true, false, null).getQueue();
            same(locked(queue), closed(connection, other -> other.queueDeclare(queue, false, false, false, null)));
            String shared = channel.queueDeclare(fresh("queue"), false, false, false, null).getQueue();
            same(locked(shared), closed(connection, other -> other.queueDeclare(shared, false, true, false, null)));
            channel.queueDelete(shared);
        }
    }

    private static void autoDelete(Channel channel) throws Exception {
        String queue = channel.queueDeclare(fresh("queue"), false, false, true, null).getQueue();
        String gone = "404 NOT_FOUND - no queue '" + queue + "' in vhost '/'";
        Channel second = channel.getConnection().createChannel();
        Collector one = consume(channel, queue, true);
        consume(second, queue, true);
        channel.basicCancel(one.getConsumerTag());
        channel.queueDeclarePassive(queue);
        second.close();
        same(gone, closed(channel.getConnection(), other -> other.queueDeclarePassive(queue)));
    }

    private static void inequivalent(Channel channel) throws Exception {
        String queue = queue(channel, Map.of("x-max-length", 5));
        String start = "406 PRECONDITION_FAILED - inequivalent arg '";
        String end = "' for queue '" + queue + "' in vhost '/': ";
        same(start + "durable" + end + "received 'false' but current is 'true'", closed(
                channel.getConnection(), other ->
                        other.queueDeclare(queue, false, false, false, Map.of("x-max-length", 5))));
        same(start + "x-max-length" + end + "received '6' but current is '5'", closed(
                channel.getConnection(), other ->
                        other.queueDeclare(queue, true, false, false, Map.of("x-max-length", 6))));
        same(
                start + "x-max-length" + end + "received none but current is the value '5' of type 'signedint'",
                closed(channel.getConnection(), other -> other.queueDeclare(queue, true, false, false, null)));
        channel.queueDeclare(queue, true, false, false, Map.of("x-max-length", 5L));
    }

    private static void arguments(Channel channel) throws Exception {
        Map<Map<String, Object>, String> cases = new LinkedHashMap<>();
        cases.put(Map.of("x-message-ttl", -1), "x-message-ttl {value_negative,-1}");
        cases.put(Map.of("x-message-ttl", "soon"), "x-message-ttl \"expected integer, got longstr\"");
        cases.put(Map.of("x-expires", 0), "x-expires {value_zero,0}");
        cases.put(Map.of("x-expires", 1L << 40), "x-expires {value_too_large,1099511627776}");
        cases.put(Map.of("x-max-length", -1), "x-max-length {value_negative,-1}");
        cases.put(Map.of("x-max-length-bytes", "x"), "x-max-length-bytes \"expected integer, got longstr\"");
        cases.put(Map.of("x-max-priority", -1), "x-max-priority {value_negative,-1}");
        cases.put(Map.of("x-max-priority", 256), "x-max-priority {max_value_exceeded,256}");
        cases.put(Map.of("x-dead-letter-routing-key", "k"), "x-dead-letter-routing-key routing_key_but_no_dlx_defined");
        cases.put(Map.of("x-overflow", "spill"), "x-overflow invalid_overflow");
        cases.put(Map.of("x-queue-type", "odd"), "x-queue-type \"unsupported queue type 'odd'\"");
        cases.put(Map.of("x-single-active-consumer", 1), "x-single-active-consumer {unacceptable_type,signedint}");
        cases.put(Map.of("x-queue-mode", "odd"), "x-queue-mode \"unsupported queue mode 'odd'\"");
        for (Map.Entry<Map<String, Object>, String> one : cases.entrySet()) {
            String queue = fresh("queue");
            String[] words = one.getValue().split(" ", 2);
            String text = "406 PRECONDITION_FAILED - invalid arg '" + words[0] + "' for queue '" + queue
                    + "' in vhost '/': " + words[1];
            same(text, closed(channel.getConnection(), other ->
                    other.queueDeclare(queue, true, false, false, one.getKey())));
        }
    }

    private static void conditions(Channel channel) throws Exception {
        String queue = queue(channel);
        String shown = "406 PRECONDITION_FAILED - queue '" + queue + "' in vhost '/' ";
        channel.confirmSelect();
        send(channel, queue, "x");
        channel.waitForConfirmsOrDie(WITHIN_MS);
        same(shown + "not empty", closed(channel.getConnection(), other -> other.queueDelete(queue, false, true)));
        consume(channel, queue, true).next();
        same(shown + "in use", closed(channel.getConnection(), other -> other.queueDelete(queue, true, false)));
    }

    private static void limits(Channel channel) throws Exception {
        channel.confirmSelect();
        String drops = queue(channel, Map.of("x-max-length-bytes", 10));
        send(channel, drops, "12345");
        send(channel, drops, "67890");
        send(channel, drops, "abc");
        channel.waitForConfirmsOrDie(WITHIN_MS);
        same(List.of("67890", "abc"), drain(channel, drops));
        String refuses = queue(channel, Map.of("x-max-length", 1, "x-overflow", "reject-publish"));
        send(channel, refuses, "a");
        check(channel.waitForConfirms(WITHIN_MS), "a confirm");
        send(channel, refuses, "b");
        check(!channel.waitForConfirms(WITHIN_MS), "a refusal");
        same(List.of("a"), drain(channel, refuses));
        String dead = queue(channel);
        String keeps = queue(channel, Map.of("x-max-length", 1, "x-overflow", "reject-publish-dlx",
                "x-dead-letter-exchange", "", "x-dead-letter-routing-key", dead));
        send(channel, keeps, "a");
        check(channel.waitForConfirms(WITHIN_MS), "a confirm");
        send(channel, keeps, "b");
        check(!channel.waitForConfirms(WITHIN_MS), "a refusal");
        same("b", text(get(channel, dead, true).getBody()));
        same(List.of("a"), drain(channel, keeps));
    }

    private static void priorities(Channel channel) throws Exception {
        String queue = queue(channel, Map.of("x-max-priority", 10));
        channel.confirmSelect();
        for (int priority : new int[] {0, 10, 3, 200, 3}) {
            AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder().priority(priority).build();
            channel.basicPublish("", queue, properties, bytes(String.valueOf(priority)));
        }
        send(channel, queue, "none");
        channel.waitForConfirmsOrDie(WITHIN_MS);
        same(List.of("10", "200", "3", "3", "0", "none"), drain(channel, queue));
    }

    private static void expiry(Channel channel) throws Exception {
        String idle = queue(channel, Map.of("x-expires", 300));
        String used = queue(channel, Map.of("x-expires", 300));
        Collector consumer = consume(channel, used, true);
        eventually("the idle queue is gone", () -> {
            try (Channel other = channel.getConnection().createChannel()) {
                // Declaring it would be using it: this asks for something that it is not.
                other.queueBind(idle, "amq.direct", "k");
                Thread.sleep(100);
                return false;
            } catch (Exception gone) {
                return true;
            }
        });
        send(channel, used, "x");
        same("x", consumer.next().body());
    }

    private static void gone(Channel channel) throws Exception {
        String queue = queue(channel);
        Collector consumer = consume(channel, queue, true);
        channel.queueDelete(queue);
        same(consumer.getConsumerTag(), consumer.cancelled.get(WITHIN_MS, java.util.concurrent.TimeUnit.MILLISECONDS));
    }

    private static void singleActive(Channel channel) throws Exception {
        String queue = queue(channel, Map.of("x-single-active-consumer", true));
        Collector first = consume(channel, queue, true);
        Collector second = consume(channel, queue, true);
        send(channel, queue, "a");
        same("a", first.next().body());
        channel.basicCancel(first.getConsumerTag());
        send(channel, queue, "b");
        same("b", second.next().body());
        first.nothing();
    }

    private static void types(Channel channel) throws Exception {
        for (String type : List.of("classic", "quorum")) {
            String queue = queue(channel, Map.of("x-queue-type", type));
            send(channel, queue, "x");
            same("x", text(get(channel, queue, true).getBody()));
            String other = type.equals("classic") ? "quorum" : "classic";
            same(
                    "406 PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '" + queue
                            + "' in vhost '/': received '" + other + "' but current is '" + type + "'",
                    closed(channel.getConnection(), another ->
                            another.queueDeclare(queue, true, false, false, Map.of("x-queue-type", other))));
            channel.queueDelete(queue);
        }
    }
}
