//! A flame graph: each box is a function, as wide as the share of samples that have it in this place, and stands on the
//! one that called it. The idea is Brendan Gregg's. Hovering over a box shows its whole name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::stacks::{Frame, Sample};

const WIDTH: f64 = 1_200.0;
const ROW: f64 = 16.0;
const HEAD: f64 = 40.0;
/// Narrower boxes are left out: nobody sees them.
const WIDTH_MIN: f64 = 0.7;
const CHARACTER: f64 = 6.2;

/// A function in one place, with all that it called.
#[derive(Default)]
struct Node {
    samples: u64,
    colour: &'static str,
    callees: BTreeMap<String, Node>,
}

impl Node {
    fn add(&mut self, sample: &Sample) {
        self.samples += 1;
        let mut node = self.callee(&sample.thread, "#cccccc");
        for frame in &sample.frames {
            node = node.callee(&frame.name, colour(frame));
        }
    }

    fn callee(&mut self, name: &str, colour: &'static str) -> &mut Self {
        let node = self.callees.entry(name.to_owned()).or_default();
        node.samples += 1;
        node.colour = colour;
        node
    }

    fn depth(&self) -> usize {
        1 + self.callees.values().map(Self::depth).max().unwrap_or(0)
    }
}

/// Ours, the kernel, everything else.
fn colour(frame: &Frame) -> &'static str {
    match (frame.is_ours(), frame.is_kernel) {
        (true, _) => "#f0a35e",
        (_, true) => "#9ec5e8",
        _ => "#f4e3a1",
    }
}

/// Draws all samples.
pub(super) fn draw(title: &str, samples: &[Sample]) -> String {
    let mut root = Node { colour: "#eeeeee", ..Node::default() };
    samples.iter().for_each(|sample| root.add(sample));
    let height = HEAD + root.depth() as f64 * ROW + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" \
         font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"10\" y=\"20\" \
         font-size=\"14\">{title}: {} samples; orange is Annals, blue the kernel</text>\n",
        samples.len()
    );
    let unit = WIDTH / root.samples.max(1) as f64;
    draw_node(&mut svg, "all", &root, 0.0, height - ROW - 4.0, unit, root.samples);
    svg + "</svg>\n"
}

fn draw_node(svg: &mut String, name: &str, node: &Node, x: f64, y: f64, unit: f64, all: u64) {
    let width = node.samples as f64 * unit;
    if width < WIDTH_MIN {
        return;
    }
    let share = node.samples as f64 * 100.0 / all as f64;
    let _ = write!(
        svg,
        "<g><title>{} ({share:.1} %)</title><rect x=\"{x:.1}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{:.0}\" \
         fill=\"{}\" stroke=\"#fff\" stroke-width=\"0.4\"/>",
        escape(name),
        ROW - 1.0,
        node.colour
    );
    let room = ((width - 4.0) / CHARACTER) as usize;
    if room >= 3 {
        let label: String = name.chars().take(room).collect();
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{:.0}\">{}</text>", x + 2.0, y + 11.0, escape(&label));
    }
    svg.push_str("</g>\n");
    let mut callee_x = x;
    for (callee, inner) in &node.callees {
        draw_node(svg, callee, inner, callee_x, y - ROW, unit, all);
        callee_x += inner.samples as f64 * unit;
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_as_wide_as_their_share() {
        let frame = |name: &str| Frame { name: name.into(), is_kernel: false };
        let sample =
            |inner: &str| Sample { thread: "t".into(), frames: vec![frame("annals_x::a"), frame(inner)] };
        let svg = draw("produce", &[sample("b<T>"), sample("b<T>"), sample("b<T>"), sample("c")]);
        assert!(svg.contains("<title>annals_x::a (100.0 %)</title>"), "{svg}");
        assert!(
            svg.contains("<title>b&lt;T&gt; (75.0 %)</title><rect x=\"0.0\" y=\"44\" width=\"900.0\""),
            "{svg}"
        );
        assert!(svg.contains("<title>c (25.0 %)</title><rect x=\"900.0\""), "{svg}");
    }
}
