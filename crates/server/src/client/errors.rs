//! Errors of the client library in the words of this tool: lower case, without codes, with the next step
//! where there is one.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// An error for the user from an error of the client library.
pub(crate) fn explain(error: &KafkaError) -> anyhow::Error {
    match (error, error.rdkafka_error_code()) {
        (KafkaError::ClientConfig(_, reason, key, _), _) => {
            anyhow::anyhow!("client property \"{key}\": {reason}")
        }
        (KafkaError::ClientCreation(reason), _) => anyhow::anyhow!("{}", lower_first(reason)),
        (_, Some(code)) => anyhow::anyhow!("{}", code_text(code)),
        _ => anyhow::anyhow!("{}", lower_first(&error.to_string())),
    }
}

/// What an error code means, and what to do about it.
pub(crate) fn code_text(code: RDKafkaErrorCode) -> String {
    use RDKafkaErrorCode as Code;
    let known = match code {
        Code::BrokerTransportFailure | Code::AllBrokersDown => {
            "the broker closed the connection or does not answer"
        }
        Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut => {
            "the broker did not answer in time"
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic => "no such topic; see \"annals topic list\"",
        Code::UnknownPartition => "no such partition; see \"annals topic describe\"",
        Code::TopicAlreadyExists => "the topic exists already",
        Code::InvalidTopic => {
            "not a valid topic name; use letters, digits, '.', '_' and '-', at most 249 of them"
        }
        Code::GroupIdNotFound => "no such group; see \"annals group list\"",
        Code::NonEmptyGroup => "the group has members; stop its consumers first",
        Code::UnknownMemberId => "the group has active members; stop its consumers first",
        Code::MessageSizeTooLarge => "the record is larger than the topic's max.message.bytes",
        Code::InvalidReplicationFactor => "the cluster has fewer brokers than replicas were asked for",
        Code::TopicAuthorizationFailed => "not allowed for this topic",
        Code::GroupAuthorizationFailed => "not allowed for this group",
        Code::ClusterAuthorizationFailed => "not allowed for this cluster",
        Code::UnsupportedFeature | Code::UnsupportedVersion => "the broker does not support this request",
        _ => return plain(&code.to_string()),
    };
    known.to_owned()
}

/// `UnknownTopic (Broker: Unknown topic)` without the name and the place.
fn plain(text: &str) -> String {
    let inner = text.split_once(" (").map_or(text, |(_, rest)| rest.trim_end_matches(')'));
    let message = inner.strip_prefix("Broker: ").or_else(|| inner.strip_prefix("Local: ")).unwrap_or(inner);
    lower_first(message)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::{code_text, explain};

    #[test]
    fn codes_become_plain_words() {
        assert_eq!(code_text(RDKafkaErrorCode::InvalidPartitions), "invalid number of partitions");
        let error = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
        assert_eq!(explain(&error).to_string(), "the broker did not answer in time");
    }
}
