//! Whether anything listens at the address. The client library would retry in silence for many seconds.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Result, bail};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Connects to one of the comma-separated `addresses`.
///
/// # Errors
/// If none can be reached; names the last one tried, and why it failed.
pub(crate) fn check(addresses: &str) -> Result<()> {
    let mut failure = None;
    for address in addresses.split(',').map(str::trim).filter(|address| !address.is_empty()) {
        match connect(address) {
            Ok(_) => return Ok(()),
            Err(error) => failure = Some((address, error)),
        }
    }
    match failure {
        Some((address, error)) => bail!(
            "cannot reach a broker at {address}: {}; start one with \"annals serve\" or name another with \
             --bootstrap-server HOST:PORT",
            cause(&error)
        ),
        None => bail!("\"{addresses}\" names no broker; give --bootstrap-server HOST:PORT"),
    }
}

/// Opens a connection to `HOST:PORT` (port 9092 if none is given), trying each address that the name stands
/// for.
pub(crate) fn connect(address: &str) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in resolve(address)? {
        match TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let with_port = |error: io::Error| match address.contains(':') {
        true => Err(error),
        false => (address, 9092).to_socket_addrs(),
    };
    Ok(address.to_socket_addrs().or_else(with_port)?.collect())
}

/// An I/O error in a few lower-case words.
pub(crate) fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::check;

    #[test]
    fn a_closed_port_is_named_with_what_to_do() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let message = check(&format!("127.0.0.1:{port}")).unwrap_err().to_string();
        assert!(message.contains(&format!("127.0.0.1:{port}: connection refused")), "{message}");
        assert!(message.contains("annals serve"), "{message}");
    }

    #[test]
    fn one_reachable_address_is_enough() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        assert!(check(&format!("127.0.0.1:1, {open}")).is_ok());
        assert!(check(" ").is_err());
    }
}
