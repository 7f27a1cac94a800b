//! How much disk partitions take, as far as the brokers say.
//!
//! The client library has no DescribeLogDirs, so this asks each broker itself over a plain connection. Where
//! that is not possible (authentication, TLS, an old broker) the size is simply not known, which is never an
//! error.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use rdkafka::consumer::BaseConsumer;

use super::cluster::{self, Partition};
use super::{Connection, Quiet, reach, wire};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes that each partition of `topic` takes in one copy; without those that are not known.
pub(crate) fn of_topic(
    connection: &Connection,
    client: &BaseConsumer<Quiet>,
    topic: &str,
    partitions: &[Partition],
) -> BTreeMap<i32, u64> {
    let mut sizes = BTreeMap::new();
    let plain = connection
        .config
        .get("security.protocol")
        .is_none_or(|value| value.eq_ignore_ascii_case("plaintext"));
    if !plain {
        return sizes;
    }
    let numbers: Vec<i32> = partitions.iter().map(|partition| partition.number).collect();
    for broker in cluster::brokers(client).unwrap_or_default() {
        match ask(&broker, topic, &numbers) {
            // Copies differ by what has not been replicated or deleted yet; the largest is the honest answer.
            Ok(found) => found.into_iter().for_each(|(partition, size)| {
                let largest = sizes.entry(partition).or_insert(0);
                *largest = size.max(*largest);
            }),
            Err(error) => tracing::debug!(broker, "cannot read partition sizes: {error:#}"),
        }
    }
    sizes
}

fn ask(broker: &str, topic: &str, partitions: &[i32]) -> Result<Vec<(i32, u64)>> {
    wire::log_sizes(&mut reach::connect(broker)?, topic, partitions, TIMEOUT)
}
