//! ApiVersions: what this server speaks. The first request of every client.
//!
//! A version from the future is answered in version 0 with the error and this API's own range, so that the client can
//! choose another; the response header is never flexible (KIP-511). Features are told only where they are served.

use std::ops::RangeInclusive;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use crate::close::Close;
use crate::rope::Rope;
use crate::shape::{Shape, string};

use super::{APIS, Api, Context, Entry, encode};

pub(crate) struct ApiVersions;

impl Api for ApiVersions {
    const KEY: ApiKey = ApiKey::ApiVersions;
    const VERSIONS: RangeInclusive<i16> = 0..=4;
    const SHAPE: Shape = Shape {
        flexible_from: 3,
        fields: &[string("ClientSoftwareName").since(3), string("ClientSoftwareVersion").since(3)],
    };
    type Request = ApiVersionsRequest;
    type Response = ApiVersionsResponse;

    async fn handle(_: &Context, version: i16, request: ApiVersionsRequest) -> ApiVersionsResponse {
        let names = [&request.client_software_name, &request.client_software_version];
        if version >= 3 && !names.iter().all(|name| is_software_name(name)) {
            return ApiVersionsResponse::default().with_error_code(ResponseError::InvalidRequest.code());
        }
        ApiVersionsResponse::default().with_api_keys(APIS.iter().map(range).collect())
    }
}

/// The answer to a version that is not served, in version 0.
pub(crate) fn unsupported_version(correlation_id: i32) -> Result<Rope, Close> {
    let own = APIS.iter().filter(|api| api.key == ApiKey::ApiVersions).map(range).collect();
    let code = ResponseError::UnsupportedVersion.code();
    let response = ApiVersionsResponse::default().with_error_code(code).with_api_keys(own);
    encode(ApiKey::ApiVersions, 0, correlation_id, &response)
}

fn range(entry: &Entry) -> ApiVersion {
    let (min, max) = entry.versions;
    ApiVersion::default().with_api_key(entry.key as i16).with_min_version(min).with_max_version(max)
}

/// Letters and digits, and in between also dots and hyphens (KIP-511).
fn is_software_name(name: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let bytes = name.as_bytes();
    is_edge(bytes.first()) && is_edge(bytes.last()) && bytes.iter().copied().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::is_software_name;

    #[test]
    fn software_names_are_those_of_kip_511() {
        for (name, expected) in [
            ("apache-kafka-java", true),
            ("4.1.0", true),
            ("x", true),
            ("", false),
            ("-x", false),
            ("x.", false),
            ("a b", false),
            ("ü", false),
        ] {
            assert_eq!(is_software_name(name), expected, "{name:?}");
        }
    }
}
