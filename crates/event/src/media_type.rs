//! Media types (RFC 2045 and 2046): whether a text is one, and what it says of the data.

/// A media type taken apart. Letters are compared without regard to case, as the RFC asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MediaType<'a> {
    main: &'a str,
    sub: &'a str,
    charset: Option<&'a str>,
}

impl<'a> MediaType<'a> {
    /// Takes `text` apart, or returns `None` if it is no media type.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (essence, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        let (main, sub) = essence.trim_matches([' ', '\t']).split_once('/')?;
        let mut charset = None;
        while !rest.is_empty() {
            let (name, value, after) = parse_parameter(rest)?;
            if name.eq_ignore_ascii_case("charset") {
                charset = Some(value);
            }
            rest = after;
        }
        (is_token(main) && is_token(sub)).then_some(Self { main, sub, charset })
    }

    /// `*/json` and `*/*+json`, what CloudEvents calls JSON-formatted.
    pub(crate) fn is_json(&self) -> bool {
        self.sub.eq_ignore_ascii_case("json") || self.has_suffix("+json")
    }

    /// Whether data of this type is text in UTF-8 that can stand in a JSON string.
    pub(crate) fn is_text(&self) -> bool {
        let text = self.main.eq_ignore_ascii_case("text")
            || self.sub.eq_ignore_ascii_case("xml")
            || self.has_suffix("+xml");
        text && self.is_utf8()
    }

    /// Whether the character set is UTF-8 or contained in it. One that is not named is taken for UTF-8.
    pub(crate) fn is_utf8(&self) -> bool {
        self.charset
            .is_none_or(|name| name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("us-ascii"))
    }

    fn has_suffix(&self, suffix: &str) -> bool {
        let start = self.sub.len().checked_sub(suffix.len());
        start.and_then(|start| self.sub.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    }
}

/// Parses `; name=value` and returns what follows it. A semicolon at the very end is let through: senders write it.
fn parse_parameter(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.strip_prefix(';')?.trim_start_matches([' ', '\t']);
    if text.is_empty() {
        return Some(("", "", ""));
    }
    let (name, rest) = text.split_once('=')?;
    let (value, after) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_at(closing_quote(quoted)?),
        None => rest.split_at(rest.find(';').unwrap_or(rest.len())),
    };
    let is_quoted = rest.starts_with('"');
    let value = if is_quoted { value } else { value.trim_end_matches([' ', '\t']) };
    let after = after.strip_prefix('"').unwrap_or(after).trim_start_matches([' ', '\t']);
    let ends_well = after.is_empty() || after.starts_with(';');
    (is_token(name) && (is_quoted || is_token(value)) && ends_well).then_some((name, value, after))
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte);
    !text.is_empty() && text.bytes().all(valid)
}

#[cfg(test)]
mod tests {
    use super::MediaType;

    #[test]
    fn media_types_are_told_from_other_text() {
        let good = [
            "application/json",
            "text/xml; charset=utf-8",
            "application/vnd.apache.thrift.binary",
            "text/plain;charset=\"utf-8\" ; format=flowed",
            "application/json;",
            "a/b; x=\"semi;colon \\\" quoted\"",
        ];
        for text in good {
            assert!(MediaType::parse(text).is_some(), "{text}");
        }
        for text in
            ["", "json", "/json", "text/", "a/b/c", "a/b; x", "a/b; x=", "a/b; x=\"open", "a b/c", "a/b x=y"]
        {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
    }

    #[test]
    fn json_and_text_are_recognised() {
        let of = |text| MediaType::parse(text).map(|found| (found.is_json(), found.is_text()));
        assert_eq!(of("application/json"), Some((true, false)));
        assert_eq!(of("Application/Vnd.Shop+JSON; charset=utf-8"), Some((true, false)));
        assert_eq!(of("text/json"), Some((true, true)));
        assert_eq!(of("application/xml"), Some((false, true)));
        assert_eq!(of("image/svg+xml"), Some((false, true)));
        assert_eq!(of("text/plain; charset=iso-8859-1"), Some((false, false)));
        assert_eq!(of("application/jsonx"), Some((false, false)));
        assert_eq!(of("application/ü+json"), None);
    }
}
