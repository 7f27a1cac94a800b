package annals;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Runs every test and prints one line for each: {@code ok NAME} or {@code FAIL NAME: why}.
 *
 * <p>The broker's address comes from {@code ANNALS_AMQP}; an argument runs only the tests whose name contains it.
 */
public final class Main {
    /** A test fails by throwing. */
    interface Test {
        void run() throws Exception;
    }

    /** Most tests wait for the broker and not for the processor, so a few at once shorten the run. */
    private static final int AT_ONCE = 3;

    public static void main(String[] arguments) throws Exception {
        Map<String, Test> tests = new LinkedHashMap<>();
        ConnectionTests.addTo(tests);
        RoutingTests.addTo(tests);
        QueueTests.addTo(tests);
        MessageTests.addTo(tests);
        DeadLetterTests.addTo(tests);
        RecoveryTests.addTo(tests);
        FrameTests.addTo(tests);
        String filter = arguments.length > 0 ? arguments[0] : "";

        AtomicInteger failures = new AtomicInteger();
        ExecutorService threads = Executors.newFixedThreadPool(AT_ONCE);
        tests.forEach((name, test) -> {
            if (name.contains(filter)) {
                threads.execute(() -> run(name, test, failures));
            }
        });
        threads.shutdown();
        boolean finished = threads.awaitTermination(7, TimeUnit.MINUTES);
        if (!finished) {
            System.out.println("FAIL the whole suite: not finished within 7 minutes");
        }
        System.exit(finished && failures.get() == 0 ? 0 : 1);
    }

    private static void run(String name, Test test, AtomicInteger failures) {
        try {
            test.run();
            System.out.println("ok " + name);
        } catch (Throwable problem) {
            failures.incrementAndGet();
            System.out.println("FAIL " + name + ": " + String.valueOf(problem).replace('\n', ' '));
            problem.printStackTrace();
        }
    }
}
