//! The syntax of URIs and URI references (RFC 3986), as far as an envelope needs it: is it one, and if not, why not.
//!
//! Nothing is resolved or normalised: two sources are the same if their text is. A URI with a fragment passes as a URI,
//! though the specification's type is "absolute URI" without one: schemas are named with fragments in practice, and
//! the official libraries let them through.

/// Checks that `text` is a URI or a relative reference (RFC 3986, section 4.1).
pub(crate) fn check_reference(text: &str) -> Result<(), &'static str> {
    let (scheme, rest) = split_scheme(text);
    match scheme {
        Some(scheme) => check_scheme(scheme)?,
        None if first_segment(rest).contains(':') => return Err("a relative reference starts with a colon"),
        None => {}
    }
    check_after_scheme(rest)
}

/// Checks that `text` is a URI: a reference with a scheme (RFC 3986, section 3).
pub(crate) fn check_uri(text: &str) -> Result<(), &'static str> {
    let (scheme, rest) = split_scheme(text);
    check_scheme(scheme.ok_or("it has no scheme such as \"https:\"")?)?;
    check_after_scheme(rest)
}

/// Splits at the colon that ends the scheme, if a colon comes before any `/`, `?` and `#`.
fn split_scheme(text: &str) -> (Option<&str>, &str) {
    match text.find([':', '/', '?', '#']) {
        Some(at) if at > 0 && text.as_bytes()[at] == b':' => (Some(&text[..at]), &text[at + 1..]),
        _ => (None, text),
    }
}

fn first_segment(text: &str) -> &str {
    text.split(['/', '?', '#']).next().unwrap_or_default()
}

fn check_scheme(scheme: &str) -> Result<(), &'static str> {
    let starts_well = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if starts_well && scheme.chars().all(valid) {
        return Ok(());
    }
    Err("what comes before the first colon is not a scheme")
}

/// Checks authority, path, query and fragment.
fn check_after_scheme(rest: &str) -> Result<(), &'static str> {
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (hierarchy, query) = rest.split_once('?').unwrap_or((rest, ""));
    check_characters(fragment, "/?")?;
    check_characters(query, "/?")?;
    match hierarchy.strip_prefix("//") {
        None => check_characters(hierarchy, "/"),
        Some(after) => {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            check_authority(authority)?;
            check_characters(path, "/")
        }
    }
}

fn check_authority(authority: &str) -> Result<(), &'static str> {
    let (user, host_port) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains('@') {
        return Err("it has two @ before its path");
    }
    check_characters(user, "")?;
    let (host, port) = split_port(host_port)?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("its port is not a number");
    }
    check_host(host)
}

fn split_port(host_port: &str) -> Result<(&str, &str), &'static str> {
    if let Some(literal) = host_port.strip_prefix('[') {
        let (address, after) = literal.split_once(']').ok_or("its [ has no ]")?;
        let port = if after.is_empty() { "" } else { after.strip_prefix(':').ok_or("text follows its ]")? };
        check_literal(address)?;
        return Ok(("", port));
    }
    Ok(host_port.split_once(':').unwrap_or((host_port, "")))
}

/// The address between brackets: IPv6, or the "v" form for what comes after it.
fn check_literal(address: &str) -> Result<(), &'static str> {
    let future = address.starts_with(['v', 'V']) && check_characters(address, "").is_ok();
    if future || address.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(());
    }
    Err("what is between its [ and ] is not an IPv6 address")
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.contains(':') {
        return Err("its port is not a number");
    }
    check_characters(host, "")
}

/// Checks for characters of a path segment (RFC 3986, `pchar`) and those in `also`.
fn check_characters(text: &str, also: &str) -> Result<(), &'static str> {
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        let hex = |offset: usize| bytes.get(at + offset).is_some_and(u8::is_ascii_hexdigit);
        if byte == b'%' && !(hex(1) && hex(2)) {
            return Err("a % is not followed by two hexadecimal digits");
        }
        if byte != b'%' && !is_path_character(byte) && !also.as_bytes().contains(&byte) {
            return Err(if byte.is_ascii() {
                "it holds a character that must be %-encoded"
            } else {
                NOT_ASCII
            });
        }
    }
    Ok(())
}

const NOT_ASCII: &str = "characters outside ASCII must be %-encoded as UTF-8";

fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::{check_reference, check_uri};

    #[test]
    fn references_of_the_specifications_pass() {
        // The CloudEvents specification's examples of `source`, then RFC 3986, sections 1.1.2 and 5.4.
        let examples = "https://github.com/cloudevents mailto:cncf-wg-serverless@lists.cncf.io
            urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66 /cloudevents/spec/pull/123 /sensors/tn-1234567/alerts
            1-555-123-4567 ftp://ftp.is.co.za/rfc/rfc1808.txt http://www.ietf.org/rfc/rfc2396.txt
            ldap://[2001:db8::7]/c=GB?objectClass?one news:comp.infosystems.www.servers.unix tel:+1-816-555-1212
            telnet://192.0.2.16:80/ g:h g ./g g/ /g //g ?y g?y #s g#s g?y#s ;x g;x g;x?y#s . ./ .. ../.. ../../g
            g?y/../x g#s/./x http:g //user:pw@host:/p file:///etc/hosts a%20b http://[v1.fe]/";
        for example in examples.split_whitespace() {
            assert_eq!(check_reference(example), Ok(()), "{example}");
        }
    }

    #[test]
    fn broken_references_are_named() {
        let cases = [
            ("a b", "%-encoded"),
            ("/grüße", "outside ASCII"),
            ("/50%", "two hexadecimal"),
            ("/%zz", "two hexadecimal"),
            (":x", "starts with a colon"),
            ("1:x", "not a scheme"),
            ("http://[::1", "no ]"),
            ("http://[::1]x", "follows its ]"),
            ("http://[nonsense]/", "IPv6"),
            ("http://host:port/", "not a number"),
            ("http://a:1:2/", "not a number"),
            ("http://a@b@c/", "two @"),
            ("x#a#b", "%-encoded"),
            ("<x>", "%-encoded"),
        ];
        for (text, reason) in cases {
            let refused = check_reference(text).expect_err(text);
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn a_uri_needs_a_scheme() {
        assert_eq!(check_uri("https://example.com/schemas/order.json#v2"), Ok(()));
        assert_eq!(check_uri("urn:example:order:2"), Ok(()));
        assert!(check_uri("/schemas/order").is_err_and(|reason| reason.contains("no scheme")));
    }
}
