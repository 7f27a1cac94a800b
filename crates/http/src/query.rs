//! The query of a request: parameters by name, each taken once, and what nobody asked for refused.
//!
//! A misspelt parameter would otherwise be a request for something else, which is answered without a word.

use std::borrow::Cow;
use std::convert::Infallible;
use std::str::FromStr;

use annals_broker::api::stores::{Expected, Revision};
use annals_event::Time;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::Problem;

/// The parameters that are not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Params {
    pub(crate) fn parse(query: &str) -> Self {
        if query.is_empty() {
            return Self::default();
        }
        let pairs = form_urlencoded::parse(query.as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// Takes a parameter.
    ///
    /// # Errors
    /// If it comes twice.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.take_all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(Problem::invalid(name, format!("the parameter {name} comes more than once"))),
        }
    }

    /// Takes all values of a parameter that may be repeated.
    pub(crate) fn take_all(&mut self, name: &str) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        self.0.extract_if(.., |(found, _)| found == name).map(|(_, value)| value).collect()
    }

    /// Takes a whole number.
    ///
    /// # Errors
    /// If it is none, or comes twice.
    pub(crate) fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        let not_one =
            || Problem::invalid(name, format!("{name} must be a whole number, not {:?}", excerpt(&text)));
        text.parse().map(Some).map_err(|_| not_one())
    }

    /// Takes `true` or `false`; without it, `false`.
    ///
    /// # Errors
    /// If it is neither, or comes twice.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.take(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => {
                Err(Problem::invalid(name, format!("{name} must be true or false, not {:?}", excerpt(other))))
            }
        }
    }

    /// Takes a moment, in milliseconds since the Unix epoch: written so, or as RFC 3339.
    ///
    /// # Errors
    /// If it is none, or comes twice.
    pub(crate) fn time_ms(&mut self, name: &str) -> Result<Option<i64>, Problem> {
        self.take(name)?.map(|text| parse_time_ms(name, &text)).transpose()
    }

    /// Takes what is expected of a stream; without it, anything.
    ///
    /// # Errors
    /// If it is nothing that can be expected, or comes twice.
    pub(crate) fn expected(&mut self) -> Result<Expected, Problem> {
        let text = self.take("expected")?;
        text.map_or(Ok(Expected::Any), |text| {
            parse_expected(&text).map_err(|detail| Problem::invalid("expected", detail))
        })
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// Names what is.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name = excerpt(name);
                Err(Problem::invalid(&name, format!("there is no parameter {name:?} here")))
            }
        }
    }
}

/// A moment: digits are milliseconds since the Unix epoch, everything else is RFC 3339.
pub(crate) fn parse_time_ms(name: &str, text: &str) -> Result<i64, Problem> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| Problem::invalid(name, format!("{name} is too large for a time")));
    }
    // A `+` of an offset that was not encoded came as a space.
    let text = text.replace(' ', "+");
    let parsed: Result<Time, _> = text.parse();
    parsed.map(|time| time.unix_ms()).map_err(|error| Problem::invalid(name, error.to_string()))
}

/// What is expected of a stream.
pub(crate) fn parse_expected(text: &str) -> Result<Expected, String> {
    Ok(match text {
        "any" => Expected::Any,
        "no_stream" => Expected::NoStream,
        "exists" => Expected::Exists,
        _ => {
            let wrong =
                || format!("expected must be any, no_stream, exists or a revision, not {:?}", excerpt(text));
            Expected::Exact(Revision(text.parse().map_err(|_| wrong())?))
        }
    })
}

/// The start of a text, short enough for a message.
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(problem: Result<impl std::fmt::Debug, Problem>) -> (String, String) {
        let problem = problem.expect_err("refused");
        (problem.members["field"].as_str().unwrap().to_owned(), problem.detail)
    }

    #[test]
    fn parameters_are_taken_by_name() {
        let mut params =
            Params::parse("limit=5&tag=a%20b&tag=c&system=true&from_time=1970-01-01T01:00:00%2B01:00");
        assert_eq!(params.number::<usize>("limit"), Ok(Some(5)));
        assert_eq!(params.number::<usize>("limit"), Ok(None));
        assert_eq!(params.take_all("tag"), ["a b", "c"]);
        assert_eq!((params.flag("system"), params.flag("other")), (Ok(true), Ok(false)));
        assert_eq!(params.time_ms("from_time"), Ok(Some(0)));
        assert_eq!(params.finish(), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let take = |query: &str| refused(Params::parse(query).number::<u64>("limit"));
        assert_eq!(take("limit=x").0, "limit");
        assert_eq!(take("limit=-1").1, "limit must be a whole number, not \"-1\"");
        assert_eq!(take("limit=1&limit=2").1, "the parameter limit comes more than once");
        assert_eq!(refused(Params::parse("limi=1").finish()).0, "limi");
        assert_eq!(refused(Params::parse("t=yesterday").time_ms("t")).0, "t");
        assert_eq!(refused(Params::parse("system=maybe").flag("system")).0, "system");
    }

    #[test]
    fn times_are_milliseconds_or_rfc_3339() {
        assert_eq!(parse_time_ms("t", "1522949460000"), Ok(1_522_949_460_000));
        assert_eq!(parse_time_ms("t", "2018-04-05T17:31:00Z"), Ok(1_522_949_460_000));
        assert_eq!(parse_time_ms("t", "2018-04-05T19:31:00 02:00"), Ok(1_522_949_460_000));
        assert!(parse_time_ms("t", "99999999999999999999").is_err());
        assert!(parse_time_ms("t", "").is_err());
    }

    #[test]
    fn expectations_are_words_or_revisions() {
        assert_eq!(parse_expected("any"), Ok(Expected::Any));
        assert_eq!(parse_expected("no_stream"), Ok(Expected::NoStream));
        assert_eq!(parse_expected("exists"), Ok(Expected::Exists));
        assert_eq!(parse_expected("7"), Ok(Expected::Exact(Revision(7))));
        assert!(parse_expected("-1").is_err());
        assert!(parse_expected("sometimes").is_err());
    }
}
