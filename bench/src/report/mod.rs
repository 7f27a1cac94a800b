//! What the runs leave behind, all of it made from the samples: `NAME.json` with the samples of each scenario,
//! `results.json` with the figures of all of them, `tables.md`, and one plot for each quantity.

mod docs;
mod plot;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::figure::{Figure, figures};
use crate::samples::Samples;
use crate::scenario::Scenario;
use crate::scenarios;

pub(crate) use self::docs::write_docs;

/// Keeps the samples of one scenario in `out`, and makes everything else there anew.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(out: &Path, samples: &Samples) -> Result<()> {
    fs::create_dir_all(out)?;
    write_json(&out.join("samples").join(format!("{}.json", samples.scenario)), samples)?;
    let all = load(out)?;
    fs::write(out.join("tables.md"), table::all(&all, "plots"))?;
    write_json(&out.join("results.json"), &all_figures(&all))?;
    plot::write(&out.join("plots"), samples)
}

/// The samples of every scenario that was ever run into `out`, in the order of the scenarios.
///
/// # Errors
/// If a file is there and cannot be read.
pub(crate) fn load(out: &Path) -> Result<Vec<(&'static dyn Scenario, Samples)>> {
    let mut all = Vec::new();
    for scenario in scenarios::ALL {
        let path = out.join("samples").join(format!("{}.json", scenario.name()));
        if path.exists() {
            let text = fs::read_to_string(&path)?;
            let samples =
                serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
            all.push((*scenario, samples));
        }
    }
    Ok(all)
}

/// The table of one scenario, for the terminal.
pub(crate) fn text(scenario: &dyn Scenario, samples: &Samples) -> String {
    table::scenario(scenario, samples)
}

fn all_figures(all: &[(&'static dyn Scenario, Samples)]) -> Vec<Figure> {
    all.iter().flat_map(|(scenario, samples)| figures(*scenario, samples)).collect()
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
