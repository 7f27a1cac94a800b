//! What must not be in a tracked file: the remains of a merge, and paths that lead out of the repository.

use std::path::Path;

use anyhow::Result;

use crate::workspace::Workspace;

/// A folder beside the checkout that a fresh clone does not have. Spelled so that this file does not contain it.
const BESIDE: &str = concat!("..", "/shared");

/// Returns one finding for each line that must not be there.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in workspace.tracked_files()? {
        // A file that was deleted and not yet committed is not there; one that is not text has no lines.
        if let Ok(text) = std::fs::read_to_string(workspace.root.join(&file)) {
            findings.extend(check_file(&file, &text));
        }
    }
    Ok(findings)
}

fn check_file(file: &Path, text: &str) -> Vec<String> {
    let is_test = file.components().any(|folder| folder.as_os_str() == "tests");
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(number, line)| {
            let what = problem(line, is_test)?;
            Some(format!("{}:{}: {what}", file.display(), number + 1))
        })
        .collect()
}

fn problem(line: &str, is_test: bool) -> Option<&'static str> {
    if is_merge_marker(line) {
        return Some("a merge marker");
    }
    (!is_test && line.contains(BESIDE)).then_some("a path that leads out of the repository")
}

/// The line between the two sides (seven equals signs) is also an underline in prose, so it does not count alone.
fn is_merge_marker(line: &str) -> bool {
    ['<', '>', '|'].iter().any(|mark| {
        let rest = line.trim_start_matches(*mark);
        line.len() - rest.len() == 7 && rest.starts_with(' ')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_markers_are_found_with_their_line() {
        let text = format!("fine\n{} HEAD\n=======\n", "<".repeat(7));
        assert_eq!(check_file(Path::new("a.md"), &text), ["a.md:2: a merge marker"]);
        assert_eq!(check_file(Path::new("a.md"), "a <<<< b\n>> c\n"), [""; 0]);
    }

    #[test]
    fn only_tests_may_lead_out() {
        let text = format!("see {BESIDE}/x");
        assert_eq!(check_file(Path::new("docs/a.md"), &text).len(), 1);
        assert_eq!(check_file(Path::new("tests/a.rs"), &text).len(), 0);
    }
}
