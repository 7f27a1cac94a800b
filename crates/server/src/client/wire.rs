//! A few bytes of the Kafka protocol, for the questions that the client library cannot ask.
//!
//! Two of them: "do you speak Kafka at all" (ApiVersions, version 0, which every broker answers) and "how
//! large are these partitions" (DescribeLogDirs, version 1, the oldest that Kafka 4 serves). Both are from
//! before the flexible encodings, so integers are big-endian and strings carry a two-byte length. Lengths
//! from the network are checked before anything is allocated for them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

const CLIENT_ID: &str = "annals-cli";
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A request body as it goes over the network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request(Vec<u8>);

impl Request {
    fn with_header(key: i16, version: i16) -> Self {
        let mut request = Self::default();
        request.i16(key).i16(version).i32(1).string(CLIENT_ID);
        request
    }

    /// Appends a 16-bit number.
    pub(crate) fn i16(&mut self, value: i16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends a 32-bit number.
    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends a string. Names in Kafka are shorter than 32 KiB; a longer one is cut.
    pub(crate) fn string(&mut self, value: &str) -> &mut Self {
        let length = value.len().min(i16::MAX as usize);
        self.i16(length as i16).0.extend(&value.as_bytes()[..length]);
        self
    }
}

/// An answer, read from the front.
#[derive(Clone, Debug)]
pub(crate) struct Answer(Vec<u8>, usize);

impl Answer {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let rest = self.0.get(self.1..).unwrap_or_default();
        let head = rest.first_chunk::<N>().context("the answer ends early")?;
        self.1 += N;
        Ok(*head)
    }

    /// The next 16-bit number.
    pub(crate) fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    /// The next 32-bit number.
    pub(crate) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    /// The next 64-bit number.
    pub(crate) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    /// The next byte, as a truth value.
    pub(crate) fn bool(&mut self) -> Result<bool> {
        Ok(self.take::<1>()?[0] != 0)
    }

    /// The next string; empty if it is null.
    pub(crate) fn string(&mut self) -> Result<String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        let bytes = self.0.get(self.1..self.1 + length).context("the answer ends early")?;
        self.1 += length;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Which requests the broker serves: API key with lowest and highest version.
///
/// # Errors
/// If whoever answers does not speak the Kafka protocol.
pub(crate) fn api_versions(stream: &mut TcpStream, timeout: Duration) -> Result<Vec<(i16, i16, i16)>> {
    let mut answer = ask(stream, &Request::with_header(18, 0), timeout)?;
    let (error, count) = (answer.i16()?, answer.i32()?);
    if error != 0 || !(1..1_000).contains(&count) {
        bail!("the answer is not one of a Kafka broker");
    }
    (0..count).map(|_| Ok((answer.i16()?, answer.i16()?, answer.i16()?))).collect()
}

/// Sizes in bytes of partitions of `topic` on the broker behind `stream`.
pub(crate) fn log_sizes(
    stream: &mut TcpStream,
    topic: &str,
    partitions: &[i32],
    timeout: Duration,
) -> Result<Vec<(i32, u64)>> {
    let mut request = Request::with_header(35, 1);
    request.i32(1).string(topic).i32(partitions.len() as i32);
    for partition in partitions {
        request.i32(*partition);
    }
    read_log_sizes(&mut ask(stream, &request, timeout)?)
}

fn read_log_sizes(answer: &mut Answer) -> Result<Vec<(i32, u64)>> {
    let mut sizes = Vec::new();
    let _throttle_ms = answer.i32()?;
    for _directory in 0..answer.i32()? {
        let (_error, _path) = (answer.i16()?, answer.string()?);
        for _topic in 0..answer.i32()? {
            let _name = answer.string()?;
            for _partition in 0..answer.i32()? {
                let (partition, size) = (answer.i32()?, answer.i64()?);
                let (_offset_lag, is_future) = (answer.i64()?, answer.bool()?);
                if !is_future {
                    sizes.push((partition, u64::try_from(size).unwrap_or(0)));
                }
            }
        }
    }
    Ok(sizes)
}

fn ask(stream: &mut TcpStream, request: &Request, timeout: Duration) -> Result<Answer> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let mut frame = Request::default();
    frame.i32(request.0.len() as i32).0.extend(&request.0);
    stream.write_all(&frame.0)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if !(4..=ANSWER_BYTES_MAX).contains(&length) {
        bail!("the answer is not one of a Kafka broker");
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let mut answer = Answer(body, 0);
    if answer.i32()? != 1 {
        bail!("the answer belongs to another request");
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::{Answer, api_versions, read_log_sizes};

    fn against(reply: &'static [u8]) -> anyhow::Result<Vec<(i16, i16, i16)>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::Builder::new().spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = [0; 24];
            peer.read_exact(&mut request).unwrap();
            peer.write_all(reply).unwrap();
        });
        let mut stream = TcpStream::connect(address).unwrap();
        let answer = api_versions(&mut stream, Duration::from_secs(60));
        server.unwrap().join().unwrap();
        answer
    }

    #[test]
    fn a_broker_is_recognised() {
        let versions = against(&[0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
        assert_eq!(versions.unwrap(), vec![(18, 0, 4)]);
    }

    #[test]
    fn a_web_server_is_not_a_broker_and_its_answer_is_not_a_length() {
        assert!(against(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err());
        assert!(against(&[0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn sizes_are_read_and_copies_in_the_making_left_out() {
        let mut bytes = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, b'd', 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2];
        for (partition, is_future) in [(3_i32, 0_u8), (4, 1)] {
            bytes.extend(partition.to_be_bytes());
            bytes.extend(700_i64.to_be_bytes());
            bytes.extend(0_i64.to_be_bytes());
            bytes.push(is_future);
        }
        assert_eq!(read_log_sizes(&mut Answer(bytes, 0)).unwrap(), vec![(3, 700)]);
        assert!(read_log_sizes(&mut Answer(vec![0, 0, 0, 0, 0, 9], 0)).is_err());
    }
}
