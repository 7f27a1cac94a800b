//! The names of APIs and errors, as the Kafka protocol guide writes them: for metrics.

use std::sync::LazyLock;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

/// Error codes are smaller than this.
const ERROR_CODES_END: i16 = 200;

static ERRORS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..ERROR_CODES_END).map(|code| spell(ResponseError::try_from_code(code))).collect());

/// `OFFSET_OUT_OF_RANGE` for 1, `NONE` for 0, `UNKNOWN_SERVER_ERROR` for what nobody knows.
pub(crate) fn error(code: i16) -> &'static str {
    let name = usize::try_from(code).ok().and_then(|code| ERRORS.get(code));
    name.map_or("UNKNOWN_SERVER_ERROR", String::as_str)
}

fn spell(error: Option<ResponseError>) -> String {
    match error {
        None => "NONE".to_owned(),
        Some(ResponseError::Unknown(_)) => "UNKNOWN_SERVER_ERROR".to_owned(),
        Some(error) => upper_snake(&format!("{error:?}")),
    }
}

fn upper_snake(camel: &str) -> String {
    let mut name = String::with_capacity(camel.len() + 8);
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

pub(crate) const fn name(key: ApiKey) -> &'static str {
    match key {
        ApiKey::Produce => "Produce",
        ApiKey::Fetch => "Fetch",
        ApiKey::ListOffsets => "ListOffsets",
        ApiKey::Metadata => "Metadata",
        ApiKey::OffsetCommit => "OffsetCommit",
        ApiKey::OffsetFetch => "OffsetFetch",
        ApiKey::FindCoordinator => "FindCoordinator",
        ApiKey::JoinGroup => "JoinGroup",
        ApiKey::Heartbeat => "Heartbeat",
        ApiKey::LeaveGroup => "LeaveGroup",
        ApiKey::SyncGroup => "SyncGroup",
        ApiKey::DescribeGroups => "DescribeGroups",
        ApiKey::ListGroups => "ListGroups",
        ApiKey::ApiVersions => "ApiVersions",
        ApiKey::CreateTopics => "CreateTopics",
        ApiKey::DeleteTopics => "DeleteTopics",
        ApiKey::DeleteRecords => "DeleteRecords",
        ApiKey::InitProducerId => "InitProducerId",
        ApiKey::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
        ApiKey::DescribeConfigs => "DescribeConfigs",
        ApiKey::AlterConfigs => "AlterConfigs",
        ApiKey::AlterReplicaLogDirs => "AlterReplicaLogDirs",
        ApiKey::DescribeLogDirs => "DescribeLogDirs",
        ApiKey::CreatePartitions => "CreatePartitions",
        ApiKey::DeleteGroups => "DeleteGroups",
        ApiKey::ElectLeaders => "ElectLeaders",
        ApiKey::IncrementalAlterConfigs => "IncrementalAlterConfigs",
        ApiKey::AlterPartitionReassignments => "AlterPartitionReassignments",
        ApiKey::ListPartitionReassignments => "ListPartitionReassignments",
        ApiKey::OffsetDelete => "OffsetDelete",
        ApiKey::DescribeQuorum => "DescribeQuorum",
        ApiKey::DescribeCluster => "DescribeCluster",
        ApiKey::DescribeProducers => "DescribeProducers",
        ApiKey::ListConfigResources => "ListConfigResources",
        ApiKey::DescribeTopicPartitions => "DescribeTopicPartitions",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::error;

    #[test]
    fn errors_are_named_as_in_the_protocol_guide() {
        let expected = [
            (-1, "UNKNOWN_SERVER_ERROR"),
            (0, "NONE"),
            (1, "OFFSET_OUT_OF_RANGE"),
            (3, "UNKNOWN_TOPIC_OR_PARTITION"),
            (10, "MESSAGE_TOO_LARGE"),
            (56, "KAFKA_STORAGE_ERROR"),
            (79, "MEMBER_ID_REQUIRED"),
            (82, "FENCED_INSTANCE_ID"),
            (100, "UNKNOWN_TOPIC_ID"),
            (199, "UNKNOWN_SERVER_ERROR"),
            (i16::MAX, "UNKNOWN_SERVER_ERROR"),
        ];
        for (code, name) in expected {
            assert_eq!(error(code), name, "{code}");
        }
    }
}
