//! A server with an empty data directory, in this process.

use std::net::SocketAddr;
use std::sync::Arc;

use annals_amqp::Options;
use annals_broker::Broker;
use annals_clock::Clock;
use annals_journal::DiskFiles;
use tokio::task::JoinSet;

/// Annals' AMQP port. Ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
    _directory: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (files, clock) = (Arc::new(DiskFiles::open(directory.path()).unwrap()), Clock::system());
        let broker = Broker::open(Default::default(), Default::default(), files, clock.clone()).unwrap();
        let options = Options { address: ([127, 0, 0, 1], 0).into(), ..Options::default() };
        let server = annals_amqp::Server::bind(options, broker.clone(), clock).await.unwrap();
        let address = server.local_addr();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { broker.run(std::future::pending()).await });
        tasks.spawn(server.run(std::future::pending()));
        Self { address, _tasks: tasks, _directory: directory }
    }

    pub(crate) fn uri(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.address)
    }
}
