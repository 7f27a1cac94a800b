//! Whether the server's ports are free, and if not, who has them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail};

use super::Check;
use crate::client::wire;

const KAFKA_PORT: u16 = 9092;
const HTTP_PORT: u16 = 7117;
const AMQP_PORT: u16 = 5672;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Looks at the ports that the server uses unless told otherwise.
pub(crate) fn checks() -> Vec<Check> {
    let kafka = port("port 9092", KAFKA_PORT, "--kafka-addr", kafka_peer);
    let http = port("port 7117", HTTP_PORT, "--http-addr", http_peer);
    let amqp = port("port 5672", AMQP_PORT, "--amqp-addr", amqp_peer);
    vec![kafka, http, amqp]
}

fn port(
    name: &'static str,
    port: u16,
    flag: &str,
    identify: impl Fn(&mut TcpStream) -> Result<String>,
) -> Check {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if TcpListener::bind(address).is_ok() {
        return Check::ok(name, "free");
    }
    let peer = TcpStream::connect_timeout(&address, TIMEOUT).map_err(anyhow::Error::from);
    let found = match peer.and_then(|mut stream| identify(&mut stream)) {
        Ok(peer) => format!("in use by {peer}"),
        Err(_) => "in use by a program that does not answer as expected".to_owned(),
    };
    let advice = format!("nothing to do if that is your server; a second one needs {flag} 127.0.0.1:PORT");
    Check::warn(name, found, advice)
}

fn kafka_peer(stream: &mut TcpStream) -> Result<String> {
    let apis = wire::api_versions(stream, TIMEOUT)?;
    Ok(format!("a broker that speaks the Kafka protocol ({} APIs)", apis.len()))
}

fn amqp_peer(stream: &mut TcpStream) -> Result<String> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"AMQP\x00\x00\x09\x01")?;
    let mut head = [0; 11];
    stream.read_exact(&mut head)?;
    match head {
        // Method 10 of class 10 on channel 0: the greeting.
        [1, 0, 0, _, _, _, _, 0, 10, 0, 10] => Ok("a broker that speaks AMQP 0-9-1".to_owned()),
        _ => bail!("not AMQP"),
    }
}

fn http_peer(stream: &mut TcpStream) -> Result<String> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 15];
    stream.read_exact(&mut head)?;
    match &head[..12] {
        b"HTTP/1.1 200" => Ok("an HTTP server that says it is alive".to_owned()),
        [b'H', b'T', b'T', b'P', ..] => Ok("another HTTP server".to_owned()),
        _ => bail!("not HTTP"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::Verdict;
    use super::port;

    #[test]
    fn a_port_in_use_names_its_user() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        let check = port("port", number, "--kafka-addr", |_| Ok("somebody".into()));
        assert_eq!((check.verdict, check.found.as_str()), (Verdict::Warn, "in use by somebody"));
        assert!(check.advice.unwrap().contains("--kafka-addr"));
        drop(listener);
        assert_eq!(port("port", number, "--kafka-addr", |_| Ok(String::new())).verdict, Verdict::Ok);
    }
}
