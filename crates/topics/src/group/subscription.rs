//! The topics in a consumer's subscription, read from the metadata that it joins with.
//!
//! The metadata is ConsumerProtocolSubscription of the Kafka protocol: a 16-bit version, then an array of topic
//! names; later versions only append fields. Version 0 is a prefix of all, so that is what is read. It comes from a
//! client and may be anything, so every length is checked against what is left.

/// The subscribed topics, or `None` if the metadata is not a subscription.
pub(super) fn topics(metadata: &[u8]) -> Option<Vec<&str>> {
    let (version, rest) = metadata.split_first_chunk()?;
    let (count, mut rest) = rest.split_first_chunk()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    if i16::from_be_bytes(*version) < 0 || count > rest.len() / size_of::<u16>() {
        return None;
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (topic, after) = after.split_at_checked(length)?;
        topics.push(std::str::from_utf8(topic).ok()?);
        rest = after;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::topics;

    #[test]
    fn reads_the_topics_of_any_version() {
        // Version 0 as the Java client wrote it: two topics, null user data.
        let version_0 = b"\x00\x00\x00\x00\x00\x02\x00\x01a\x00\x02bc\xff\xff\xff\xff";
        assert_eq!(topics(version_0), Some(vec!["a", "bc"]));
        // Version 3 appends owned partitions, a generation and a rack.
        let version_3 =
            b"\x00\x03\x00\x00\x00\x01\x00\x01a\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x05\xff\xff";
        assert_eq!(topics(version_3), Some(vec!["a"]));
    }

    #[test]
    fn refuses_what_is_no_subscription() {
        assert_eq!(topics(b""), None);
        assert_eq!(topics(b"\x00\x00\x7f\xff\xff\xff"), None, "asks for two thousand million topics");
        assert_eq!(topics(b"\x00\x00\xff\xff\xff\xff"), None, "null array");
        assert_eq!(topics(b"\x00\x00\x00\x00\x00\x01\x00\x05a"), None, "name longer than the rest");
        assert_eq!(topics(b"\x00\x00\x00\x00\x00\x01\x00\x01\xff"), None, "not UTF-8");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = topics(&bytes);
        }
    }
}
