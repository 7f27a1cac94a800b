//! Tables in Markdown: for each scenario one table a quantity with all subjects side by side, then its goals.

use std::fmt::Write as _;

use super::plot;
use crate::figure::{Figure, figures, raw_disk};
use crate::samples::{Samples, Series};
use crate::scenario::Scenario;

/// All scenarios, with the plots that lie in `plots`.
pub(super) fn all(all: &[(&'static dyn Scenario, Samples)], plots: &str) -> String {
    let figures: Vec<Figure> =
        all.iter().flat_map(|(scenario, samples)| figures(*scenario, samples)).collect();
    let sections = all.iter().map(|(scenario, samples)| section(*scenario, samples, plots));
    goals_overview(&figures) + &sections.collect::<String>()
}

/// One scenario with its heading, its method and its plots.
pub(super) fn section(scenario: &dyn Scenario, samples: &Samples, plots: &str) -> String {
    let mut text =
        format!("## {}\n\n{}\n\nMethod: {}.\n\n", scenario.name(), scenario.about(), scenario.method());
    text += &self::scenario(scenario, samples);
    for quantity in plot::plotted(samples) {
        let name = plot::file_name(&samples.scenario, quantity);
        let _ = writeln!(text, "![{}, {quantity}]({plots}/{name})\n", scenario.name());
    }
    text
}

/// One scenario: quantities, failures and the circumstances.
pub(super) fn scenario(scenario: &dyn Scenario, samples: &Samples) -> String {
    let mut text = String::new();
    for quantity in samples.quantities() {
        text += &quantity_table(samples, quantity);
    }
    let figures = figures(scenario, samples);
    let goals: Vec<&Figure> = figures.iter().filter(|figure| figure.goal.is_some()).collect();
    if !goals.is_empty() {
        text += &goal_table(&goals);
    }
    for failure in &samples.failures {
        let _ = writeln!(text, "Not measured: {}\n", failure.replace('\n', " "));
    }
    text + &circumstances(samples)
}

/// Every goal of every scenario.
pub(super) fn goals_overview(figures: &[Figure]) -> String {
    let goals: Vec<&Figure> = figures.iter().filter(|figure| figure.goal.is_some()).collect();
    if goals.is_empty() {
        return String::new();
    }
    let met = goals.iter().filter(|figure| figure.met == Some(true)).count();
    format!("## Goals\n\n{met} of {} are met.\n\n{}", goals.len(), goal_table(&goals))
}

fn quantity_table(samples: &Samples, quantity: &str) -> String {
    let taking_part = samples.subjects.iter().filter(|subject| {
        samples.series.iter().any(|series| series.subject == subject.key && series.quantity == quantity)
    });
    let subjects: Vec<_> = taking_part.collect();
    let unit =
        samples.series.iter().find(|series| series.quantity == quantity).map_or("", |series| &series.unit);
    let names: Vec<String> =
        subjects.iter().map(|subject| format!("{} {}", subject.name, subject.version)).collect();
    let mut rows = vec![row(std::iter::once(format!("{quantity}, {unit}")).chain(names))];
    rows.push(row(std::iter::once("---".to_owned()).chain(subjects.iter().map(|_| "---:".to_owned()))));
    for case in samples.cases(quantity) {
        let cells = subjects
            .iter()
            .map(|subject| samples.find(&subject.key, quantity, case).map_or("-".into(), cell));
        rows.push(row(std::iter::once(case.to_owned()).chain(cells)));
    }
    rows.join("\n") + "\n\n"
}

/// The median, and the range if there were several runs.
fn cell(series: &Series) -> String {
    let values = series.values();
    let (least, most) =
        (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(0.0, f64::max));
    match values.len() {
        0 | 1 => number(series.median()),
        _ => format!("**{}** ({}–{})", number(series.median()), number(least), number(most)),
    }
}

fn goal_table(goals: &[&Figure]) -> String {
    let heading = ["figure", "ours", "baseline", "ratio", "goal", "met"].map(str::to_owned);
    let mut rows = vec![row(heading), "|---|---:|---:|---:|---|---|".to_owned()];
    rows.extend(goals.iter().map(|figure| row(goal_cells(figure))));
    rows.join("\n") + "\n\n"
}

fn goal_cells(figure: &Figure) -> [String; 6] {
    let unit = &figure.unit;
    let beside = figure.baseline_name.as_ref().map_or(String::new(), |name| format!(" beside {name}"));
    [
        format!("{}: {}, {}{beside}", figure.scenario, figure.ours_name, figure.metric),
        format!("{} {unit}", number(figure.ours)),
        figure.baseline.map_or("-".into(), number),
        figure.ratio.map_or("-".into(), number),
        figure.goal.clone().unwrap_or_default(),
        figure.met.map_or("unknown", |met| if met { "yes" } else { "**no**" }).to_owned(),
    ]
}

fn circumstances(samples: &Samples) -> String {
    let disk = raw_disk(samples);
    let quick = if samples.quick { "**A quick run: the figures mean nothing.** " } else { "" };
    let runs = samples.series.iter().map(|series| series.values.len()).max().unwrap_or(0);
    format!(
        "{quick}Medians of {runs} runs, the range in parentheses. Raw disk meanwhile: 1 MiB write + fdatasync {} MB/s, \
         4 KiB write + fdatasync p50 {} ms, p99 {} ms. Machine: {}.\n\n",
        number(disk.write_sync_1mib_mb_per_s),
        number(disk.write_sync_4kib_p50_ms),
        number(disk.write_sync_4kib_p99_ms),
        samples.machine.line()
    )
}

fn row(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<String> = cells.into_iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |", cells.join(" | "))
}

/// A number with about three digits.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "-".into(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::THROUGHPUT;
    use crate::samples::Participant;

    #[test]
    fn numbers_have_about_three_digits() {
        assert_eq!([1234.5, 12.34, 1.234, 0.01234].map(number), ["1234", "12.3", "1.23", "0.012"]);
        assert_eq!(number(f64::NAN), "-");
    }

    #[test]
    fn subjects_stand_side_by_side() {
        let subject = |key: &str| Participant {
            key: key.into(),
            name: key.to_uppercase(),
            version: "1".into(),
            is_ours: true,
        };
        let mut samples =
            Samples { subjects: vec![subject("a"), subject("b"), subject("c")], ..Samples::default() };
        for (run, value) in [(0, 1.0), (1, 3.0), (2, 2.0)] {
            samples.note("a", THROUGHPUT, "one", run, value);
        }
        samples.note("b", THROUGHPUT, "two", 0, 200.0);
        let expected = "| throughput, MB/s | A 1 | B 1 |\n| --- | ---: | ---: |\n\
             | one | **2.00** (1.00–3.00) | - |\n| two | - | 200 |\n\n";
        assert_eq!(quantity_table(&samples, "throughput"), expected);
    }
}
