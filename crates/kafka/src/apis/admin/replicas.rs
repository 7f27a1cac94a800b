//! Replicas, as clients may ask for them: there is one node, so every partition has that one replica.

use kafka_protocol::messages::BrokerId;

/// Checks a wanted replication factor; -1 leaves it to the server.
pub(crate) fn check_factor(factor: i16) -> Result<(), String> {
    match factor {
        -1 | 1 => Ok(()),
        _ => Err(format!(
            "replication factor {factor} cannot be reached: this server is one node, use 1 or -1 (its default)"
        )),
    }
}

/// Checks the nodes that a partition is wanted on.
pub(crate) fn check_nodes(nodes: &[BrokerId], node: BrokerId) -> Result<(), String> {
    match nodes {
        [only] if *only == node => Ok(()),
        _ => Err(format!("partitions can only be assigned to the one node {}, not to {nodes:?}", node.0)),
    }
}
