//! A server in this process, on a directory that can be opened without it before and after.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use annals::client::{Client, ClientOptions};
use annals::{Annals, Clock};
use annals_broker::Broker;
use annals_http::{Metrics, Options, Readiness, Server, Status};
use annals_journal::DiskFiles;
use tokio::sync::watch;
use tokio::task::JoinSet;

struct Ready(Broker);

impl Status for Ready {
    fn ready(&self) -> Readiness {
        Readiness::ready()
    }

    fn encode_metrics(&self, _: &mut String) -> fmt::Result {
        Ok(())
    }

    fn broker(&self) -> Option<&Broker> {
        Some(&self.0)
    }
}

/// A server that runs.
pub(crate) struct Served {
    url: String,
    broker: Broker,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Served {
    pub(crate) async fn start(directory: &Path) -> Self {
        let (files, clock) = (Arc::new(DiskFiles::open(directory).unwrap()), Clock::system());
        let broker = Broker::open(Default::default(), Default::default(), files, clock.clone()).unwrap();
        let options = Options { address: "127.0.0.1:0".parse().unwrap(), ..Options::default() };
        let status = Arc::new(Ready(broker.clone()));
        let server = Server::bind(options, status, Metrics::default(), clock).await.unwrap();
        let url = format!("http://{}", server.local_addr());
        let (stop, stopped) = watch::channel(false);
        let (mut tasks, background) = (JoinSet::new(), broker.clone());
        tasks.spawn(server.run(raised(stopped.clone())));
        tasks.spawn(async move { background.run(raised(stopped)).await });
        Self { url, broker, stop, tasks }
    }

    pub(crate) async fn connect(&self) -> Annals {
        Annals::connect(&self.url).await.unwrap()
    }

    /// For what is done to streams and not with them.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url, ClientOptions::default()).unwrap()
    }

    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        self.broker.close();
    }
}

async fn raised(mut stop: watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
