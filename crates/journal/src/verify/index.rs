//! What became of the index of a segment that has none which can be used.
//!
//! A power failure may interrupt the writing of an index. Nothing is lost then: the frames were durable before, and the
//! next start builds the index again. So that is no damage, and has to be told from an index that was whole once.
//!
//! The trailer, the last bytes of the file, tells them apart. What did not reach the disk is zero, and neither the
//! trailer's first byte nor the last of its checksums is likely to be: a trailer in which either is zero was
//! never there whole. If both are there and the checksum is wrong, bits have changed.

use std::io;

use crate::recover::PADDING;
use crate::segment::Segment;

/// As `docs/format.md` describes the trailer.
const TRAILER_LEN: u64 = 80;
const TRAILER_MAGIC: [u8; 8] = *b"AnFooter";
/// The last byte of the directory's checksum, the last in the trailer that is not always zero.
const LAST_BYTE: usize = 75;
/// Bits in which the beginning of a damaged trailer may differ.
const BITS_WRONG_MAX: u32 = 4;
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
    if len >= data_end + TRAILER_LEN && !is_torn(&segment.read(len - TRAILER_LEN, TRAILER_LEN as usize)?) {
        return Ok(Ending::Damaged);
    }
    let mut position = data_end;
    while position < len {
        let window = segment.read(position, WINDOW_LEN.min(len - position) as usize)?;
        if window.iter().any(|&byte| byte != 0) {
            return Ok(Ending::Interrupted);
        }
        position += window.len() as u64;
    }
    Ok(Ending::Nothing)
}

fn is_torn(trailer: &[u8]) -> bool {
    let differing = trailer.iter().zip(TRAILER_MAGIC).map(|(byte, wanted)| (byte ^ wanted).count_ones());
    trailer[0] == 0 || trailer[LAST_BYTE] == 0 || differing.sum::<u32>() > BITS_WRONG_MAX
}

/// Whether something that was said of a file is about its index.
pub(super) fn is_about_index(damage: &crate::Damage, segment: &Segment) -> bool {
    damage.file == segment.name.to_string()
        && damage.bytes.start >= segment.data_end()
        && damage.what != PADDING
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailer() -> Vec<u8> {
        let mut trailer = vec![0; TRAILER_LEN as usize];
        trailer[..8].copy_from_slice(&TRAILER_MAGIC);
        trailer[8..=LAST_BYTE].fill(7);
        trailer
    }

    #[test]
    fn a_trailer_of_which_part_is_missing_is_torn() {
        assert!(!is_torn(&trailer()));
        for kept in 0..=LAST_BYTE {
            let mut torn = trailer();
            torn[kept..].fill(0);
            assert!(is_torn(&torn), "the first {kept} bytes arrived");
            let mut torn = trailer();
            torn[..=kept].fill(0);
            assert!(is_torn(&torn), "all but the first {} bytes arrived", kept + 1);
        }
    }

    #[test]
    fn a_trailer_in_which_a_bit_changed_is_not() {
        for bit in 0..TRAILER_LEN * 8 {
            let mut damaged = trailer();
            damaged[bit as usize / 8] ^= 1 << (bit % 8);
            assert!(!is_torn(&damaged), "bit {bit}");
        }
    }
}
