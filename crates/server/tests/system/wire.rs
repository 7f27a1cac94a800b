//! A raw connection that says exactly what it is told to say.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Nothing asked of a server takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Sends bytes. The server may have closed the connection already.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Sends a whole request.
    pub(crate) fn send(&mut self, key: i16, version: i16, body: &[u8]) {
        self.0.write_all(&request(key, version, body)).unwrap();
    }

    /// The body of the next response, without length and correlation id; `None` if the connection was closed.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut size = [0; 4];
        match self.0.read_exact(&mut size) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("neither an answer nor an end"),
            Err(_) => return None,
        }
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        self.0.read_exact(&mut frame).unwrap();
        Some(frame.split_off(4))
    }

    /// Whether the server closes the connection, whatever it says before.
    pub(crate) fn is_closed(&mut self) -> bool {
        while self.receive().is_some() {}
        true
    }

    pub(crate) fn write_timeout(&mut self, timeout: Duration) {
        self.0.set_write_timeout(Some(timeout)).unwrap();
    }
}

/// A request of a version without tagged fields, with correlation id 7 and no client id.
pub(crate) fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((body.len() + 10) as i32).to_be_bytes().to_vec();
    bytes.extend(key.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend(7_i32.to_be_bytes());
    bytes.extend((-1_i16).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as i16).to_be_bytes(), text.as_bytes()].concat()
}

/// The body of a Produce request, version 7, with these records for partition 0.
pub(crate) fn produce(topic: &str, records: &[u8]) -> Vec<u8> {
    [
        &(-1_i16).to_be_bytes()[..], // no transactional id
        &(-1_i16).to_be_bytes(),     // acks=all
        &30_000_i32.to_be_bytes(),
        &1_i32.to_be_bytes(),
        &string(topic),
        &1_i32.to_be_bytes(),
        &0_i32.to_be_bytes(),
        &(records.len() as i32).to_be_bytes(),
        records,
    ]
    .concat()
}

/// The error code in the answer to [`produce`].
pub(crate) fn produce_error(topic: &str, answer: &[u8]) -> i16 {
    error_at(topic, answer)
}

/// The error code in the answer to [`fetch`].
pub(crate) fn fetch_error(topic: &str, answer: &[u8]) -> i16 {
    // Behind the throttle time.
    error_at(topic, &answer[4..])
}

fn error_at(topic: &str, answer: &[u8]) -> i16 {
    // One topic with its name, one partition with its number, the code.
    let at = 4 + 2 + topic.len() + 4 + 4;
    i16::from_be_bytes([answer[at], answer[at + 1]])
}

/// The body of a Fetch request, version 4, for partition 0 from `offset`.
pub(crate) fn fetch(topic: &str, offset: i64, bytes_max: i32) -> Vec<u8> {
    [
        &(-1_i32).to_be_bytes()[..], // a consumer
        &0_i32.to_be_bytes(),        // does not wait
        &1_i32.to_be_bytes(),
        &bytes_max.to_be_bytes(),
        &[0],
        &1_i32.to_be_bytes(),
        &string(topic),
        &1_i32.to_be_bytes(),
        &0_i32.to_be_bytes(),
        &offset.to_be_bytes(),
        &bytes_max.to_be_bytes(),
    ]
    .concat()
}
