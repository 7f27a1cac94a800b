//! From the OpenMetrics text format to Prometheus' own text format 0.0.4.
//!
//! Metrics are encoded as OpenMetrics 1.0. A scraper that does not ask for it gets the older format, which differs in
//! few places: a counter's family carries the suffix `_total` and an information's `_info`, the types `unknown`,
//! `info` and `stateset` have other names, and there are no units, exemplars and end mark. Everything else is the same
//! in both.

/// Rewrites OpenMetrics text.
pub(crate) fn to_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        match line.strip_prefix("# ") {
            None => push_line(&mut text, without_exemplar(line)),
            Some(comment) => match comment.split_once(' ') {
                // The help comes first, and its family's name depends on the type that follows.
                Some(("HELP", rest)) => help = rest.split_once(' '),
                Some(("TYPE", rest)) => push_family(&mut text, rest, help.take()),
                _ => {}
            },
        }
    }
    text
}

fn push_family(text: &mut String, name_and_type: &str, help: Option<(&str, &str)>) {
    let (name, kind) = name_and_type.split_once(' ').unwrap_or((name_and_type, "unknown"));
    let (suffix, kind) = match kind {
        "counter" => ("_total", kind),
        "info" => ("_info", "gauge"),
        "stateset" => ("", "gauge"),
        "unknown" => ("", "untyped"),
        _ => ("", kind),
    };
    if let Some((_, words)) = help.filter(|(helped, _)| *helped == name) {
        push_line(text, &format!("# HELP {name}{suffix} {words}"));
    }
    push_line(text, &format!("# TYPE {name}{suffix} {kind}"));
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// Cuts ` # {...} value` off the end of a sample. A label's value may look like one, and stands in quotes.
fn without_exemplar(line: &str) -> &str {
    if !line.contains('#') {
        return line;
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'#' if !quoted => return line[..at].trim_end(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::{Registry, Unit};

    use super::to_prometheus;

    #[test]
    fn a_registry_reads_as_prometheus_documents_its_format() {
        let mut registry = Registry::with_prefix("annals");
        let counter: Counter = Counter::default();
        counter.inc_by(7);
        let gauge: Gauge = Gauge::default();
        let histogram = Histogram::new([0.5, 1.0]);
        histogram.observe(0.7);
        registry.register_with_unit("appended", "Bytes appended", Unit::Bytes, counter);
        registry.register("connections", "Open connections", gauge);
        registry.register_with_unit("sync", "Time of a sync", Unit::Seconds, histogram);
        registry.register("build", "What runs", Info::new(vec![("version", "0.1.0")]));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let expected = "\
# HELP annals_appended_bytes_total Bytes appended.
# TYPE annals_appended_bytes_total counter
annals_appended_bytes_total 7
# HELP annals_connections Open connections.
# TYPE annals_connections gauge
annals_connections 0
# HELP annals_sync_seconds Time of a sync.
# TYPE annals_sync_seconds histogram
annals_sync_seconds_sum 0.7
annals_sync_seconds_count 1
annals_sync_seconds_bucket{le=\"0.5\"} 0
annals_sync_seconds_bucket{le=\"1.0\"} 1
annals_sync_seconds_bucket{le=\"+Inf\"} 1
# HELP annals_build_info What runs.
# TYPE annals_build_info gauge
annals_build_info{version=\"0.1.0\"} 1
";
        assert_eq!(to_prometheus(&text), expected);
    }

    #[test]
    fn exemplars_go_and_labels_that_look_like_one_stay() {
        let open = "# TYPE a unknown\na{x=\"y # {\",z=\"\\\"#\"} 1 # {trace=\"1\"} 0.5\n# EOF\n";
        assert_eq!(to_prometheus(open), "# TYPE a untyped\na{x=\"y # {\",z=\"\\\"#\"} 1\n");
    }
}
