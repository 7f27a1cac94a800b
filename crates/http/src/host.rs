//! Which names a request may call this server by.
//!
//! The danger: a web page makes its own name resolve to 127.0.0.1 (DNS rebinding), so that the browser takes what is
//! served here for the page's own. The browser still sends the page's name as `Host`. So a name must be known, while an
//! IP address is always good: a page cannot have somebody else's address for a name.
//!
//! Source: RFC 9110, section 7.2, and RFC 9112, section 3.2, for where the name stands and what to do without one.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::header::HOST;
use axum::http::{Request, StatusCode, Version};

use crate::Problem;

/// Checks the names in a request's target and its `Host` header.
pub(crate) fn check<B>(request: &Request<B>, allowed: &[String]) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(bad("the request has more than one Host header"));
    }
    match first {
        Some(value) => check_name(value.to_str().map_err(|_| bad("the Host header is not ASCII"))?, allowed)?,
        // Browsers always send one; load balancers' plain checks speak HTTP/1.0 without.
        None if request.version() == Version::HTTP_10 => {}
        None => return Err(bad("the request has no Host header")),
    }
    match request.uri().authority() {
        Some(authority) => check_name(authority.as_str(), allowed),
        None => Ok(()),
    }
}

fn check_name(authority: &str, allowed: &[String]) -> Result<(), Problem> {
    let host =
        host_of(authority).ok_or_else(|| bad("the Host header is not a name or address with a port"))?;
    let known = |name: &String| name.trim_end_matches('.').eq_ignore_ascii_case(host);
    if is_address(host) || is_localhost(host) || allowed.iter().any(known) {
        return Ok(());
    }
    let shown: String = host.chars().take(64).collect();
    let detail = format!(
        "this server does not answer to the name {shown:?}: call it by IP address or as localhost, or add the name to \
         its allowed hosts"
    );
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
}

/// The host in `host:port`, without port, brackets kept and a final dot removed.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.rfind(']') {
        Some(end) => authority.split_at(end + 1),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port_is_good = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    (port_is_good && !host.is_empty()).then_some(host)
}

fn is_address(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()),
    }
}

/// `localhost` and what is below it, which RFC 6761 keeps on this machine.
fn is_localhost(host: &str) -> bool {
    let top = host.rsplit('.').next().unwrap_or(host);
    top.eq_ignore_ascii_case("localhost")
}

fn bad(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status(hosts: &[&str]) -> u16 {
        let request =
            hosts.iter().fold(Request::builder().uri("/"), |request, host| request.header(HOST, *host));
        let allowed = ["annals.internal".to_owned(), "Shop.Example.".to_owned()];
        check(&request.body(()).unwrap(), &allowed).err().map_or(200, |problem| problem.status)
    }

    #[test]
    fn own_names_and_addresses_pass() {
        let names = "localhost localhost:7117 LOCALHOST. annals.localhost:1 127.0.0.1 127.0.0.1:7117 [::1] [::1]:7117
            10.0.0.7:7117 [fe80::1]:1 annals.internal annals.internal.:80 ANNALS.INTERNAL:7117 shop.example localhost:";
        for name in names.split_whitespace() {
            assert_eq!(status(&[name]), 200, "{name}");
        }
    }

    #[test]
    fn names_of_others_are_refused() {
        let names = "evil.example evil.example:7117 localhost.evil.example 127.0.0.1.evil.example xlocalhost
            internal sub.annals.internal 127.1 0x7f.0.0.1 2130706433 [evil]:1";
        for name in names.split_whitespace() {
            assert_eq!(status(&[name]), 421, "{name}");
        }
    }

    #[test]
    fn a_host_that_is_missing_doubled_or_broken_is_a_bad_request() {
        assert_eq!(status(&[]), 400);
        assert_eq!(status(&["localhost", "localhost"]), 400);
        for name in ["", ":7117", "localhost:x", "localhost:1:2", "[::1]x", "::1"] {
            assert_eq!(status(&[name]), 400, "{name:?}");
        }
    }

    #[test]
    fn http_1_0_may_leave_the_host_out() {
        let request = Request::builder().uri("/").version(Version::HTTP_10).body(()).unwrap();
        assert_eq!(check(&request, &[]), Ok(()));
    }

    #[test]
    fn a_name_in_the_target_is_checked_too() {
        let request =
            Request::builder().uri("http://evil.example/metrics").header(HOST, "localhost").body(()).unwrap();
        assert_eq!(check(&request, &[]).map_err(|problem| problem.status), Err(421));
    }

    proptest! {
        #[test]
        fn any_host_is_checked(host in "[ -~]{0,30}") {
            let _ = check_name(&host, &[]);
        }
    }
}
