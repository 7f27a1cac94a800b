//! What came of a line, kept below the target directory until the page is written.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::machine::Taken;
use crate::workspace::Workspace;

/// The last run of a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) passed: bool,
    pub(super) quick: bool,
    pub(super) seconds: f64,
    /// Names and values, in the order in which they were told.
    pub(super) figures: Vec<(String, String)>,
    pub(super) taken: Taken,
}

impl Record {
    /// Where records and logs are.
    pub(super) fn folder(workspace: &Workspace) -> PathBuf {
        workspace.target.join("reliability")
    }

    /// Keeps a full run; a quick one is forgotten.
    pub(super) fn keep(&self, workspace: &Workspace) -> Result<()> {
        if self.quick {
            return Ok(());
        }
        let path = Self::folder(workspace).join(format!("{}.json", self.name));
        fs::write(&path, self.encode()).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The last full run of the line `name`, if there was one.
    pub(super) fn find(workspace: &Workspace, name: &str) -> Result<Option<Self>> {
        let path = Self::folder(workspace).join(format!("{name}.json"));
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::decode(&text).with_context(|| format!("{} is not a record", path.display())).map(Some)
    }

    fn encode(&self) -> String {
        let Taken { date, version, machine } = &self.taken;
        let figures: Vec<Value> = self.figures.iter().map(|(name, value)| json!([name, value])).collect();
        json!({
            "name": self.name, "passed": self.passed, "seconds": self.seconds, "figures": figures,
            "date": date, "version": version, "machine": machine,
        })
        .to_string()
    }

    fn decode(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let word = |key: &str| value[key].as_str().map(str::to_owned);
        let figure = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()));
        Some(Self {
            name: word("name")?,
            passed: value["passed"].as_bool()?,
            quick: false,
            seconds: value["seconds"].as_f64()?,
            figures: value["figures"].as_array()?.iter().map(figure).collect::<Option<_>>()?,
            taken: Taken { date: word("date")?, version: word("version")?, machine: word("machine")? },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let taken =
            Taken { date: "2026-01-02".into(), version: "0.1.0 (abc)".into(), machine: "2 cores".into() };
        let figures = vec![("b".to_owned(), "2 ms".to_owned()), ("a".to_owned(), "1".to_owned())];
        let record =
            Record { name: "flips".into(), passed: true, quick: false, seconds: 61.5, figures, taken };
        assert_eq!(Record::decode(&record.encode()), Some(record));
        assert_eq!(Record::decode("{}"), None);
    }
}
