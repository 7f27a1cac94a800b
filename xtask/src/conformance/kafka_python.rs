//! kafka-python's integration tests: what its makers run against each release of Apache Kafka.
//!
//! They are in its source package, which is fetched below the target directory. The package lacks one file that they
//! import: `service.py` here stands in for it. Run by pytest against `KAFKA_URI`, one test after the other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::list::Outcome;
use super::{Run, Suite, pytest};
use crate::shell;
use crate::suites::python::environment;

pub(super) const SUITE: Suite = Suite {
    name: "kafka-python",
    about: "the integration tests of the Python client, from its source package (needs python3 with venv)",
    // As in the properties of its own brokers.
    settings: &["partitions_default=4", "kafka.node_id=0", "groups.session_timeout_min=1s"],
    run,
};

/// The release whose tests are run.
const VERSION: &str = "3.0.12";
/// The version of Apache Kafka whose behaviour is expected.
const KAFKA: &str = "4.1.0";
const LIMIT: Duration = Duration::from_secs(900);

fn run(run: &Run<'_>) -> Result<Vec<Outcome>> {
    let support = run.workspace.root.join("tests/conformance/kafka-python");
    let python = environment(&run.folder.join("environment"), &support.join("requirements.txt"))?;
    let sources = fetch(run, &python, &support)?;
    let mut command = Command::new(&python);
    command.args(["-m", "pytest", "-p", "no:cacheprovider", "-v", "--tb=short", "--timeout=120"]);
    command.args(["-W", "ignore"]).arg("test/integration").current_dir(&sources);
    command.env("KAFKA_URI", format!("kafka://{}", run.kafka)).env("KAFKA_VERSION", KAFKA);
    // Its fixtures insist on a folder of Apache Kafka, even if nothing in it is ever run.
    command.env("KAFKA_ROOT", &sources).env("PYTHONDONTWRITEBYTECODE", "1");
    pytest::run(run, &mut command, "test/integration/", LIMIT)
}

/// The unpacked source package.
fn fetch(run: &Run<'_>, python: &Path, support: &Path) -> Result<PathBuf> {
    let sources = run.folder.join(format!("kafka_python-{VERSION}"));
    let complete = sources.join("test/service.py");
    if !complete.exists() {
        println!("fetching the source package of kafka-python {VERSION} into {}", run.folder.display());
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--no-binary", "kafka-python", "--dest"]).arg(&run.folder);
        shell::run(pip.arg(format!("kafka-python=={VERSION}")))?;
        let archive = run.folder.join(format!("kafka_python-{VERSION}.tar.gz"));
        shell::run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&run.folder))?;
        // Python has a package `test` of its own, which would win.
        std::fs::write(sources.join("test/__init__.py"), "")?;
    }
    std::fs::copy(support.join("service.py"), complete)?;
    Ok(sources)
}
