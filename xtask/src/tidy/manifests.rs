//! Every crate says what it is for, and keeps the lints of the workspace.

use anyhow::Result;

use crate::workspace::{Crate, Workspace};

/// Returns one finding for each manifest that lacks something.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for member in &workspace.crates {
        let manifest = std::fs::read_to_string(&member.manifest)?;
        findings.extend(check_crate(member, &manifest));
    }
    Ok(findings)
}

fn check_crate(member: &Crate, manifest: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if member.description.as_deref().unwrap_or_default().trim().is_empty() {
        findings.push(format!("{} has no description in its Cargo.toml", member.name));
    }
    if !inherits_lints(manifest) {
        findings.push(format!("{} lacks `[lints] workspace = true` in its Cargo.toml", member.name));
    }
    findings
}

/// Either `lints.workspace = true` at the top, or `workspace = true` in the table `[lints]`.
fn inherits_lints(manifest: &str) -> bool {
    let mut table = String::new();
    for line in manifest.lines() {
        let line: String = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        if line.starts_with('[') {
            table = line;
        } else if (table.is_empty() && line == "lints.workspace=true")
            || (table == "[lints]" && line == "workspace=true")
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_inherited_lints_are_known() {
        assert!(inherits_lints("lints.workspace = true\n[package]\nname = \"x\""));
        assert!(inherits_lints("[package]\nname = \"x\"\n\n[lints]\nworkspace = true # yes"));
        assert!(!inherits_lints("[package]\nworkspace = true\n[lints]\n[dependencies]\nworkspace = true"));
    }

    #[test]
    fn a_bare_manifest_has_two_findings() {
        let member =
            Crate { name: "x".into(), manifest: "".into(), description: Some(" ".into()), imports: vec![] };
        assert_eq!(check_crate(&member, "[package]").len(), 2);
    }
}
