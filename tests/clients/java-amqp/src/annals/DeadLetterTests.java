package annals;

import static annals.Kit.*;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.GetResponse;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Messages that end where they were not sent to: rejected, expired, too many, delivered too often. */
final class DeadLetterTests {
    private DeadLetterTests() {}

    static void addTo(Map<String, Main.Test> tests) {
        tests.put("a dead letter tells how it died", with(DeadLetterTests::history));
        tests.put("every reason is told", with(DeadLetterTests::reasons));
        tests.put("deaths are counted on the way round", with(DeadLetterTests::counts));
        tests.put("a time to live is that of the queue or of the message, the shorter", with(DeadLetterTests::ttl));
        tests.put("a message that expires at once reaches who waits for it", with(DeadLetterTests::ttlZero));
        tests.put("a time to live that is none is refused", with(DeadLetterTests::badTtl));
        tests.put("without an exchange the dead are gone", with(DeadLetterTests::nowhere));
        tests.put("a circle of expiries ends", with(DeadLetterTests::cycle));
        tests.put("a delivery limit ends the circle", with(DeadLetterTests::deliveryLimit));
    }

    /** A queue whose dead letters go to another under the key {@code dead}. */
    private static String[] pair(Channel channel, Map<String, Object> arguments) throws Exception {
        String dead = queue(channel);
        Map<String, Object> all = new HashMap<>(arguments);
        all.put("x-dead-letter-exchange", "");
        all.put("x-dead-letter-routing-key", dead);
        return new String[] {queue(channel, all), dead};
    }

    @SuppressWarnings("unchecked")
    private static List<Map<String, Object>> deaths(AMQP.BasicProperties properties) {
        return (List<Map<String, Object>>) properties.getHeaders().get("x-death");
    }

    private static Map<String, Object> first(AMQP.BasicProperties properties) {
        Map<String, Object> death = new TreeMap<>();
        deaths(properties).get(0).forEach((name, value) ->
                death.put(name, value instanceof com.rabbitmq.client.LongString text ? text.toString() : value));
        return death;
    }

    private static void history(Channel channel) throws Exception {
        String[] queues = pair(channel, Map.of());
        AMQP.BasicProperties properties =
                new AMQP.BasicProperties.Builder().messageId("m").headers(Map.of("mine", 1)).build();
        channel.queueBind(queues[0], "amq.direct", queues[0] + ".key");
        channel.basicPublish("amq.direct", queues[0] + ".key", properties, bytes("x"));
        channel.basicReject(get(channel, queues[0], false).getEnvelope().getDeliveryTag(), false);
        GetResponse found = get(channel, queues[1], true);
        same("x", text(found.getBody()));
        same("", found.getEnvelope().getExchange());
        same(queues[1], found.getEnvelope().getRoutingKey());
        check(!found.getEnvelope().isRedeliver(), "a message that is new in its queue");
        same("m", found.getProps().getMessageId());
        same(1, found.getProps().getHeaders().get("mine"));
        Map<String, Object> death = first(found.getProps());
        check(death.remove("time") instanceof Date, "a time");
        check(death.remove("routing-keys").toString().equals("[" + queues[0] + ".key]"), "the key");
        same(Map.of("count", 1L, "exchange", "amq.direct", "queue", queues[0], "reason", "rejected"), death);
        same(queues[0], found.getProps().getHeaders().get("x-first-death-queue").toString());
        same("rejected", found.getProps().getHeaders().get("x-first-death-reason").toString());
        same("amq.direct", found.getProps().getHeaders().get("x-first-death-exchange").toString());
    }

    private static void reasons(Channel channel) throws Exception {
        String[] full = pair(channel, Map.of("x-max-length", 1));
        send(channel, full[0], "a");
        send(channel, full[0], "b");
        same("maxlen", first(get(channel, full[1], true).getProps()).get("reason"));
        String[] slow = pair(channel, Map.of("x-message-ttl", 20));
        send(channel, slow[0], "a");
        same("expired", first(get(channel, slow[1], true).getProps()).get("reason"));
        String[] nacked = pair(channel, Map.of());
        send(channel, nacked[0], "a");
        send(channel, nacked[0], "b");
        get(channel, nacked[0], false);
        channel.basicNack(get(channel, nacked[0], false).getEnvelope().getDeliveryTag(), true, false);
        same("rejected", first(get(channel, nacked[1], true).getProps()).get("reason"));
        same("b", text(get(channel, nacked[1], true).getBody()));
    }

    private static void counts(Channel channel) throws Exception {
        String wait = fresh("wait");
        String work = queue(channel, Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", wait));
        channel.queueDeclare(wait, true, false, false, Map.of(
                "x-message-ttl", 20, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", work));
        send(channel, work, "x");
        channel.basicReject(get(channel, work, false).getEnvelope().getDeliveryTag(), false);
        for (long round = 1; round <= 3; round++) {
            GetResponse found = get(channel, work, false);
            List<Map<String, Object>> deaths = deaths(found.getProps());
            same(2, deaths.size());
            // The latest death comes first.
            same("expired", deaths.get(0).get("reason").toString());
            same(round, deaths.get(0).get("count"));
            same("rejected", deaths.get(1).get("reason").toString());
            same(round, deaths.get(1).get("count"));
            same("rejected", found.getProps().getHeaders().get("x-first-death-reason").toString());
            channel.basicReject(found.getEnvelope().getDeliveryTag(), false);
        }
    }

    private static void ttl(Channel channel) throws Exception {
        String[] queues = pair(channel, Map.of("x-message-ttl", 60_000));
        AMQP.BasicProperties soon = new AMQP.BasicProperties.Builder().expiration("30").build();
        channel.basicPublish("", queues[0], soon, bytes("soon"));
        GetResponse dead = get(channel, queues[1], true);
        same("30", first(dead.getProps()).get("original-expiration"));
        same(null, dead.getProps().getExpiration());
        String[] quick = pair(channel, Map.of("x-message-ttl", 30));
        AMQP.BasicProperties late = new AMQP.BasicProperties.Builder().expiration("60000").build();
        channel.basicPublish("", quick[0], late, bytes("late"));
        same("60000", first(get(channel, quick[1], true).getProps()).get("original-expiration"));
    }

    private static void ttlZero(Channel channel) throws Exception {
        String[] queues = pair(channel, Map.of("x-message-ttl", 0));
        send(channel, queues[0], "too early");
        same("too early", text(get(channel, queues[1], true).getBody()));
        Collector consumer = consume(channel, queues[0], true);
        send(channel, queues[0], "x");
        same("x", consumer.next().body());
    }

    private static void badTtl(Channel channel) throws Exception {
        Map<String, String> cases = Map.of(
                "soon", "no_integer",
                "", "no_integer",
                "10s", "{leftover_string,\"s\"}",
                "-1", "{value_negative,-1}",
                "999999999999", "{value_too_large,999999999999}");
        cases.forEach((expiration, reason) -> {
            AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder().expiration(expiration).build();
            String text = "406 PRECONDITION_FAILED - invalid expiration '" + expiration + "': " + reason;
            try {
                same(text, closed(channel.getConnection(), other ->
                        other.basicPublish("", "nowhere", properties, new byte[0])));
            } catch (Exception problem) {
                throw new AssertionError(problem);
            }
        });
    }

    private static void nowhere(Channel channel) throws Exception {
        String queue = queue(channel, Map.of("x-dead-letter-exchange", fresh("nowhere"), "x-message-ttl", 20));
        channel.confirmSelect();
        send(channel, queue, "x");
        channel.waitForConfirmsOrDie(WITHIN_MS);
        eventually("an empty queue", () -> channel.messageCount(queue) == 0);
        same(null, channel.basicGet(queue, true));
    }

    private static void cycle(Channel channel) throws Exception {
        String queue = fresh("queue");
        channel.queueDeclare(queue, true, false, false, Map.of(
                "x-message-ttl", 20, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", queue));
        send(channel, queue, "x");
        // It would come back to the queue in which it expired, without anybody having looked at it.
        eventually("an empty queue", () -> channel.messageCount(queue) == 0);
        Thread.sleep(100);
        same(0L, channel.messageCount(queue));
    }

    private static void deliveryLimit(Channel channel) throws Exception {
        String[] queues = pair(channel, Map.of("x-queue-type", "quorum", "x-delivery-limit", 2));
        send(channel, queues[0], "x");
        for (int round = 0; round < 3; round++) {
            GetResponse found = get(channel, queues[0], false);
            Map<String, Object> headers = found.getProps().getHeaders();
            Object count = headers == null ? null : headers.get("x-delivery-count");
            same(round == 0 ? null : (long) round, count == null ? null : ((Number) count).longValue());
            channel.basicNack(found.getEnvelope().getDeliveryTag(), false, true);
        }
        GetResponse dead = get(channel, queues[1], true);
        same("delivery_limit", first(dead.getProps()).get("reason"));
    }
}
