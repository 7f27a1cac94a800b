//! The sample topics.

use anyhow::{Result, bail};
use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use crate::client::{Connection, admin_options, code_text, explain, wait};

/// Name and partitions of each.
pub(crate) const TOPICS: [(&str, i32); 3] = [("orders", 3), ("payments", 3), ("clicks", 6)];

/// An hour of samples is enough; a forgotten terminal must not fill a disk.
const RETENTION: (&str, &str) = ("retention.ms", "3600000");

/// Creates the topics that are not there yet.
pub(crate) fn create(connection: &Connection) -> Result<()> {
    let topic = |(name, partitions)| {
        NewTopic::new(name, partitions, TopicReplication::Fixed(-1)).set(RETENTION.0, RETENTION.1)
    };
    let topics = TOPICS.map(topic);
    let results = wait(connection.admin()?.create_topics(&topics, &admin_options(false)))?;
    for result in results.map_err(|error| explain(&error))? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => bail!("cannot create topic \"{name}\": {}", code_text(code)),
        }
    }
    Ok(())
}
