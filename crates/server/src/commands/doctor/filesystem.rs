//! What the data directory lies on.

use std::path::{Path, PathBuf};

use super::Check;
use crate::human;

/// Below this a journal cannot even preallocate its segments.
const SPACE_BYTES_MIN: u64 = 512 << 20;

/// Below this, or below a tenth, it is time to think.
const SPACE_BYTES_GOOD: u64 = 10 << 30;

/// The nearest directory above `path` that exists.
pub(crate) fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find(|candidate| candidate.is_dir());
    found.map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

/// Which filesystem `directory` is on.
pub(crate) fn kind(directory: &Path) -> Check {
    const NAME: &str = "filesystem";
    let magic = match rustix::fs::statfs(directory) {
        Ok(stat) => u32::try_from(stat.f_type).unwrap_or(0),
        Err(error) => {
            return Check::fail(NAME, format!("{}: {error}", directory.display()), "check the directory");
        }
    };
    let name = name(magic).map_or_else(|| format!("type {magic:#x}"), str::to_owned);
    let found = format!("{name} at {}", directory.display());
    match name.as_str() {
        "tmpfs" | "ramfs" => Check::warn(
            NAME,
            found,
            "this is memory: everything is lost when the machine stops; use a directory on a disk",
        ),
        "nfs" | "cifs" | "smb" | "fuse" | "9p" => Check::warn(
            NAME,
            found,
            "network and user-space filesystems may sync late, lie about it or lose locks; use a local disk",
        ),
        "overlayfs" => Check::warn(
            NAME,
            found,
            "this is a container's own layer, which goes away with the container; mount a volume",
        ),
        _ => Check::ok(NAME, found),
    }
}

/// The filesystem of a magic number (statfs(2)).
fn name(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        0xca45_1a4e => "bcachefs",
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0x794c_7630 => "overlayfs",
        0x6969 => "nfs",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 => "smb",
        0x6573_5546 => "fuse",
        0x0102_1997 => "9p",
        _ => return None,
    })
}

/// How much room is left in `directory`.
pub(crate) fn space(directory: &Path) -> Check {
    const NAME: &str = "free space";
    let stat = match rustix::fs::statvfs(directory) {
        Ok(stat) => stat,
        Err(error) => {
            return Check::fail(NAME, format!("{}: {error}", directory.display()), "check the directory");
        }
    };
    let (free, total) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
    judge_space(NAME, free, total)
}

fn judge_space(name: &'static str, free: u64, total: u64) -> Check {
    let found = format!("{} of {}", human::bytes(free), human::bytes(total));
    if free < SPACE_BYTES_MIN {
        let advice = format!("writes would be refused; free at least {}", human::bytes(SPACE_BYTES_MIN));
        return Check::fail(name, found, advice);
    }
    if free < SPACE_BYTES_GOOD && free < total / 10 {
        return Check::warn(
            name,
            found,
            "free space, or set retention.ms or retention.bytes on large topics",
        );
    }
    Check::ok(name, found)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Verdict;
    use super::{existing, judge_space};

    #[test]
    fn a_directory_that_is_yet_to_be_made_is_judged_by_its_parent() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(existing(&directory.path().join("data/annals")), directory.path());
        assert_eq!(existing(Path::new("/")), Path::new("/"));
    }

    #[test]
    fn space_is_judged_by_size_and_share() {
        let gib = 1 << 30;
        assert_eq!(judge_space("x", gib / 4, 100 * gib).verdict, Verdict::Fail);
        assert_eq!(judge_space("x", 5 * gib, 100 * gib).verdict, Verdict::Warn);
        assert_eq!(judge_space("x", 5 * gib, 20 * gib).verdict, Verdict::Ok);
        assert_eq!(judge_space("x", 50 * gib, 1000 * gib).verdict, Verdict::Ok);
    }
}
