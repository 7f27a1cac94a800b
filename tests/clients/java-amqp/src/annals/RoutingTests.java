package annals;

import static annals.Kit.*;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;

/** Exchanges, bindings, and where messages go. */
final class RoutingTests {
    private RoutingTests() {}

    static void addTo(Map<String, Main.Test> tests) {
        tests.put("every type of exchange routes", with(RoutingTests::types));
        tests.put("the exchanges that are there from the beginning are there", with(RoutingTests::predeclared));
        tests.put("headers are matched with and without their x-", with(RoutingTests::headers));
        tests.put("chains and circles of exchanges deliver once", with(RoutingTests::circles));
        tests.put("alternates are tried in turn", with(RoutingTests::alternates));
        tests.put("what goes nowhere comes back if it is mandatory", with(RoutingTests::returns));
        tests.put("exchanges that go by themselves go", with(RoutingTests::autoDelete));
        tests.put("bindings are refused as RabbitMQ refuses them", with(RoutingTests::refusals));
        tests.put("binding twice is binding once", with(RoutingTests::twice));
        tests.put("durable and transient mix", with(RoutingTests::mixed));
        tests.put("nothing is answered where no answer is wanted", with(RoutingTests::noWait));
    }

    private static String exchange(Channel channel, BuiltinExchangeType type) throws Exception {
        String name = fresh(type.getType());
        channel.exchangeDeclare(name, type);
        return name;
    }

    private static void types(Channel channel) throws Exception {
        String direct = exchange(channel, BuiltinExchangeType.DIRECT);
        String fanout = exchange(channel, BuiltinExchangeType.FANOUT);
        String topic = exchange(channel, BuiltinExchangeType.TOPIC);
        String one = bound(channel, direct, "k");
        String two = bound(channel, fanout, "whatever");
        String three = bound(channel, topic, "*.k.#");
        for (String exchange : List.of(direct, fanout, topic)) {
            channel.basicPublish(exchange, "k", PLAIN, bytes("k"));
            channel.basicPublish(exchange, "a.k", PLAIN, bytes("a.k"));
            channel.basicPublish(exchange, "a.k.b.c", PLAIN, bytes("a.k.b.c"));
        }
        same(List.of("k"), drain(channel, one));
        same(List.of("k", "a.k", "a.k.b.c"), drain(channel, two));
        same(List.of("a.k", "a.k.b.c"), drain(channel, three));
    }

    private static void predeclared(Channel channel) throws Exception {
        for (String name : List.of("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match")) {
            channel.exchangeDeclarePassive(name);
        }
        channel.exchangeDeclare("amq.direct", "direct", true);
        same(
                "403 ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
                closed(channel.getConnection(), other -> other.exchangeDeclare("amq.mine", "direct")));
        same(
                "403 ACCESS_REFUSED - operation not permitted on the default exchange",
                closed(channel.getConnection(), other -> other.queueBind("q", "", "k")));
    }

    private static void headers(Channel channel) throws Exception {
        String name = exchange(channel, BuiltinExchangeType.HEADERS);
        Map<String, Object> wanted = Map.of("a", 1, "x-b", "two");
        Map<String, String> queues = new TreeMap<>();
        for (String match : List.of("all", "any", "all-with-x", "any-with-x")) {
            Map<String, Object> arguments = new TreeMap<>(wanted);
            arguments.put("x-match", match);
            queues.put(match, bound(channel, name, "", arguments));
        }
        publish(channel, name, "a", Map.of("a", 1));
        publish(channel, name, "b", Map.of("x-b", "two"));
        publish(channel, name, "ab", Map.of("a", 1, "x-b", "two"));
        publish(channel, name, "other", Map.of("a", 2));
        same(List.of("a", "ab"), drain(channel, queues.get("all")));
        same(List.of("a", "ab"), drain(channel, queues.get("any")));
        same(List.of("ab"), drain(channel, queues.get("all-with-x")));
        same(List.of("a", "b", "ab"), drain(channel, queues.get("any-with-x")));
    }

    private static void publish(Channel channel, String exchange, String body, Map<String, Object> headers)
            throws Exception {
        AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder().headers(headers).build();
        channel.basicPublish(exchange, "", properties, bytes(body));
    }

    private static void circles(Channel channel) throws Exception {
        String first = exchange(channel, BuiltinExchangeType.FANOUT);
        String second = exchange(channel, BuiltinExchangeType.FANOUT);
        channel.exchangeBind(second, first, "");
        channel.exchangeBind(first, second, "");
        String queue = bound(channel, first, "");
        channel.queueBind(queue, second, "");
        channel.basicPublish(first, "", PLAIN, bytes("x"));
        same(List.of("x"), drain(channel, queue));
        channel.exchangeUnbind(second, first, "");
        channel.queueUnbind(queue, first, "");
        channel.basicPublish(first, "", PLAIN, bytes("y"));
        same(List.of(), drain(channel, queue));
    }

    private static void alternates(Channel channel) throws Exception {
        String last = exchange(channel, BuiltinExchangeType.FANOUT);
        String[] names = {fresh("x"), fresh("x")};
        channel.exchangeDeclare(names[1], "direct", false, false, Map.of("alternate-exchange", last));
        channel.exchangeDeclare(names[0], "direct", false, false, Map.of("alternate-exchange", names[1]));
        String one = bound(channel, names[0], "1");
        String two = bound(channel, names[1], "2");
        String three = bound(channel, last, "");
        for (String key : List.of("1", "2", "3")) {
            channel.basicPublish(names[0], key, PLAIN, bytes(key));
        }
        same(List.of("1"), drain(channel, one));
        same(List.of("2"), drain(channel, two));
        same(List.of("3"), drain(channel, three));
    }

    private static void returns(Channel channel) throws Exception {
        BlockingQueue<String> returned = new ArrayBlockingQueue<>(10);
        channel.addReturnListener(one -> returned.add(one.getReplyCode() + " " + one.getReplyText() + " "
                + one.getExchange() + " " + one.getRoutingKey() + " " + text(one.getBody())));
        channel.basicPublish("amq.direct", "nowhere", false, PLAIN, bytes("a"));
        channel.basicPublish("amq.direct", "nowhere", true, PLAIN, bytes("b"));
        same("312 NO_ROUTE amq.direct nowhere b", returned.poll(WITHIN_MS, TimeUnit.MILLISECONDS));
    }

    private static void autoDelete(Channel channel) throws Exception {
        String[] names = {fresh("x"), fresh("x")};
        channel.exchangeDeclare(names[0], "fanout", false, true, null);
        channel.exchangeDeclare(names[1], "fanout", false, true, null);
        channel.exchangeBind(names[1], names[0], "");
        String queue = bound(channel, names[1], "");
        channel.queueDelete(queue);
        for (String name : names) {
            same("404 NOT_FOUND - no exchange '" + name + "' in vhost '/'", closed(channel.getConnection(), other ->
                    other.exchangeDeclarePassive(name)));
        }
    }

    private static void refusals(Channel channel) throws Exception {
        String name = exchange(channel, BuiltinExchangeType.HEADERS);
        String queue = queue(channel);
        same("404 NOT_FOUND - no exchange 'nowhere' in vhost '/'", closed(channel.getConnection(), other ->
                other.queueBind(queue, "nowhere", "k")));
        same("404 NOT_FOUND - no queue 'nowhere' in vhost '/'", closed(channel.getConnection(), other ->
                other.queueBind("nowhere", name, "k")));
        same(
                "406 PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or "
                        + "any-with-x",
                closed(channel.getConnection(), other ->
                        other.queueBind(queue, name, "", Map.of("x-match", "some"))));
        same(
                "406 PRECONDITION_FAILED - Invalid x-match field type signedint (value 1); expected longstr",
                closed(channel.getConnection(), other -> other.queueBind(queue, name, "", Map.of("x-match", 1))));
        same("406 PRECONDITION_FAILED - unknown exchange type 'strange'", closed(channel.getConnection(), other ->
                other.exchangeDeclare(fresh("x"), "strange")));
    }

    private static void twice(Channel channel) throws Exception {
        String name = exchange(channel, BuiltinExchangeType.DIRECT);
        String queue = bound(channel, name, "k");
        channel.queueBind(queue, name, "k");
        channel.basicPublish(name, "k", PLAIN, bytes("x"));
        same(List.of("x"), drain(channel, queue));
        channel.queueUnbind(queue, name, "k");
        channel.queueUnbind(queue, name, "k");
        channel.basicPublish(name, "k", PLAIN, bytes("x"));
        same(List.of(), drain(channel, queue));
    }

    private static void mixed(Channel channel) throws Exception {
        String name = fresh("x");
        channel.exchangeDeclare(name, "fanout", true);
        String queue = channel.queueDeclare(fresh("queue"), false, false, false, null).getQueue();
        channel.queueBind(queue, name, "");
        channel.basicPublish(name, "", PERSISTENT, bytes("x"));
        same(List.of("x"), drain(channel, queue));
        channel.exchangeDelete(name);
        channel.queueDelete(queue);
    }

    private static void noWait(Channel channel) throws Exception {
        String name = fresh("x");
        String queue = fresh("queue");
        channel.exchangeDeclareNoWait(name, "fanout", false, false, false, null);
        channel.queueDeclareNoWait(queue, false, false, false, null);
        channel.queueBindNoWait(queue, name, "", null);
        channel.basicPublish(name, "", PLAIN, bytes("x"));
        same(List.of("x"), drain(channel, queue));
        channel.queueDeleteNoWait(queue, false, false);
        channel.exchangeDeleteNoWait(name, false);
        same("404 NOT_FOUND - no queue '" + queue + "' in vhost '/'", closed(channel.getConnection(), other ->
                other.queueDeclarePassive(queue)));
    }
}
