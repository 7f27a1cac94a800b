//! The files of a stopped server: what they weigh, reading them past the page cache, and waiting until they rest.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context as _, Result};
use rustix::fs::{Advice, fadvise};

/// How long nothing may change until files count as resting.
const RESTED_AFTER: Duration = Duration::from_secs(2);
/// How long to wait for that.
const REST_WITHIN: Duration = Duration::from_secs(180);

/// All files below `folder`.
///
/// # Errors
/// If a folder cannot be listed.
pub(crate) fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files.sort();
    Ok(files)
}

/// Removes what is there of `folder` from the page cache, once it is on disk: what is read next comes from the disk.
///
/// # Errors
/// If a file cannot be opened.
pub(crate) fn evict(folder: &Path) -> Result<()> {
    rustix::fs::sync();
    for path in below(folder)? {
        let file = File::open(&path)?;
        fadvise(&file, 0, None, Advice::DontNeed)
            .with_context(|| format!("cannot evict {}", path.display()))?;
    }
    Ok(())
}

/// Reads every file of `folder` once, from its first byte to its last, and returns how long that took.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn read_time(folder: &Path, clock: &Clock) -> Result<Duration> {
    let files = below(folder)?;
    let mut buffer = vec![0; 1 << 20];
    let begin = clock.monotonic();
    for path in files {
        let mut file = File::open(&path)?;
        while file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))? > 0 {}
    }
    Ok(clock.monotonic() - begin)
}

/// Waits until no file of `folder` has changed for a while: what runs in the background is done. Gives up after minutes,
/// which is not an error: the figure then includes it.
///
/// # Errors
/// If a folder cannot be listed.
pub(crate) fn wait_for_rest(folder: &Path, clock: &Clock) -> Result<()> {
    let begin = clock.monotonic();
    let (mut last, mut since) = (look(folder)?, begin);
    while clock.monotonic() - begin < REST_WITHIN && clock.monotonic() - since < RESTED_AFTER {
        std::thread::sleep(Duration::from_millis(200));
        let now = look(folder)?;
        if now != last {
            (last, since) = (now, clock.monotonic());
        }
    }
    Ok(())
}

/// Name and length of every file. A file may vanish while it is looked at. Those of Kafka's own topics do not count: its
/// controller writes to one of them twice a second.
fn look(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let is_internal = |path: &PathBuf| path.iter().any(|part| part.to_string_lossy().starts_with("__"));
    let length = |path: PathBuf| Some((path.clone(), fs::metadata(&path).ok()?.len()));
    Ok(below(folder)?.into_iter().filter(|path| !is_internal(path)).filter_map(length).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_all_folders_and_read() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("b/c"), [1; 10]).unwrap();
        fs::write(folder.path().join("a"), [1; 10]).unwrap();
        let files = below(folder.path()).unwrap();
        assert_eq!(files, [folder.path().join("a"), folder.path().join("b/c")]);
        evict(folder.path()).unwrap();
        assert!(read_time(folder.path(), &Clock::system()).unwrap() > Duration::ZERO);
    }
}
