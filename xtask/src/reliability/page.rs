//! The table of `docs/reliability.md`, between two marks; the rest of the page is written by hand.
//!
//! A line that was not run here keeps the figures that the page has of it.

use std::fs;

use anyhow::{Context as _, Result, bail};

use super::lines::{LINES, Line, Work};
use super::record::Record;
use crate::workspace::Workspace;

const BEGIN: &str = "<!-- results: written by `cargo xtask reliability --write-docs` -->";
const END: &str = "<!-- end of results -->";

/// Writes the last full run of every line into the page.
///
/// # Errors
/// If the tests of a line have failed last, or if the page lacks its marks. A benchmark that misses a goal says so in its figures.
pub(super) fn write(workspace: &Workspace) -> Result<()> {
    let mut rows = Vec::new();
    for line in LINES {
        let record = Record::find(workspace, line.name)?;
        let is_test = matches!(line.work, Work::Tests(_));
        if is_test && record.as_ref().is_some_and(|record| !record.passed) {
            bail!("the last run of {} failed: its figures are not for the documentation", line.name);
        }
        rows.push((line, record));
    }
    let path = workspace.root.join("docs/reliability.md");
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::write(&path, insert(&page, &table(&rows, &page))?)?;
    println!("wrote {}", path.display());
    Ok(())
}

fn table(rows: &[(&Line, Option<Record>)], page: &str) -> String {
    let head = "| Command | What it does | What must hold | Last figures |\n|---|---|---|---|\n";
    let mut text = head.to_owned();
    for (line, record) in rows {
        let command = format!("`cargo xtask reliability {}`", line.name);
        let figures = match record {
            Some(record) => figures(record),
            None => known(page, &command).unwrap_or("not run yet").to_owned(),
        };
        let cells = [command, line.what.into(), line.must.into(), figures];
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text
}

fn figures(record: &Record) -> String {
    let pairs: Vec<String> =
        record.figures.iter().map(|(name, value)| format!("{name}: **{value}**")).collect();
    let taken = &record.taken;
    let minutes = record.seconds / 60.0;
    format!(
        "{}<br>{}, version {}, {}, {minutes:.1} min",
        pairs.join("; "),
        taken.date,
        taken.version,
        taken.machine
    )
}

/// The figures that the page has of a command.
fn known<'a>(page: &'a str, command: &str) -> Option<&'a str> {
    let row = page.lines().find(|line| line.starts_with(&format!("| {command} |")))?;
    let (_, figures) = row.strip_suffix(" |")?.rsplit_once(" | ")?;
    Some(figures)
}

/// Replaces what is between the marks.
fn insert(page: &str, table: &str) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        parts.with_context(|| format!("the page lacks the marks \"{BEGIN}\" and \"{END}\""))?;
    Ok(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::super::machine::Taken;
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page = format!("# Title\n\n{BEGIN}\nold\n{END}\n\nrest\n");
        let once = insert(&page, "new\n").unwrap();
        assert_eq!(once, format!("# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nrest\n"));
        assert_eq!(insert(&once, "new\n").unwrap(), once);
        assert!(insert("# Title\n", "new\n").is_err());
    }

    #[test]
    fn a_row_has_the_command_and_the_figures() {
        let taken =
            Taken { date: "2026-01-02".into(), version: "0.1.0 (abc)".into(), machine: "2 cores".into() };
        let figures = vec![("flips".to_owned(), "10,000".to_owned()), ("silent".to_owned(), "0".to_owned())];
        let record =
            Record { name: "flips".into(), passed: true, quick: false, seconds: 90.0, figures, taken };
        let page = "| `cargo xtask reliability idle` | what | must | figure: **1** |\n";
        let line = |name| LINES.iter().find(|line| line.name == name).unwrap();
        let text =
            table(&[(line("flips"), Some(record)), (line("slow-disk"), None), (line("idle"), None)], page);
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert!(rows[0].starts_with("| `cargo xtask reliability flips` | "), "{}", rows[0]);
        let end = "| flips: **10,000**; silent: **0**<br>2026-01-02, version 0.1.0 (abc), 2 cores, 1.5 min |";
        assert!(rows[0].ends_with(end), "{}", rows[0]);
        assert!(rows[1].ends_with("| not run yet |"), "{}", rows[1]);
        assert!(rows[2].ends_with("| figure: **1** |"), "what was known stays: {}", rows[2]);
    }
}
