//! kombu's integration tests: those of Celery's messaging library for a broker of AMQP.
//!
//! They are in its source package, which is fetched below the target directory, and run by pytest, one after the other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::list::Outcome;
use super::{Run, Suite, pytest};
use crate::shell;
use crate::suites::python::environment;

pub(super) const SUITE: Suite = Suite {
    name: "kombu",
    about: "the integration tests of Celery's messaging library, from its source package (needs python3 with venv)",
    settings: &[],
    run,
};

/// The release whose tests are run; also in `requirements.txt`.
const VERSION: &str = "5.7.0";
const LIMIT: Duration = Duration::from_secs(600);

fn run(run: &Run<'_>) -> Result<Vec<Outcome>> {
    let requirements = run.workspace.root.join("tests/conformance/kombu/requirements.txt");
    let python = environment(&run.folder.join("environment"), &requirements)?;
    let sources = fetch(run, &python)?;
    let (host, port) = run.amqp.rsplit_once(':').context("an address without a port")?;
    let mut command = Command::new(&python);
    command.args(["-m", "pytest", "-p", "no:cacheprovider", "-v", "--tb=short", "--timeout=120"]);
    command.args(["-W", "ignore"]).arg("t/integration/test_py_amqp.py").current_dir(&sources);
    command.env("RABBITMQ_HOST", host).env("RABBITMQ_5672_TCP", port).env("PYTHONDONTWRITEBYTECODE", "1");
    pytest::run(run, &mut command, "t/integration/", LIMIT)
}

/// The unpacked source package.
fn fetch(run: &Run<'_>, python: &Path) -> Result<PathBuf> {
    let sources = run.folder.join(format!("kombu-{VERSION}"));
    if !sources.exists() {
        println!("fetching the source package of kombu {VERSION} into {}", run.folder.display());
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--no-binary", "kombu", "--dest"]).arg(&run.folder);
        shell::run(pip.arg(format!("kombu=={VERSION}")))?;
        let archive = run.folder.join(format!("kombu-{VERSION}.tar.gz"));
        shell::run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&run.folder))?;
    }
    Ok(sources)
}
