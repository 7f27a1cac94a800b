//! A source file is a room: when it holds two stories, it is split.
//!
//! Counted are the lines that one scrolls through to read the program: everything outside test modules. Files that
//! hold nothing but tests, benches and examples are not counted.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::workspace::Workspace;

/// A good room. Above it, `tidy` says so.
const LINES_ADVISED: usize = 500;
/// Above this `tidy` fails.
const LINES_MAX: usize = 900;

/// Shows the large files, and returns one finding for each that is too large.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let sizes = sizes(workspace)?;
    for (lines, file) in sizes.iter().filter(|(lines, _)| *lines > LINES_ADVISED) {
        println!("tidy: warning: {} has {lines} lines; {LINES_ADVISED} is a good room", file.display());
    }
    let too_large = sizes.iter().filter(|(lines, _)| *lines > LINES_MAX);
    Ok(too_large
        .map(|(lines, file)| format!("{} has {lines} lines: split it by story", file.display()))
        .collect())
}

/// Shows all files, the largest first, and the sum.
pub(super) fn list(workspace: &Workspace) -> Result<()> {
    let sizes = sizes(workspace)?;
    let sum: usize = sizes.iter().map(|(lines, _)| lines).sum();
    let line = |(lines, file): &(usize, PathBuf)| format!("{lines:6}  {}\n", file.display());
    let listing: String = sizes.iter().map(line).collect();
    let text = format!("{listing}{sum:6}  lines in {} files\n", sizes.len());
    match std::io::stdout().write_all(text.as_bytes()) {
        // `… | head` has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

fn sizes(workspace: &Workspace) -> Result<Vec<(usize, PathBuf)>> {
    let mut sizes = Vec::new();
    for file in workspace.tracked_files()?.into_iter().filter(|file| is_production(file)) {
        if let Ok(text) = std::fs::read_to_string(workspace.root.join(&file)) {
            sizes.push((production_lines(&text), file));
        }
    }
    sizes.sort_by(|a, b| b.cmp(a));
    Ok(sizes)
}

fn is_production(file: &Path) -> bool {
    let test_folders = ["tests", "benches", "examples", "fuzz"];
    let in_test_folder = file.iter().any(|part| test_folders.iter().any(|folder| part == *folder));
    let is_rust = file.extension().is_some_and(|extension| extension == "rs");
    is_rust && !in_test_folder && file.file_name().is_some_and(|name| name != "tests.rs")
}

/// The lines outside of `#[cfg(test)] mod … { }` blocks that start at the margin.
fn production_lines(text: &str) -> usize {
    let mut count = 0;
    let mut in_tests = false;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let opens = line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.ends_with('{'));
        in_tests |= opens;
        count += usize::from(!in_tests);
        in_tests &= line != "}";
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_modules_do_not_count() {
        let text =
            "//! Doc.\nfn a() {\n}\n\n#[cfg(test)]\nmod tests {\n    fn t() {\n    }\n}\n\nfn b() {}\n";
        assert_eq!(production_lines(text), 6);
        assert_eq!(production_lines("#[cfg(test)]\nmod tests;\nfn a() {}\n"), 3);
    }

    #[test]
    fn files_of_tests_do_not_count() {
        assert!(is_production(Path::new("crates/journal/src/lib.rs")));
        assert!(!is_production(Path::new("crates/journal/tests/crash.rs")));
        assert!(!is_production(Path::new("crates/journal/src/tests.rs")));
        assert!(!is_production(Path::new("README.md")));
    }
}
