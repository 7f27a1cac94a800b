//! A reference Apache Kafka: the program whose behaviour decides what is right.
//!
//! The suites of `tests/clients` are valid only if they pass against it (`cargo xtask test --against HOST:PORT`).
//! The jars come from Maven Central; the server runs as one node that is broker and KRaft controller at once. It
//! differs from Kafka's defaults only where one node needs it (replication of internal topics) and where waiting
//! would teach nothing (the initial rebalance delay).

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::shell;
use crate::workspace::Workspace;

/// An arbitrary but valid cluster id: 16 bytes in URL-safe base 64.
const CLUSTER_ID: &str = "YW5uYWxzLXJlZmVyZW5jZQ";

/// What Kafka's start scripts give to Java, and a logger that says only what is wrong.
const JAVA_OPTIONS: &[&str] = &[
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

/// Run a reference Apache Kafka.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The port on 127.0.0.1 for clients
    #[arg(long, default_value_t = 19092)]
    port: u16,
    /// The release to fetch from Maven Central
    #[arg(long, default_value = "4.1.2")]
    version: String,
    /// Where its data goes [default: target/kafka/data-PORT]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Keep the data of the last run; without this the run starts empty
    #[arg(long)]
    keep: bool,
    /// The size of the Java heap
    #[arg(long, default_value = "512m")]
    heap: String,
    /// A line for server.properties, over what is there; may be given more than once
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Fetch the jars, name the release, and run nothing
    #[arg(long)]
    fetch: bool,
}

/// Runs the server in the foreground until it is stopped. This process becomes the server, so that whoever started it
/// can measure and signal it.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    for program in ["java", "mvn"] {
        if !shell::installed(program) {
            bail!("{program} is not installed: Apache Kafka needs a JDK (17 or later) and Maven");
        }
    }
    let folder = workspace.target.join("kafka");
    let jars = fetch(&folder, &options.version)?;
    if options.fetch {
        println!("release {}", options.version);
        return Ok(ExitCode::SUCCESS);
    }
    refuse_taken_port(options.port)?;
    let data = options.data_dir.clone().unwrap_or_else(|| folder.join(format!("data-{}", options.port)));
    if !options.keep && data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    let config = write_config(&data, options.port, &options.settings)?;
    if !data.join("logs/meta.properties").exists() {
        format_storage(&jars, &config)?;
    }
    serve(&jars, &config, options)
}

/// Fetches the jars of `version` with all that they need, unless they are there already.
fn fetch(folder: &Path, version: &str) -> Result<PathBuf> {
    let folder = folder.join(version);
    let (jars, done) = (folder.join("jars"), folder.join("complete"));
    if !done.exists() {
        println!("fetching Apache Kafka {version} into {}", jars.display());
        std::fs::create_dir_all(&folder)?;
        let pom = folder.join("pom.xml");
        std::fs::write(&pom, pom_text(version))?;
        copy_dependencies(&pom, &jars, &[])?;
        File::create(done)?;
    }
    Ok(jars)
}

fn pom_text(version: &str) -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        )
    };
    let kafka = dependency("org.apache.kafka", "kafka_2.13", version);
    let logger = dependency("org.slf4j", "slf4j-simple", "1.7.36");
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>annals</groupId><artifactId>reference-kafka</artifactId><version>1</version>
  <dependencies>{kafka}{logger}</dependencies>
</project>
"#
    )
}

/// Has Maven copy the runtime dependencies of `pom` into `jars`.
pub(crate) fn copy_dependencies(pom: &Path, jars: &Path, properties: &[String]) -> Result<()> {
    let mut command = Command::new("mvn");
    command.args(["-q", "-B", "-ntp", "-Dstyle.color=never", "-f"]).arg(pom).args(properties);
    command.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    command.arg(format!("-DoutputDirectory={}", jars.display()));
    shell::run(&mut command)
}

fn write_config(data: &Path, port: u16, settings: &[String]) -> Result<PathBuf> {
    let controller = free_port()?;
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         offsets.topic.num.partitions=4\n\
         group.initial.rebalance.delay.ms=0\n\
         auto.create.topics.enable=true\n",
        data.join("logs").display()
    );
    settings.iter().for_each(|line| text += &format!("{line}\n"));
    std::fs::create_dir_all(data)?;
    let config = data.join("server.properties");
    std::fs::write(&config, text)?;
    Ok(config)
}

/// Fails if something listens on `port` already: clients would reach that, and take it for this server.
fn refuse_taken_port(port: u16) -> Result<()> {
    let taken = || format!("port {port} on 127.0.0.1 is taken: choose another with --port");
    TcpListener::bind(("127.0.0.1", port)).map(drop).with_context(taken)
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

fn format_storage(jars: &Path, config: &Path) -> Result<()> {
    let mut command = java(jars, "256m");
    command
        .args(["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", CLUSTER_ID, "-c"])
        .arg(config);
    shell::output(&mut command).map(drop)
}

fn serve(jars: &Path, config: &Path, options: &Options) -> Result<ExitCode> {
    let log = config.with_file_name("server.log");
    println!("Apache Kafka {} on 127.0.0.1:{}; its log is {}", options.version, options.port, log.display());
    println!(
        "ctrl-c ends it; `cargo xtask test --against 127.0.0.1:{}` runs the client suites",
        options.port
    );
    let mut command = java(jars, &options.heap);
    command.arg("kafka.Kafka").arg(config).stderr(File::create(&log)?).stdout(Stdio::null());
    Err(command.exec()).context("cannot start java")
}

/// Java with the options of Kafka's own `kafka-run-class.sh`.
fn java(jars: &Path, heap: &str) -> Command {
    let mut command = Command::new("java");
    command.args([format!("-Xmx{heap}"), format!("-Xms{heap}")]).args(JAVA_OPTIONS);
    command.arg("-cp").arg(jars.join("*"));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_refused() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let error = refuse_taken_port(port).unwrap_err().to_string();
        assert!(error.contains("is taken: choose another"), "{error}");
    }

    #[test]
    fn the_configuration_names_the_port_and_the_data() {
        let data = tempfile::TempDir::new().unwrap();
        let config = write_config(data.path(), 4711, &["a.b=1".to_owned()]).unwrap();
        let config = std::fs::read_to_string(config).unwrap();
        assert!(config.ends_with("\na.b=1\n"));
        assert!(config.contains("advertised.listeners=PLAINTEXT://127.0.0.1:4711\n"));
        assert!(config.contains(&format!("log.dirs={}/logs\n", data.path().display())));
    }
}
