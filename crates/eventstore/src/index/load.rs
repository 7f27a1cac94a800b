//! Starting from an index: where its checkpoint is, and every stream.

use std::sync::Arc;

use super::codec::{CHECKPOINT, STREAM, VERSION, take};
use super::{Index, TableError, damaged};
use crate::metadata::StreamMetadata;
use crate::store::{Head, Keeping, Options, Store, StreamImage};
use crate::{Position, Terms};

/// What became of loading.
#[derive(Debug)]
pub enum Loaded {
    /// The store as of the checkpoint. Apply the log from [`Store::next`] on.
    Store(Box<Store>),
    /// There is no index, or not of this store: build it from the beginning of the log.
    Nothing,
}

/// The value of the checkpoint.
struct Checkpoint {
    store: [u8; 16],
    seed: [u8; 16],
    position: u64,
    streams: u64,
    digest: u64,
}

impl Index {
    /// Loads the store with this id, whose log ends at `log_end`.
    ///
    /// # Errors
    /// [`TableError`], also if what is loaded is not what was written.
    pub fn load(&self, id: [u8; 16], options: Options, log_end: Position) -> Result<Loaded, TableError> {
        let Some((_, value)) = self.table().last(&[CHECKPOINT], &[CHECKPOINT])? else {
            return Ok(Loaded::Nothing);
        };
        let checkpoint = Checkpoint::parse(&value).ok_or_else(|| damaged("its checkpoint cannot be read"))?;
        if checkpoint.store != id || checkpoint.position > log_end.0 {
            return Ok(Loaded::Nothing);
        }
        let mut store = Store::restored(Terms::new(checkpoint.seed), options, Position(checkpoint.position));
        let mut failed = false;
        let mut visit = |key: &[u8], value: &[u8]| match image(key, value) {
            Some(image) => {
                store.restore_stream(image);
                true
            }
            None => {
                failed = true;
                false
            }
        };
        self.table().scan(&[STREAM], &[STREAM + 1], &mut visit)?;
        if failed {
            return Err(damaged("a stream cannot be read"));
        }
        let found = (store.stream_count() as u64, store.digest());
        if found != (checkpoint.streams, checkpoint.digest) {
            return Err(damaged("its streams are not those of its checkpoint"));
        }
        Ok(Loaded::Store(Box::new(store)))
    }
}

impl Checkpoint {
    fn parse(value: &[u8]) -> Option<Self> {
        let (&version, rest) = value.split_first()?;
        let (store, rest) = rest.split_first_chunk::<16>()?;
        let (seed, mut rest) = rest.split_first_chunk::<16>()?;
        let (position, streams, digest) = (take(&mut rest)?, take(&mut rest)?, take(&mut rest)?);
        let parsed = Self { store: *store, seed: *seed, position, streams, digest };
        (version == VERSION && rest.is_empty()).then_some(parsed)
    }
}

fn image(key: &[u8], value: &[u8]) -> Option<StreamImage> {
    let name: Arc<str> = std::str::from_utf8(key.get(1..)?).ok()?.into();
    let (&version, mut rest) = value.split_first()?;
    if version != VERSION {
        return None;
    }
    let head = Head::from_number(take(&mut rest)?)?;
    if rest.is_empty() {
        return Some(StreamImage { name, head, keeping: None });
    }
    let first = take(&mut rest)?;
    let metadata = Arc::new(StreamMetadata::from_json(rest).ok()?);
    Some(StreamImage { name, head, keeping: Some(Keeping::new(first, metadata)) })
}
