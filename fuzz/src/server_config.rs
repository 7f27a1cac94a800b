//! The server's configuration file, written by a person in a hurry.
//!
//! The input is the file. Names of hosts are not looked up: an input with an address that is not in numbers is passed over.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::config::Settings;

/// Loads `data` as a configuration file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.parse::<toml::Table>().is_ok_and(|table| asks_for_a_name(&table)) {
        return;
    }
    let path = scratch_file();
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match Settings::load(Some(&path), std::iter::empty(), &[]) {
        Ok(settings) => assert!(settings.allow_remote || settings.kafka.address.ip().is_loopback()),
        Err(error) => assert!(!error.to_string().is_empty(), "an error says what is wrong"),
    }
}

/// Whether an address somewhere in `table` would be looked up.
fn asks_for_a_name(table: &toml::Table) -> bool {
    table.iter().any(|(name, value)| match value {
        toml::Value::Table(table) => asks_for_a_name(table),
        toml::Value::String(text) => name.ends_with("addr") && text.parse::<SocketAddr>().is_err(),
        toml::Value::Array(_) => name.ends_with("addr"),
        _ => false,
    })
}

/// One file for each thread, in a folder that goes with the process.
fn scratch_file() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        TempDir::with_prefix("annals-fuzz-").unwrap_or_else(|error| panic!("no scratch folder: {error}"))
    });
    folder.path().join(format!("{:?}.toml", std::thread::current().id()))
}
