//! What is expected of a stream, as people write it.

use annals::store::{Expected, Revision};

/// Parses `any`, `no_stream` (or `none`), `exists` or a revision.
pub(in crate::commands) fn parse(text: &str) -> Result<Expected, String> {
    match text {
        "any" => Ok(Expected::Any),
        "no_stream" | "no-stream" | "none" => Ok(Expected::NoStream),
        "exists" => Ok(Expected::Exists),
        number => number
            .parse()
            .map(|revision| Expected::Exact(Revision(revision)))
            .map_err(|_| format!("\"{text}\" is none of any, no_stream, exists and a revision")),
    }
}

#[cfg(test)]
mod tests {
    use annals::store::{Expected, Revision};

    use super::parse;

    #[test]
    fn words_and_revisions() {
        assert_eq!(parse("no-stream"), Ok(Expected::NoStream));
        assert_eq!(parse("7"), Ok(Expected::Exact(Revision(7))));
        assert!(parse("-1").unwrap_err().contains("\"-1\""));
    }
}
