//! Lines to copy into another terminal.

use crate::client::DEFAULT_BOOTSTRAP;

/// The Java client that the tests run with.
const KAFKA_CLIENTS: &str = "4.4.0";

/// How to reach the broker at `address` with this tool and with the usual clients.
pub(crate) fn text(address: &str) -> String {
    let option =
        if address == DEFAULT_BOOTSTRAP { String::new() } else { format!(" --bootstrap-server {address}") };
    format!(
        r#"Try it from another terminal.

annals
  annals consume orders --from end{option}
  annals group describe dashboard{option}
  echo '{{"order":"mine"}}' | annals produce orders --json --key-field order --event-type OrderPlaced{option}

kcat
  kcat -b {address} -C -t orders -o end -f '%k %s\n'

Python: pip install confluent-kafka
  from confluent_kafka import Consumer
  c = Consumer({{"bootstrap.servers": "{address}", "group.id": "mine", "auto.offset.reset": "earliest"}})
  c.subscribe(["orders"])
  while True: (m := c.poll(1.0)) and print(m.key(), m.value())

Java: org.apache.kafka:kafka-clients:{KAFKA_CLIENTS}
  var settings = new java.util.Properties();
  settings.put("bootstrap.servers", "{address}");
  settings.put("group.id", "mine");
  settings.put("auto.offset.reset", "earliest");
  var text = new org.apache.kafka.common.serialization.StringDeserializer();
  var consumer = new org.apache.kafka.clients.consumer.KafkaConsumer<>(settings, text, text);
  consumer.subscribe(java.util.List.of("orders"));
  while (true) consumer.poll(java.time.Duration.ofSeconds(1)).forEach(r -> System.out.println(r.value()));
"#
    )
}

#[cfg(test)]
mod tests {
    use super::{KAFKA_CLIENTS, text};

    #[test]
    fn the_java_client_is_the_one_that_the_tests_run_with() {
        let project = include_str!("../../../../../tests/clients/java/pom.xml");
        assert!(project.contains(&format!("<kafka.version>{KAFKA_CLIENTS}</kafka.version>")), "{project}");
        assert!(text("127.0.0.1:9092").contains(&format!("kafka-clients:{KAFKA_CLIENTS}\n")));
    }

    #[test]
    fn the_default_address_needs_no_option() {
        assert!(!text("127.0.0.1:9092").contains("--bootstrap-server"));
        let elsewhere = text("127.0.0.1:5000");
        assert!(
            elsewhere.contains("--bootstrap-server 127.0.0.1:5000")
                && elsewhere.contains("kcat -b 127.0.0.1:5000")
        );
    }
}
