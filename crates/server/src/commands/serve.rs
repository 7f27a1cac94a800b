//! `annals serve`: the server.

use std::path::PathBuf;

use anyhow::Result;
use tokio::sync::watch;

use crate::failure::usage;
use crate::interrupt::Interrupt;
use crate::output;
use crate::serve::config::{self, Settings, print_default};
use crate::serve::otlp::Export;
use crate::serve::{self, Addresses, logging};

const EXAMPLES: &str = "\
Examples:
  annals serve --data-dir /var/lib/annals
  annals serve --config annals.toml --set journal.cache_bytes=256MiB
  annals serve --print-config > annals.toml

Settings come from the file, then from ANNALS_* variables (ANNALS_KAFKA_ADDR for kafka.addr), then from flags.
Prints one line on standard output when clients can connect:
  annals ready kafka=127.0.0.1:9092 http=127.0.0.1:7117 amqp=127.0.0.1:5672
SIGTERM or Ctrl-C ends it in order; a second one at once. Nothing acknowledged is lost either way.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Directory that holds everything; made if it is not there [default: annals-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Where Kafka clients connect; port 0 takes a free one [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT")]
    kafka_addr: Option<String>,

    /// Where AMQP clients connect; port 0 takes a free one, an empty text turns it off [default: 127.0.0.1:5672]
    #[arg(long, value_name = "HOST:PORT")]
    amqp_addr: Option<String>,

    /// Where health and metrics are served; port 0 takes a free one [default: 127.0.0.1:7117]
    #[arg(long, value_name = "HOST:PORT")]
    http_addr: Option<String>,

    /// When writes are acknowledged: on disk, or once the operating system has them [default: sync]
    #[arg(long, value_name = "sync|async")]
    durability: Option<String>,

    /// Whether topics that clients ask for are created [default: true]
    #[arg(long, value_name = "true|false")]
    auto_create_topics: Option<String>,

    /// Allow other machines to connect, though nothing asks who they are
    #[arg(long)]
    allow_remote: bool,

    /// OpenTelemetry collector that gets traces, such as http://127.0.0.1:4318 [default: none]
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,

    /// Settings file (TOML)
    #[arg(long, value_name = "FILE", env = "ANNALS_CONFIG")]
    config: Option<PathBuf>,

    /// Any setting by its name; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,

    /// Print a settings file with all defaults and what they mean, and end
    #[arg(long)]
    print_config: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.print_config {
        return output::line(print_default());
    }
    let (environment, pairs) = (config::environment()?, args.pairs()?);
    let unknown = config::unknown_variables(&environment);
    let settings = Settings::load(args.config.as_deref(), environment.into_iter(), &pairs)?;
    let traces = logging::init(&settings)?;
    unknown.iter().for_each(|unknown| tracing::warn!("{unknown}"));
    let (stop, stopped) = watch::channel(false);
    let interrupt = Interrupt::listen_with(move || {
        // The receiver is gone only when the server has ended already.
        let _ = stop.send(true);
    })?;
    let served = serve::serve(settings, stopped, announce);
    traces.inspect(Export::finish);
    drop(interrupt);
    served
}

fn announce(addresses: Addresses) -> Result<()> {
    let amqp = addresses.amqp.map(|amqp| format!(" amqp={amqp}")).unwrap_or_default();
    let line = format!("annals ready kafka={} http={}{amqp}", addresses.kafka, addresses.http);
    // A server goes on without anybody who reads that.
    if let Err(error) = output::line(&line) {
        tracing::warn!(%error, "{line}");
    }
    Ok(())
}

impl Args {
    fn pairs(&self) -> Result<Vec<(String, String)>> {
        let mut pairs = Vec::new();
        for pair in &self.set {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| usage(format!("--set {pair}: write NAME=VALUE")))?;
            pairs.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let data_dir = self.data_dir.as_deref().map(config::text_of).transpose()?;
        let flags = [
            ("data_dir", data_dir),
            ("kafka.addr", self.kafka_addr.clone()),
            ("amqp.addr", self.amqp_addr.clone()),
            ("http.addr", self.http_addr.clone()),
            ("durability", self.durability.clone()),
            ("auto_create_topics", self.auto_create_topics.clone()),
            ("otlp.endpoint", self.otlp_endpoint.clone()),
            ("allow_remote", self.allow_remote.then(|| "true".to_owned())),
        ];
        pairs.extend(flags.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Ok(pairs)
    }
}
