//! Frames of AMQP 0-9-1, from anybody who can reach the port.

/// Takes `data` as what a client sends behind its protocol header.
pub fn run(data: &[u8]) {
    // Any number of effects is fine, as long as it ends.
    let _ = annals_amqp::replay(data);
}
