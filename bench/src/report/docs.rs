//! Putting the results into the documentation: tables between two marks of the page, plots and figures beside it.
//!
//! What was not measured this time stays as it is: the page's sections, and their figures in `results.json`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{all_figures, load, plot, table, write_json};
use crate::figure::Figure;
use crate::samples::Samples;
use crate::scenario::Scenario;
use crate::scenarios;

const BEGIN: &str = "<!-- results: written by `cargo xtask bench --write-docs` -->";
const END: &str = "<!-- end of results -->";
/// The folder beside the page where plots and figures are.
const FOLDER: &str = "benchmarks";

/// Writes the results in `out` into `docs/benchmarks.md` of the checkout at `root`.
///
/// # Errors
/// If there are no results, if some are of quick runs, or if the page lacks its marks.
pub(crate) fn write_docs(root: &Path, out: &Path) -> Result<()> {
    let new = load(out)?;
    if new.is_empty() {
        bail!("there are no results in {}: run scenarios first", out.display());
    }
    if let Some((_, samples)) = new.iter().find(|(_, samples)| samples.quick) {
        bail!("the results of {} are of a quick run, which means nothing: run it in full", samples.scenario);
    }
    let page = root.join("docs/benchmarks.md");
    let folder = page.with_file_name(FOLDER);
    let results = folder.join("results.json");
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let figures = merge_figures(&new, read_figures(&results)?);
    fs::write(&page, insert(&text, &figures, &new)?)?;
    new.iter().try_for_each(|(_, samples)| plot::write(&folder, samples))?;
    write_json(&results, &figures)?;
    println!("wrote {} and {}", page.display(), folder.display());
    Ok(())
}

fn read_figures(path: &Path) -> Result<Vec<Figure>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path)?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
}

/// The figures of what was measured now, and the old ones of everything else, in the order of the scenarios.
fn merge_figures(new: &[(&'static dyn Scenario, Samples)], old: Vec<Figure>) -> Vec<Figure> {
    let mut figures = all_figures(new);
    figures.extend(old.into_iter().filter(|figure| !is_measured(new, &figure.scenario)));
    figures.retain(|figure| scenarios::find(&figure.scenario).is_some());
    let rank = |figure: &Figure| scenarios::ALL.iter().position(|known| known.name() == figure.scenario);
    figures.sort_by_key(rank);
    figures
}

fn is_measured(new: &[(&'static dyn Scenario, Samples)], name: &str) -> bool {
    new.iter().any(|(scenario, _)| scenario.name() == name)
}

/// Replaces the goals and the sections of what was measured between the marks.
fn insert(page: &str, figures: &[Figure], new: &[(&'static dyn Scenario, Samples)]) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    let (before, (old, after)) =
        parts.with_context(|| format!("the page lacks the marks \"{BEGIN}\" and \"{END}\""))?;
    let mut tables = table::goals_overview(figures);
    for scenario in scenarios::ALL {
        let measured = new.iter().find(|(measured, _)| measured.name() == scenario.name());
        match measured {
            Some((_, samples)) => tables += &table::section(*scenario, samples, FOLDER),
            None => tables += section(old, scenario.name()).unwrap_or_default(),
        }
    }
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", tables.trim_end()))
}

/// The section of this name, from its heading to the next one.
fn section<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    const HEADING: &str = "\n## ";
    let begin = text.find(&format!("{HEADING}{name}\n"))? + 1;
    let len = text[begin..].find(HEADING).map_or(text.len() - begin, |len| len + 1);
    Some(&text[begin..begin + len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_changes() {
        let old = "\n## Goals\n\nold\n\n## produce\n\nold\n\n## consume\n\nkept\n\n";
        let page = format!("# Title\n\n{BEGIN}\n{old}{END}\n\nrest\n");
        let samples = Samples { scenario: "produce".into(), ..Samples::default() };
        let produce = scenarios::find("produce").unwrap();
        let new = [(produce, samples)];
        let once = insert(&page, &[], &new).unwrap();
        assert!(once.starts_with(&format!("# Title\n\n{BEGIN}\n\n## produce\n")), "{once}");
        assert!(once.ends_with(&format!("\n\n## consume\n\nkept\n\n{END}\n\nrest\n")), "{once}");
        assert!(!once.contains("old"), "{once}");
        assert_eq!(insert(&once, &[], &new).unwrap(), once);
        assert!(insert("# Title", &[], &new).is_err());
    }

    #[test]
    fn the_page_and_its_figures_can_be_written_anew() {
        let page = include_str!("../../../docs/benchmarks.md");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks");
        let old = read_figures(&folder.join("results.json")).unwrap();
        let count = old.len();
        let figures = merge_figures(&[], old);
        assert_eq!(figures.len(), count);
        assert_eq!(insert(page, &figures, &[]).unwrap(), page, "nothing was measured, nothing changes");
    }
}
