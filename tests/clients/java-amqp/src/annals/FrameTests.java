package annals;

import static annals.Kit.*;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Method;
import com.rabbitmq.client.impl.LongStringHelper;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.Socket;
import java.net.SocketException;
import java.util.Map;

/** Frames that no client sends: what the broker says to them before it hangs up. */
final class FrameTests {
    private FrameTests() {}

    private static final int METHOD = 1;
    private static final int HEADER = 2;
    private static final int BODY = 3;

    static void addTo(Map<String, Main.Test> tests) {
        tests.put("frames out of turn end the connection", FrameTests::outOfTurn);
        tests.put("lengths that cannot be end the connection", FrameTests::lengths);
        tests.put("methods that nobody knows end the connection", FrameTests::unknown);
        tests.put("a channel that is not open is not used", FrameTests::notOpen);
        tests.put("a secret can be updated", FrameTests::secret);
    }

    /** A client that says whatever it likes. */
    private static final class Raw implements AutoCloseable {
        private final Socket socket = new Socket(HOST, PORT);
        private final DataInputStream in = new DataInputStream(socket.getInputStream());
        private final DataOutputStream out = new DataOutputStream(socket.getOutputStream());

        Raw() throws Exception {
            socket.setSoTimeout(WITHIN_MS);
            out.write(new byte[] {'A', 'M', 'Q', 'P', 0, 0, 9, 1});
            expect(10, 10);
            send(0, new AMQP.Connection.StartOk.Builder().mechanism("PLAIN").locale("en_US")
                    .response(LongStringHelper.asLongString("\0guest\0guest")).build());
            expect(10, 30);
            send(0, new AMQP.Connection.TuneOk.Builder().channelMax(10).frameMax(4096).heartbeat(0).build());
            send(0, new AMQP.Connection.Open.Builder().virtualHost("/").build());
            expect(10, 41);
        }

        void open(int channel) throws Exception {
            send(channel, new AMQP.Channel.Open.Builder().build());
            expect(20, 11);
        }

        void send(int channel, Method method) throws IOException {
            ((com.rabbitmq.client.impl.Method) method).toFrame(channel).writeTo(out);
        }

        void frame(int type, int channel, byte... payload) throws IOException {
            frame(type, channel, payload.length, payload, 0xce);
        }

        void frame(int type, int channel, int size, byte[] payload, int end) throws IOException {
            out.writeByte(type);
            out.writeShort(channel);
            out.writeInt(size);
            out.write(payload);
            out.writeByte(end);
        }

        private byte[] next() throws IOException {
            in.readByte();
            in.readShort();
            byte[] payload = new byte[in.readInt()];
            in.readFully(payload);
            in.readByte();
            return payload;
        }

        private byte[] expect(int classId, int methodId) throws IOException {
            byte[] payload = next();
            same(classId + "." + methodId, payload[1] + "." + payload[3]);
            return payload;
        }

        /** The code with which the connection is closed; 0 if it just ends. */
        int code() throws IOException {
            try {
                byte[] payload = expect(10, 50);
                return (payload[4] & 0xff) << 8 | payload[5] & 0xff;
            } catch (EOFException | SocketException end) {
                return 0;
            }
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }
    }

    private interface Talk {
        void with(Raw raw) throws Exception;
    }

    private static int code(Talk talk) throws Exception {
        try (Raw raw = new Raw()) {
            raw.open(1);
            talk.with(raw);
            return raw.code();
        }
    }

    private static final Method PUBLISH =
            new AMQP.Basic.Publish.Builder().exchange("").routingKey("nowhere").build();

    /** A header of a message without properties, with a body of so many bytes. */
    private static byte[] header(int classId, long size) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        out.writeShort(classId);
        out.writeShort(0);
        out.writeLong(size);
        out.writeShort(0);
        return bytes.toByteArray();
    }

    private static void outOfTurn() throws Exception {
        same(505, code(raw -> raw.frame(HEADER, 1, header(60, 1))));
        same(505, code(raw -> raw.frame(BODY, 1, (byte) 1)));
        same(505, code(raw -> {
            raw.send(1, PUBLISH);
            raw.send(1, PUBLISH);
        }));
        same(505, code(raw -> {
            raw.send(1, PUBLISH);
            raw.frame(BODY, 1, (byte) 1);
        }));
        same(505, code(raw -> {
            raw.send(1, PUBLISH);
            raw.frame(HEADER, 1, header(60, 10));
            raw.frame(HEADER, 1, header(60, 10));
        }));
        same(505, code(raw -> {
            raw.send(1, PUBLISH);
            raw.frame(HEADER, 1, header(10, 10));
        }));
        same(505, code(raw -> raw.frame(HEADER, 0, header(60, 10))));
    }

    private static void lengths() throws Exception {
        same(501, code(raw -> raw.frame(METHOD, 1, 4, new byte[] {0, 60, 0, 40}, 0)));
        same(501, code(raw -> raw.frame(METHOD, 1, 0x7fffffff, new byte[] {0, 60, 0, 40}, 0xce)));
        // RabbitMQ allows for eight octets more than were agreed on.
        same(501, code(raw -> raw.frame(BODY, 1, 4097, new byte[4097], 0xce)));
        same(501, code(raw -> raw.frame(0x61, 1, 4, new byte[4], 0xce)));
        same(502, code(raw -> raw.frame(METHOD, 1, new byte[] {0, 50, 0, 10, 0, 0, (byte) 200, 'q'})));
        same(502, code(raw -> raw.frame(METHOD, 1, new byte[] {0, 60, 0, 20, 0, 0, 1, 'q', 0, 0, 127, 127, 127, 127})));
        same(502, code(raw -> {
            raw.send(1, PUBLISH);
            byte[] header = header(60, 0);
            header[12] = (byte) 0x80;
            raw.frame(HEADER, 1, header);
        }));
    }

    private static void unknown() throws Exception {
        // RabbitMQ hangs up without a word.
        same(540, code(raw -> raw.frame(METHOD, 1, new byte[] {0, 60, 3, (byte) 231})));
        same(540, code(raw -> raw.frame(METHOD, 1, new byte[] {0, 111, 0, 10})));
        // What only a broker says.
        same(503, code(raw -> raw.send(1, new AMQP.Queue.DeclareOk.Builder().queue("q").build())));
    }

    private static void notOpen() throws Exception {
        same(504, code(raw -> raw.send(2, new AMQP.Basic.Qos.Builder().build())));
        same(504, code(raw -> raw.send(1, new AMQP.Channel.Open.Builder().build())));
        same(530, code(raw -> {
            for (int channel = 2; channel <= 11; channel++) {
                raw.send(channel, new AMQP.Channel.Open.Builder().build());
                if (channel <= 10) {
                    raw.expect(20, 11);
                }
            }
        }));
    }

    private static void secret() throws Exception {
        try (Raw raw = new Raw()) {
            raw.send(0, new AMQP.Connection.UpdateSecret.Builder()
                    .newSecret(LongStringHelper.asLongString("guest")).reason("it is time").build());
            raw.expect(10, 71);
            raw.open(1);
        }
    }
}
