package annals;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DefaultConsumer;
import com.rabbitmq.client.Envelope;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.Method;
import com.rabbitmq.client.ShutdownSignalException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** What all tests use: connections to the broker under test, fresh names, waiting with a limit, plain assertions. */
final class Kit {
    private Kit() {}

    static final String HOST = System.getenv("ANNALS_AMQP").split(":")[0];
    static final int PORT = Integer.parseInt(System.getenv("ANNALS_AMQP").split(":")[1]);
    static final int WITHIN_MS = 20_000;
    static final AMQP.BasicProperties PLAIN = new AMQP.BasicProperties();
    static final AMQP.BasicProperties PERSISTENT = new AMQP.BasicProperties.Builder().deliveryMode(2).build();

    /** Something that is asked again and again until it is true. */
    interface Check {
        boolean holds() throws Exception;
    }

    /** Work on a channel that the test opens and closes. */
    interface Work {
        void on(Channel channel) throws Exception;
    }

    static String fresh(String prefix) {
        return prefix + "-" + UUID.randomUUID().toString().replace("-", "").substring(0, 12);
    }

    static ConnectionFactory factory() {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(HOST);
        factory.setPort(PORT);
        factory.setAutomaticRecoveryEnabled(false);
        return factory;
    }

    static Connection connect() throws Exception {
        return factory().newConnection();
    }

    /** A test that is given a channel of a connection of its own. */
    static Main.Test with(Work work) {
        return () -> {
            try (Connection connection = connect()) {
                work.on(connection.createChannel());
            }
        };
    }

    /** A durable queue with a fresh name. */
    static String queue(Channel channel, Map<String, Object> arguments) throws Exception {
        return channel.queueDeclare(fresh("queue"), true, false, false, arguments).getQueue();
    }

    static String queue(Channel channel) throws Exception {
        return queue(channel, null);
    }

    /** A queue that is bound to an exchange. */
    static String bound(Channel channel, String exchange, String key, Map<String, Object> arguments) throws Exception {
        String queue = queue(channel);
        channel.queueBind(queue, exchange, key, arguments);
        return queue;
    }

    static String bound(Channel channel, String exchange, String key) throws Exception {
        return bound(channel, exchange, key, null);
    }

    static void send(Channel channel, String queue, String body) throws Exception {
        channel.basicPublish("", queue, PERSISTENT, bytes(body));
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    /** Fetches a message; fails if none comes. */
    static GetResponse get(Channel channel, String queue, boolean autoAck) throws Exception {
        GetResponse[] found = new GetResponse[1];
        eventually("a message in " + queue, () -> (found[0] = channel.basicGet(queue, autoAck)) != null);
        return found[0];
    }

    /** The bodies of all messages of a queue, which is then empty. */
    static List<String> drain(Channel channel, String queue) throws Exception {
        List<String> bodies = new ArrayList<>();
        for (GetResponse next = channel.basicGet(queue, true); next != null; next = channel.basicGet(queue, true)) {
            bodies.add(text(next.getBody()));
        }
        return bodies;
    }

    /** A delivery as it came. */
    record Delivery(Envelope envelope, AMQP.BasicProperties properties, String body) {
        long tag() {
            return envelope.getDeliveryTag();
        }
    }

    /** Collects deliveries, and whether it was cancelled by the broker. */
    static final class Collector extends DefaultConsumer {
        final LinkedBlockingQueue<Delivery> taken = new LinkedBlockingQueue<>();
        final CompletableFuture<String> cancelled = new CompletableFuture<>();

        Collector(Channel channel) {
            super(channel);
        }

        @Override
        public void handleDelivery(String tag, Envelope envelope, AMQP.BasicProperties properties, byte[] body) {
            taken.add(new Delivery(envelope, properties, text(body)));
        }

        @Override
        public void handleCancel(String tag) {
            cancelled.complete(tag);
        }

        Delivery next() throws Exception {
            Delivery next = taken.poll(WITHIN_MS, TimeUnit.MILLISECONDS);
            check(next != null, "a delivery in time");
            return next;
        }

        List<String> bodies(int count) throws Exception {
            List<String> bodies = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                bodies.add(next().body());
            }
            return bodies;
        }

        /** Fails if something comes that should not. */
        void nothing() throws Exception {
            check(taken.poll(200, TimeUnit.MILLISECONDS) == null, "nothing more");
        }
    }

    /** Fails if two collectors get more than they have together. */
    static void nothingMore(Collector one, Collector other, int count) throws Exception {
        Thread.sleep(200);
        same(count, one.taken.size() + other.taken.size());
    }

    static Collector consume(Channel channel, String queue, boolean autoAck) throws Exception {
        Collector collector = new Collector(channel);
        channel.basicConsume(queue, autoAck, collector);
        return collector;
    }

    /** What the broker closes a channel of its own with, whatever {@code work} does on it: the code, a space, the text. */
    static String closed(Connection connection, Work work) throws Exception {
        Channel channel = connection.createChannel();
        CompletableFuture<ShutdownSignalException> end = new CompletableFuture<>();
        channel.addShutdownListener(end::complete);
        try {
            work.on(channel);
        } catch (Exception expected) {
            // The listener tells it better.
        }
        return reason(end.get(WITHIN_MS, TimeUnit.MILLISECONDS));
    }

    /** The same for a connection of its own. */
    static String ended(Work work) throws Exception {
        Connection connection = connect();
        CompletableFuture<ShutdownSignalException> end = new CompletableFuture<>();
        connection.addShutdownListener(end::complete);
        try {
            work.on(connection.createChannel());
        } catch (Exception expected) {
            // The listener tells it better.
        }
        ShutdownSignalException signal = end.get(WITHIN_MS, TimeUnit.MILLISECONDS);
        check(signal.isHardError(), "the end of the connection");
        return reason(signal);
    }

    static String reason(ShutdownSignalException signal) {
        Method reason = signal.getReason();
        if (reason instanceof AMQP.Channel.Close close) {
            return close.getReplyCode() + " " + close.getReplyText();
        }
        if (reason instanceof AMQP.Connection.Close close) {
            return close.getReplyCode() + " " + close.getReplyText();
        }
        return String.valueOf(signal);
    }

    static void eventually(String what, Check check) throws Exception {
        long deadline = System.nanoTime() + Duration.ofMillis(WITHIN_MS).toNanos();
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
