//! The stacks that `perf script -F comm,tid,ip,sym` prints: a line with the thread, then one line a frame, innermost
//! first, then an empty line.

/// One moment of one thread.
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) thread: String,
    /// From the outermost to the innermost.
    pub(super) frames: Vec<Frame>,
}

/// One function of a stack.
#[derive(Debug, PartialEq, Clone)]
pub(super) struct Frame {
    pub(super) name: String,
    pub(super) is_kernel: bool,
}

/// What every thread and every task has below its own first function; it would only make the picture higher.
const FOUNDATION: &[&str] = &[
    "start_thread",
    "clone",
    "std::sys::",
    "<std::sys::",
    "core::ops::function::FnOnce",
    "tokio::runtime::",
    "std::panicking::",
    "core::panic::",
];

impl Frame {
    /// Whether it belongs to a crate of Annals.
    pub(super) fn is_ours(&self) -> bool {
        !self.is_kernel && self.name.contains("annals_")
    }
}

impl Sample {
    /// The innermost function of Annals, on whose behalf the time passed.
    pub(super) fn innermost_of_ours(&self) -> &str {
        self.frames.iter().rev().find(|frame| frame.is_ours()).map_or("(outside)", |frame| &frame.name)
    }
}

/// Reads all samples.
pub(super) fn parse(text: &str) -> Vec<Sample> {
    text.split("\n\n").filter_map(sample).collect()
}

fn sample(text: &str) -> Option<Sample> {
    let mut lines = text.lines().skip_while(|line| line.trim().is_empty());
    let (thread, _tid) = lines.next()?.trim().rsplit_once(' ')?;
    let mut frames: Vec<Frame> = lines.filter_map(frame).collect();
    frames.reverse();
    let own = frames.iter().position(|frame| !is_foundation(&frame.name)).unwrap_or(0);
    Some(Sample { thread: thread.trim().to_owned(), frames: frames.split_off(own) })
}

/// `   10a974 __libc_recv`; addresses of the kernel are in the upper half.
fn frame(line: &str) -> Option<Frame> {
    let (address, name) = line.trim().split_once(' ')?;
    let is_kernel = address.len() == 16 && address.starts_with("ffff");
    (name != "[unknown]").then(|| Frame { name: name.to_owned(), is_kernel })
}

fn is_foundation(name: &str) -> bool {
    FOUNDATION.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "journal-writer 12606 \n\tffffffff82203249 folio_add\n\t          16db75 memmove\n\
        \t          56e1cc annals_journal::writer::pack::Packer::put\n\t          5269de std::sys::backtrace::x\n\
        \t           891f4 start_thread\n\tffffffffffffffff [unknown]\n\nannals 7 \n\t  10a974 recv\n\n";

    #[test]
    fn stacks_are_turned_round_and_lose_their_foundation() {
        let samples = parse(TEXT);
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[0].thread, "journal-writer");
        let names: Vec<_> = samples[0].frames.iter().map(|frame| frame.name.as_str()).collect();
        assert_eq!(names, ["annals_journal::writer::pack::Packer::put", "memmove", "folio_add"]);
        assert!(samples[0].frames[2].is_kernel && !samples[0].frames[1].is_kernel);
    }

    #[test]
    fn time_is_on_behalf_of_the_innermost_function_of_ours() {
        let samples = parse(TEXT);
        assert_eq!(samples[0].innermost_of_ours(), "annals_journal::writer::pack::Packer::put");
        assert_eq!(samples[1].innermost_of_ours(), "(outside)");
    }
}
