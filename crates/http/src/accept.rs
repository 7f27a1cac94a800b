//! Content negotiation (RFC 9110, section 12.5.1), as far as a choice between two media types needs it.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// Whether the client would rather have `media_type` than `other`. A tie goes to `other`.
pub(crate) fn prefers(headers: &HeaderMap, media_type: &str, other: &str) -> bool {
    let weight = |wanted| quality(headers, wanted);
    weight(media_type) > weight(other)
}

/// The quality that the client gives to `media_type`, in thousandths: from the most specific range that matches.
fn quality(headers: &HeaderMap, media_type: &str) -> u16 {
    let main = media_type.split('/').next().unwrap_or_default();
    let mut best = (0, 0);
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let specific = match name.split_once('/') {
            _ if name.eq_ignore_ascii_case(media_type) => 3,
            Some((range_main, "*")) if range_main.eq_ignore_ascii_case(main) => 2,
            Some(("*", "*")) => 1,
            _ => continue,
        };
        best = best.max((specific, parts.find_map(parse_quality).unwrap_or(1000)));
    }
    best.1
}

fn parse_quality(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    let value = name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok())??;
    // Saturates: a quality that is not a number counts as zero, one above 1 as 1.
    Some((value.min(1.0) * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn wants_open_metrics(accept: &'static str) -> bool {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        prefers(&headers, "application/openmetrics-text", "text/plain")
    }

    #[test]
    fn what_prometheus_asks_for_is_understood() {
        // Accept headers of Prometheus 2.45 and 3.0.
        assert!(wants_open_metrics(
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        ));
        assert!(wants_open_metrics(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        ));
    }

    #[test]
    fn a_tie_and_everything_else_get_the_plain_text() {
        for accept in [
            "*/*",
            "text/plain",
            "",
            "text/*, application/openmetrics-text;q=0.5",
            "application/openmetrics-text;q=0, */*",
            "application/openmetrics-text;q=x;q=0.1, text/plain;q=0.2",
            "text/plain;q=7, application/openmetrics-text;q=0.9",
        ] {
            assert!(!wants_open_metrics(accept), "{accept}");
        }
    }
}
