package annals;

import static annals.Kit.*;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import com.rabbitmq.client.impl.recovery.AutorecoveringConnection;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** The client's automatic recovery: what it declared is there again after its connection broke. */
final class RecoveryTests {
    private RecoveryTests() {}

    static void addTo(Map<String, Main.Test> tests) {
        tests.put("the topology of a client comes back with it", RecoveryTests::topology);
        tests.put("what was not acknowledged comes again after a recovery", RecoveryTests::unacknowledged);
    }

    /** Stands between a client and the broker, and hangs up when it is told to. */
    private static final class Relay implements AutoCloseable {
        private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        private final ConcurrentLinkedQueue<Socket> sockets = new ConcurrentLinkedQueue<>();

        Relay() throws IOException {
            daemon(() -> {
                while (true) {
                    Socket client = listener.accept();
                    Socket server = new Socket(HOST, PORT);
                    sockets.addAll(List.of(client, server));
                    daemon(() -> copy(client, server));
                    daemon(() -> copy(server, client));
                }
            });
        }

        private interface Body {
            void run() throws IOException;
        }

        private static void daemon(Body body) {
            Thread thread = new Thread(() -> {
                try {
                    body.run();
                } catch (IOException end) {
                    // The sockets were closed.
                }
            });
            thread.setDaemon(true);
            thread.start();
        }

        private static void copy(Socket from, Socket to) throws IOException {
            try (InputStream in = from.getInputStream(); OutputStream out = to.getOutputStream()) {
                in.transferTo(out);
            }
        }

        void cut() throws IOException {
            for (Socket socket = sockets.poll(); socket != null; socket = sockets.poll()) {
                socket.close();
            }
        }

        AutorecoveringConnection connect() throws Exception {
            ConnectionFactory factory = factory();
            factory.setHost("127.0.0.1");
            factory.setPort(listener.getLocalPort());
            factory.setAutomaticRecoveryEnabled(true);
            factory.setTopologyRecoveryEnabled(true);
            factory.setNetworkRecoveryInterval(100);
            return (AutorecoveringConnection) factory.newConnection();
        }

        @Override
        public void close() throws IOException {
            listener.close();
            cut();
        }
    }

    private static void cutAndRecover(Relay relay, AutorecoveringConnection connection) throws Exception {
        CountDownLatch recovered = new CountDownLatch(1);
        connection.addRecoveryListener(new RecoveryListener() {
            @Override
            public void handleRecovery(Recoverable one) {
                recovered.countDown();
            }

            @Override
            public void handleRecoveryStarted(Recoverable one) {}
        });
        relay.cut();
        check(recovered.await(WITHIN_MS, TimeUnit.MILLISECONDS), "a recovery in time");
    }

    private static void topology() throws Exception {
        try (Relay relay = new Relay(); AutorecoveringConnection connection = relay.connect()) {
            Channel channel = connection.createChannel();
            String exchange = fresh("x");
            channel.exchangeDeclare(exchange, "topic", false, true, null);
            String exclusive = channel.queueDeclare().getQueue();
            channel.queueBind(exclusive, exchange, "a.*");
            Collector consumer = consume(channel, exclusive, false);
            channel.basicPublish(exchange, "a.b", PLAIN, bytes("before"));
            same("before", consumer.next().body());
            for (int round = 0; round < 3; round++) {
                cutAndRecover(relay, connection);
                String body = "after " + round;
                channel.basicPublish(exchange, "a.b", PLAIN, bytes(body));
                same(body, consumer.next().body());
            }
            channel.confirmSelect();
            cutAndRecover(relay, connection);
            channel.basicPublish(exchange, "a.c", PLAIN, bytes("confirmed"));
            channel.waitForConfirmsOrDie(WITHIN_MS);
            same("confirmed", consumer.next().body());
        }
    }

    private static void unacknowledged() throws Exception {
        try (Relay relay = new Relay(); AutorecoveringConnection connection = relay.connect()) {
            Channel channel = connection.createChannel();
            String queue = queue(channel);
            channel.basicQos(1);
            send(channel, queue, "a");
            send(channel, queue, "b");
            Collector consumer = consume(channel, queue, false);
            same("a", consumer.next().body());
            cutAndRecover(relay, connection);
            Delivery again = consumer.next();
            same("a", again.body());
            check(again.envelope().isRedeliver(), "a message that comes again");
            consumer.nothing();
            channel.basicAck(again.tag(), false);
            same("b", consumer.next().body());
            channel.queueDelete(queue);
        }
    }
}
