//! A data directory that is open in this process: journal and broker, and their background work.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use annals_broker::Broker;
use annals_broker::api::Caller;
use annals_broker::api::stores::CreateStoreError;
use annals_journal::{DataLock, DiskFiles};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::store::{EmbeddedStore, Store};
use crate::{Clock, ErrorKind, StoreError};

/// The folder, beside the journal's files, of what is derived from them. The server has the same.
const INDEX_FOLDER: &str = "indexes";

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made or read.
    #[error("the data directory {path} cannot be opened: {source}")]
    Directory {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(transparent)]
    Lock(annals_journal::OpenError),
    /// The data in it cannot be read.
    #[error(transparent)]
    Data(#[from] annals_broker::OpenError),
    /// Opening failed in an unexpected way.
    #[error("opening the data failed: {0}")]
    Failed(String),
}

impl OpenError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Directory { .. } | Self::Lock(_) => ErrorKind::Unavailable,
            Self::Data(_) => ErrorKind::Corrupt,
            Self::Failed(_) => ErrorKind::Bug,
        }
    }
}

/// An open data directory. Closed when this is dropped.
pub(crate) struct Directory {
    path: PathBuf,
    open: Arc<Open>,
}

/// What must stay as long as anybody uses a store.
struct Open {
    broker: Broker,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
    /// Released last.
    lock: Mutex<Option<DataLock>>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Directory {
    pub(crate) async fn open(path: PathBuf, clock: Clock) -> Result<Self, OpenError> {
        let place = path.clone();
        let opened = tokio::task::spawn_blocking(move || open(&place, clock)).await;
        let (broker, lock) = opened.map_err(|error| OpenError::Failed(error.to_string()))??;
        let (stop, mut stopped) = watch::channel(false);
        let (mut tasks, background) = (JoinSet::new(), broker.clone());
        tasks.spawn(async move {
            // The sender going away ends it as well.
            let stopped = async move { drop(stopped.wait_for(|stop| *stop).await) };
            background.run(stopped).await;
        });
        let (tasks, lock) = (Mutex::new(tasks), Mutex::new(Some(lock)));
        Ok(Self { path, open: Arc::new(Open { broker, stop, tasks, lock }) })
    }

    /// The store of that name, made if it is not there.
    pub(crate) async fn store(&self, name: &str, clock: &Clock) -> Result<Arc<dyn Store>, StoreError> {
        let broker = &self.open.broker;
        let caller = Caller::internal();
        let is_there = broker.stores(&caller).await.iter().any(|store| &*store.name == name);
        if !is_there {
            match broker.create_store(&caller, name).await {
                // Somebody else may have made it meanwhile; a topic of that name shows when the store is used.
                Ok(_) | Err(CreateStoreError::AlreadyExists(_)) => {}
                Err(error) => {
                    let (name, reason) = (name.to_owned(), error.to_string());
                    return Err(StoreError::Unavailable { name, reason });
                }
            }
        }
        let open = Arc::clone(&self.open) as Arc<dyn Send + Sync>;
        Ok(Arc::new(EmbeddedStore::new(broker.clone(), name, clock.clone(), open)))
    }

    /// The broker, and what keeps it open.
    pub(crate) fn broker(&self) -> (Broker, Arc<dyn Send + Sync>) {
        (self.open.broker.clone(), Arc::clone(&self.open) as _)
    }

    pub(crate) async fn close(&self) {
        self.open.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.open.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
        let open = Arc::clone(&self.open);
        // A panic of the journal's threads is theirs to report.
        let _ = tokio::task::spawn_blocking(move || open.close()).await;
    }
}

impl Open {
    fn close(&self) {
        self.broker.close();
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.close();
    }
}

fn open(path: &std::path::Path, clock: Clock) -> Result<(Broker, DataLock), OpenError> {
    let directory = |source| OpenError::Directory { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(directory)?;
    let lock = DataLock::acquire(path).map_err(OpenError::Lock)?;
    let files = DiskFiles::open(path).map_err(directory)?;
    let index_directory = Some(path.join(INDEX_FOLDER));
    let options = annals_broker::Options { index_directory, ..Default::default() };
    let broker = Broker::open(options, annals_journal::Options::default(), Arc::new(files), clock)?;
    Ok((broker, lock))
}
