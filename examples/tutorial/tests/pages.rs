//! The pages in docs/ show code that is compiled and run: each block is found in the sources that it comes from.

#![expect(clippy::unwrap_used, reason = "what goes wrong is a failed test")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut inside: Option<(bool, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut inside) {
            (Some(_), Some(_)) => {
                let (wanted, block) = inside.take().unwrap();
                blocks.extend(wanted.then_some(block));
            }
            (Some(found), None) => inside = Some((found == language, String::new())),
            (None, Some((_, block))) => *block += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    blocks
}

/// The lines that say something, whatever their indentation.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn check(page: &str, sources: &[&str]) {
    let sources: Vec<String> = sources.iter().map(|source| read(source)).collect();
    let blocks = blocks(&read(page), "rust");
    assert!(!blocks.is_empty(), "{page} shows no code");
    for block in blocks {
        let wanted = lines(&block);
        let holds = |source: &String| lines(source).windows(wanted.len()).any(|part| part == wanted);
        assert!(sources.iter().any(holds), "{page} shows code that is nowhere:\n{block}");
    }
}

#[test]
fn the_tutorial_shows_the_program() {
    let folder = "examples/tutorial/src";
    let sources =
        ["account.rs", "balances.rs", "main.rs", "on_a_server.rs"].map(|name| format!("{folder}/{name}"));
    check("docs/tutorial-event-sourcing.md", &sources.each_ref().map(String::as_str));
}

#[test]
fn the_page_on_versions_shows_its_tests() {
    check("docs/event-versioning.md", &["crates/annals/tests/it/versioning.rs"]);
}

#[test]
fn the_page_on_personal_data_shows_its_tests() {
    check("docs/personal-data.md", &["crates/annals/tests/it/shredding.rs"]);
}

/// Runs a program of the tutorial twice: the second run finds everything as the first one has left it.
fn run_twice(program: &str, server: &str) {
    let expected = blocks(&read("docs/tutorial-event-sourcing.md"), "text");
    let expected = expected.last().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for run in 1..=2 {
        let output = Command::new(program)
            .current_dir(directory.path())
            .env("ANNALS_SERVER", server)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "run {run}: {errors}");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if run == 1 {
            assert_eq!(&printed, expected);
        } else {
            assert!(printed.ends_with("in the table: 45000 cents\n"), "{printed}");
        }
    }
}

#[test]
fn the_program_prints_what_the_tutorial_says() {
    run_twice(env!("CARGO_BIN_EXE_annals-example-tutorial"), "");
}

/// A server of the same build, in a directory of its own.
struct Server {
    process: Child,
    address: String,
    _directory: TempDir,
}

impl Server {
    fn start(program: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new(program)
            .args(["serve", "--kafka-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--amqp-addr", ""])
            .arg("--data-dir")
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("http="));
        let address = format!("http://{}", address.unwrap_or_else(|| panic!("no address in {ready:?}")));
        Self { process, address, _directory: directory }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn on_a_server_it_prints_the_same() {
    let program = env!("CARGO_BIN_EXE_annals-example-tutorial-on-a-server");
    let server = Path::new(program).with_file_name("annals");
    // It is built where all of the workspace is tested.
    if !server.exists() && std::env::var_os("CI").is_none() {
        println!("skipped: there is no {}: run `cargo build -p annals-server` first", server.display());
        return;
    }
    run_twice(program, &Server::start(&server).address);
}

#[test]
fn on_a_server_it_is_the_same_program_but_for_one_line() {
    let (here, there) = (read("examples/tutorial/src/main.rs"), read("examples/tutorial/src/on_a_server.rs"));
    assert_eq!(here.lines().count(), there.lines().count());
    let changed: Vec<_> = here.lines().zip(there.lines()).filter(|(here, there)| here != there).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
}
