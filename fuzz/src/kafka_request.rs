//! A frame of the Kafka protocol, from anybody who can reach the port.

use bytes::Bytes;

/// Decodes `data` as the request frame of a connection, without the length in front.
pub fn run(data: &[u8]) {
    // Any answer is fine, as long as there is one.
    let _ = annals_kafka::decode_request(Bytes::copy_from_slice(data));
}
