//! What became of the index of a segment that has none which can be used.
//!
//! A power failure may interrupt the writing of an index. Nothing is lost then: the frames were durable before, and the
//! next start builds the index again. So that is no damage, and has to be told from an index that was whole once.
//!
//! The trailer, the last bytes of the file, tells them apart: if all of it reached the disk and its checksum is wrong, bits
//! have changed.

use std::io;

use crate::recover::PADDING;
use crate::segment::Segment;
use crate::segment::footer::{TRAILER_LEN, is_torn};

/// Bytes looked at together.
const WINDOW_LEN: u64 = 1 << 20;

/// The end of a file that has no usable index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// It was never begun.
    Nothing,
    /// The writing was interrupted.
    Interrupted,
    /// It was whole once.
    Damaged,
}

/// Looks at what lies behind the frames of `segment`.
pub(super) fn ending(segment: &Segment) -> io::Result<Ending> {
    let (data_end, len) = (segment.data_end(), segment.file.len()?);
    if len >= data_end + TRAILER_LEN as u64 && !is_torn(&segment.read(len - TRAILER_LEN as u64, TRAILER_LEN)?)
    {
        return Ok(Ending::Damaged);
    }
    // What another segment left looks like nothing and like everything.
    let mut position = if segment.reused { len } else { data_end };
    while position < len {
        let window = segment.read(position, WINDOW_LEN.min(len - position) as usize)?;
        if window.iter().any(|&byte| byte != 0) {
            return Ok(Ending::Interrupted);
        }
        position += window.len() as u64;
    }
    Ok(Ending::Nothing)
}

/// Whether something that was said of a file is about its index.
pub(super) fn is_about_index(damage: &crate::Damage, segment: &Segment) -> bool {
    damage.file == segment.name.to_string()
        && damage.bytes.start >= segment.data_end()
        && damage.what != PADDING
}
