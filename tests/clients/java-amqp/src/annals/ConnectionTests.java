package annals;

import static annals.Kit.*;

import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Coming in, agreeing on limits, staying, and being sent away. */
final class ConnectionTests {
    private ConnectionTests() {}

    static void addTo(Map<String, Main.Test> tests) {
        tests.put("limits are negotiated", ConnectionTests::limits);
        tests.put("a connection has no more channels than agreed on", ConnectionTests::channels);
        tests.put("a wrong password is refused", ConnectionTests::password);
        tests.put("an unknown virtual host is refused", ConnectionTests::vhost);
        tests.put("heartbeats keep a quiet connection", ConnectionTests::heartbeats);
        tests.put("an idle client without heartbeats stays", ConnectionTests::withoutHeartbeats);
        tests.put("a channel can be opened again after an error", ConnectionTests::again);
        tests.put("methods that nobody has are refused", ConnectionTests::notImplemented);
    }

    private static void limits() throws Exception {
        ConnectionFactory factory = factory();
        factory.setRequestedFrameMax(0);
        factory.setRequestedChannelMax(0);
        try (Connection connection = factory.newConnection()) {
            same(131_072, connection.getFrameMax());
            same(2047, connection.getChannelMax());
            same(60, connection.getHeartbeat());
        }
        factory.setRequestedFrameMax(8192);
        factory.setRequestedChannelMax(5);
        try (Connection connection = factory.newConnection()) {
            same(8192, connection.getFrameMax());
            same(5, connection.getChannelMax());
            Channel channel = connection.createChannel();
            String queue = queue(channel);
            byte[] body = new byte[100_000];
            channel.basicPublish("", queue, PLAIN, body);
            same(body, get(channel, queue, true).getBody());
        }
    }

    private static void channels() throws Exception {
        try (Connection connection = connect()) {
            List<Channel> channels = new ArrayList<>();
            for (int i = 0; i < 2047; i++) {
                channels.add(connection.createChannel());
            }
            same(null, connection.createChannel());
            channels.get(1000).close();
            check(connection.createChannel() != null, "a channel in the place of the one that was closed");
        }
    }

    private static void password() throws Exception {
        ConnectionFactory factory = factory();
        factory.setPassword("wrong");
        try {
            factory.newConnection();
        } catch (AuthenticationFailureException refused) {
            same(
                    "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
                            + "For details see the broker logfile.",
                    refused.getMessage());
            return;
        }
        throw new AssertionError("let in");
    }

    private static void vhost() throws Exception {
        ConnectionFactory factory = factory();
        factory.setVirtualHost("nowhere");
        try {
            factory.newConnection();
        } catch (IOException refused) {
            check(refused.getCause().getMessage().contains("reply-code=530"), "530: " + refused.getCause());
            return;
        }
        throw new AssertionError("let in");
    }

    private static void heartbeats() throws Exception {
        ConnectionFactory factory = factory();
        factory.setRequestedHeartbeat(1);
        try (Connection connection = factory.newConnection()) {
            same(1, connection.getHeartbeat());
            Thread.sleep(4500);
            check(connection.isOpen(), "an open connection");
            connection.createChannel().close();
        }
    }

    private static void withoutHeartbeats() throws Exception {
        ConnectionFactory factory = factory();
        factory.setRequestedHeartbeat(0);
        try (Connection connection = factory.newConnection()) {
            Thread.sleep(3000);
            connection.createChannel().close();
        }
    }

    private static void again() throws Exception {
        try (Connection connection = connect()) {
            String text = "404 NOT_FOUND - no queue 'nowhere' in vhost '/'";
            for (int i = 0; i < 50; i++) {
                same(text, closed(connection, channel -> channel.queueDeclarePassive("nowhere")));
            }
            check(connection.isOpen(), "an open connection");
        }
    }

    private static void notImplemented() throws Exception {
        same("540 NOT_IMPLEMENTED - immediate=true", ended(channel ->
                channel.basicPublish("", "q", false, true, PLAIN, new byte[0])));
        same("540 NOT_IMPLEMENTED - prefetch_size!=0 (10)", ended(channel -> channel.basicQos(10, 1, false)));
        same("540 NOT_IMPLEMENTED - requeue=false", ended(channel -> channel.basicRecover(false)));
    }
}
