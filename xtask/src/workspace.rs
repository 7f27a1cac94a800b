//! What `cargo metadata` says about the workspace: its crates, what they import, and where files go.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::shell;

/// The workspace that this tool was built in.
pub(crate) struct Workspace {
    /// The folder that holds the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where builds, downloads and logs go.
    pub(crate) target: PathBuf,
    /// The member crates, by name.
    pub(crate) crates: Vec<Crate>,
}

/// One member crate.
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) manifest: PathBuf,
    pub(crate) description: Option<String>,
    /// Its dependencies on other members.
    pub(crate) imports: Vec<Import>,
}

/// A dependency of one member on another.
pub(crate) struct Import {
    pub(crate) name: String,
    /// Whether it serves tests, examples and benches only.
    pub(crate) dev: bool,
}

impl Workspace {
    /// Asks cargo. Needs no network.
    pub(crate) fn load() -> Result<Self> {
        let mut command = Command::new(shell::cargo());
        command.args(["metadata", "--format-version=1", "--no-deps"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        Self::parse(&shell::output(&mut command)?)
    }

    fn parse(metadata: &str) -> Result<Self> {
        let metadata: Value = serde_json::from_str(metadata).context("cargo metadata is not JSON")?;
        let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
        let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
        let mut crates =
            packages.iter().map(|package| Crate::parse(package, &names)).collect::<Result<Vec<_>>>()?;
        crates.sort_by(|a, b| a.name.cmp(&b.name));
        let path =
            |key: &str| metadata[key].as_str().map(PathBuf::from).context("cargo metadata lacks a folder");
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")?, crates })
    }

    /// The files that git tracks, relative to the root.
    pub(crate) fn tracked_files(&self) -> Result<Vec<PathBuf>> {
        let listing = shell::output(Command::new("git").args(["ls-files", "-z"]).current_dir(&self.root))?;
        Ok(listing.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
    }

    /// A folder for what the client suites build and log.
    pub(crate) fn clients(&self) -> PathBuf {
        self.target.join("clients")
    }

    /// The folder of the client suites' sources.
    pub(crate) fn client_sources(&self) -> PathBuf {
        self.root.join("tests/clients")
    }
}

impl Crate {
    fn parse(package: &Value, members: &[&str]) -> Result<Self> {
        let text = |key: &str| package[key].as_str().map(str::to_owned);
        Ok(Self {
            name: text("name").context("a package without a name")?,
            manifest: text("manifest_path").context("a package without a manifest")?.into(),
            description: text("description"),
            imports: imports(package, members),
        })
    }
}

fn imports(package: &Value, members: &[&str]) -> Vec<Import> {
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    dependencies
        .iter()
        .filter_map(|dependency| {
            let name = dependency["name"].as_str().filter(|name| members.contains(name))?;
            Some(Import { name: name.to_owned(), dev: dependency["kind"] == "dev" })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn metadata_is_reduced_to_members_and_their_imports() {
        let metadata = r#"{
            "workspace_root": "/w", "target_directory": "/w/target",
            "packages": [
                {"name": "b", "manifest_path": "/w/b/Cargo.toml", "description": "B", "dependencies": [
                    {"name": "a", "kind": null}, {"name": "serde", "kind": null}, {"name": "a", "kind": "dev"}]},
                {"name": "a", "manifest_path": "/w/a/Cargo.toml", "description": null, "dependencies": []}
            ]}"#;
        let workspace = Workspace::parse(metadata).unwrap();
        assert_eq!(workspace.target, Path::new("/w/target"));
        let names: Vec<_> = workspace.crates.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(workspace.crates[0].description, None);
        let imports: Vec<_> = workspace.crates[1].imports.iter().map(|i| (i.name.as_str(), i.dev)).collect();
        assert_eq!(imports, [("a", false), ("a", true)]);
    }
}
