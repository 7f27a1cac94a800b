//! Putting the results into the documentation: tables between two marks of the page, plots and figures beside it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{all_figures, load, plot, table, write_json};
use crate::samples::Samples;

const BEGIN: &str = "<!-- results: written by `cargo xtask bench --write-docs` -->";
const END: &str = "<!-- end of results -->";

/// Writes the results in `out` into `docs/benchmarks.md` of the checkout at `root`.
///
/// # Errors
/// If there are no results, if some are of quick runs, or if the page lacks its marks.
pub(crate) fn write_docs(root: &Path, out: &Path) -> Result<()> {
    let all = load(out)?;
    if all.is_empty() {
        bail!("there are no results in {}: run scenarios first", out.display());
    }
    if let Some((_, samples)) = all.iter().find(|(_, samples)| samples.quick) {
        bail!("the results of {} are of a quick run, which means nothing: run it in full", samples.scenario);
    }
    let page = root.join("docs/benchmarks.md");
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    fs::write(&page, insert(&text, &table::all(&all, "benchmarks"))?)?;
    let folder = root.join("docs/benchmarks");
    let samples: Vec<&Samples> = all.iter().map(|(_, samples)| samples).collect();
    samples.into_iter().try_for_each(|samples| plot::write(&folder, samples))?;
    write_json(&folder.join("results.json"), &all_figures(&all))?;
    println!("wrote {} and {}", page.display(), folder.display());
    Ok(())
}

/// Replaces what is between the marks.
fn insert(page: &str, tables: &str) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        parts.with_context(|| format!("the page lacks the marks \"{BEGIN}\" and \"{END}\""))?;
    Ok(format!("{before}{BEGIN}\n\n{}\n{END}{after}", tables.trim_end().to_owned() + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page = format!("# Title\n\n{BEGIN}\nold\n{END}\n\nrest\n");
        let once = insert(&page, "new\n\n").unwrap();
        assert_eq!(once, format!("# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nrest\n"));
        assert_eq!(insert(&once, "new\n\n").unwrap(), once);
        assert!(insert("# Title", "new").is_err());
    }

    #[test]
    fn the_page_has_the_marks() {
        let page = include_str!("../../../docs/benchmarks.md");
        assert!(insert(page, "x").is_ok());
    }
}
