//! Plots: for each quantity of a scenario one SVG with horizontal bars, the subjects side by side in each case.
//!
//! The drawing is so simple (rectangles and text) that it is written here, without a library.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::table::number;
use crate::samples::{Participant, Samples, Series};

/// Colours that are told apart with any eyesight (Okabe and Ito).
const COLOURS: &[&str] = &["#0072b2", "#56b4e9", "#e69f00", "#d55e00", "#009e73", "#cc79a7"];

const WIDTH: f64 = 960.0;
/// Where the bars begin, and where the longest one ends; behind it there is room for its value.
const BARS_FROM: f64 = 300.0;
const BARS_TO: f64 = 880.0;
const HEAD: f64 = 64.0;
const BAR: f64 = 14.0;
const GAP: f64 = 12.0;

/// Largest over smallest value from which on the scale is logarithmic.
const LOGARITHMIC_FROM: f64 = 50.0;

/// The quantities that have a plot: those in which somebody can be compared.
pub(super) fn plotted(samples: &Samples) -> Vec<&str> {
    let subjects = |quantity: &str| {
        let has = |subject: &&Participant| {
            samples.cases(quantity).iter().any(|case| samples.find(&subject.key, quantity, case).is_some())
        };
        samples.subjects.iter().filter(has).count()
    };
    let quantities = samples.quantities().into_iter();
    quantities.filter(|quantity| !quantity.starts_with("raw ") && subjects(quantity) > 1).collect()
}

/// The file of one plot.
pub(super) fn file_name(scenario: &str, quantity: &str) -> String {
    format!("{scenario}-{}.svg", quantity.replace(' ', "-"))
}

/// Writes the plots of one scenario into `folder`.
pub(super) fn write(folder: &Path, samples: &Samples) -> Result<()> {
    fs::create_dir_all(folder)?;
    for quantity in plotted(samples) {
        let svg = Chart::of(samples, quantity).draw(&samples.scenario);
        fs::write(folder.join(file_name(&samples.scenario, quantity)), svg)?;
    }
    Ok(())
}

/// The medians of one quantity.
struct Chart<'a> {
    quantity: &'a str,
    unit: &'a str,
    more_is_better: bool,
    subjects: Vec<&'a str>,
    /// Each case with the subjects that have it, by their place in `subjects`.
    cases: Vec<(&'a str, Vec<(usize, f64)>)>,
}

/// Where a value lies between the ends of the bars.
struct Scale {
    least: f64,
    most: f64,
    is_log: bool,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let positive = values.filter(|value| *value > 0.0);
        let least = positive.clone().fold(f64::MAX, f64::min);
        let most = positive.fold(f64::MIN_POSITIVE, f64::max);
        Self { least, most, is_log: most / least > LOGARITHMIC_FROM }
    }

    /// The length of a bar. On a logarithmic scale the smallest value has a tenth of the way.
    fn length(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => 0.1 + 0.9 * (value / self.least).ln() / (self.most / self.least).ln(),
            false => value / self.most,
        };
        share.clamp(0.0, 1.0) * (BARS_TO - BARS_FROM)
    }
}

impl<'a> Chart<'a> {
    fn of(samples: &'a Samples, quantity: &'a str) -> Self {
        let first = samples.series.iter().find(|series| series.quantity == quantity);
        let median =
            |subject: &Participant, case| samples.find(&subject.key, quantity, case).map(Series::median);
        let bars = |case| {
            let values = samples.subjects.iter().map(|subject| median(subject, case)).enumerate();
            values.filter_map(|(place, value)| Some((place, value?))).collect()
        };
        Self {
            quantity,
            unit: first.map_or("", |series| &series.unit),
            more_is_better: first.is_some_and(|series| series.more_is_better),
            subjects: samples.subjects.iter().map(|subject| subject.name.as_str()).collect(),
            cases: samples.cases(quantity).into_iter().map(|case| (case, bars(case))).collect(),
        }
    }

    fn draw(&self, scenario: &str) -> String {
        let scale = Scale::of(self.cases.iter().flat_map(|(_, bars)| bars.iter().map(|(_, value)| *value)));
        let mut svg = String::new();
        let mut y = HEAD;
        for (case, bars) in &self.cases {
            let middle = y + bars.len() as f64 * BAR / 2.0 + 4.0;
            text(&mut svg, (BARS_FROM - 8.0, middle), "end", case);
            for (place, value) in bars {
                bar(&mut svg, y, scale.length(*value), COLOURS[place % COLOURS.len()]);
                text(&mut svg, (BARS_FROM + scale.length(*value) + 5.0, y + 11.0), "start", &number(*value));
                y += BAR;
            }
            y += GAP;
        }
        self.frame(scenario, &scale, &svg, y)
    }

    fn frame(&self, scenario: &str, scale: &Scale, bars: &str, height: f64) -> String {
        let better = if self.more_is_better { "more is better" } else { "less is better" };
        let kind = if scale.is_log { ", logarithmic" } else { "" };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        let title = format!("{scenario}: {}, {} ({better}{kind})", self.quantity, self.unit);
        text(&mut svg, (16.0, 24.0), "start", &title);
        self.legend(&mut svg);
        svg + bars + "</svg>\n"
    }

    /// The subjects that have a bar, in a row.
    fn legend(&self, svg: &mut String) {
        let mut x = 16.0;
        for (place, name) in self.subjects.iter().enumerate() {
            if self.cases.iter().any(|(_, bars)| bars.iter().any(|(owner, _)| *owner == place)) {
                let colour = COLOURS[place % COLOURS.len()];
                let _ =
                    writeln!(svg, "<rect x=\"{x}\" y=\"36\" width=\"10\" height=\"10\" fill=\"{colour}\"/>");
                text(svg, (x + 15.0, 45.0), "start", name);
                x += 40.0 + 6.5 * name.len() as f64;
            }
        }
    }
}

fn bar(svg: &mut String, y: f64, length: f64, colour: &str) {
    let height = BAR - 2.0;
    let _ = writeln!(
        svg,
        "<rect x=\"{BARS_FROM}\" y=\"{y}\" width=\"{length:.1}\" height=\"{height}\" fill=\"{colour}\"/>"
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_value_has_the_longest_bar() {
        let scale = Scale::of([5.0, 10.0].into_iter());
        assert_eq!((scale.length(10.0), scale.length(5.0)), (580.0, 290.0));
        assert!(!scale.is_log);
    }

    #[test]
    fn a_wide_range_is_logarithmic() {
        let scale = Scale::of([1.0, 100.0].into_iter());
        assert!(scale.is_log);
        assert!((scale.length(1.0) - 58.0).abs() < 1e-9 && (scale.length(10.0) - 319.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_drawn_has_a_bar_for_each_value_and_escapes_its_text() {
        let cases = vec![("a < b", vec![(0, 1.0), (1, 2.0)])];
        let chart =
            Chart { quantity: "time", unit: "s", more_is_better: false, subjects: vec!["X & Y", "Z"], cases };
        let svg = chart.draw("restart");
        // Background, two bars, two in the legend.
        assert_eq!(svg.matches("<rect").count(), 5);
        assert!(
            svg.contains("a &lt; b") && svg.contains("X &amp; Y") && svg.contains("less is better"),
            "{svg}"
        );
    }
}
