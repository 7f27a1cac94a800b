//! CRC-32C of a whole from the CRCs of its parts, without reading the parts again.
//!
//! A batch carries the CRC of everything behind its 21-byte prefix. When the broker assigns an offset only the prefix
//! changes, and when it stamps a time only the 61-byte header does, so the checksum of what is stored follows from the
//! client's checksum and a few bytes: the payload is read once, when the client's checksum is verified.
//!
//! How: appending `n` bytes multiplies a CRC, seen as a polynomial over GF(2), by x^(8n). A table holds those powers
//! for each of the four bytes of `n`, so a combination costs at most five polynomial products (some 100 ns), where the
//! general algorithm of zlib's `crc32_combine` squares matrices for microseconds.

/// The Castagnoli polynomial, bit-reversed: bit 31 is the coefficient of x^0.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `POWERS[j][n]` is x^(8 n 256^j) modulo the polynomial.
static POWERS: [[u32; 256]; 4] = powers();

/// The CRC-32C of `a ++ b`, given both CRCs and the length of `b`.
///
/// ```
/// use annals_topics::batch::crc_of_both;
/// let (a, b) = (crc32c::crc32c(b"event"), crc32c::crc32c(b"-driven"));
/// assert_eq!(crc_of_both(a, b, 7), crc32c::crc32c(b"event-driven"));
/// ```
pub fn crc_of_both(crc_a: u32, crc_b: u32, len_b: u32) -> u32 {
    shift(crc_a, len_b) ^ crc_b
}

/// The CRC-32C of a stored batch: its patched 21-byte prefix, then `rest_len` bytes whose CRC is the batch's own.
pub fn stored_crc(prefix: &[u8; super::PREFIX_LEN], batch_crc: u32, rest_len: u32) -> u32 {
    crc_of_both(crc32c::crc32c(prefix), batch_crc, rest_len)
}

/// The CRC of `new ++ rest`, given the CRC of `old ++ rest`.
pub(crate) fn replace_head(crc: u32, old: &[u8], new: &[u8], rest_len: u32) -> u32 {
    let rest_crc = crc_of_both(crc32c::crc32c(old), crc, rest_len);
    crc_of_both(crc32c::crc32c(new), rest_crc, rest_len)
}

/// `crc` times x^(8 `len`): the CRC's contribution after `len` further bytes.
fn shift(crc: u32, len: u32) -> u32 {
    let mut crc = crc;
    for (power, byte) in POWERS.iter().zip(len.to_le_bytes()) {
        if byte != 0 {
            crc = multiply(power[byte as usize], crc);
        }
    }
    crc
}

/// The product of two polynomials modulo the CRC polynomial.
const fn multiply(a: u32, b: u32) -> u32 {
    let (mut a, mut b, mut product) = (a, b, 0);
    while a != 0 {
        // All ones where the highest coefficient is set: no branch to mispredict.
        product ^= b & ((a as i32) >> 31) as u32;
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
        a <<= 1;
    }
    product
}

const fn powers() -> [[u32; 256]; 4] {
    let mut table = [[0; 256]; 4];
    let mut step = 1 << 23; // x^8
    let mut row = 0;
    while row < 4 {
        table[row][0] = 1 << 31; // x^0
        let mut n = 1;
        while n < 256 {
            table[row][n] = multiply(table[row][n - 1], step);
            n += 1;
        }
        step = multiply(table[row][255], step);
        row += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use crc32c::{crc32c, crc32c_combine};
    use proptest::prelude::*;

    use super::{crc_of_both, replace_head};

    #[test]
    fn long_lengths_match_the_general_algorithm() {
        for len in [1, 255, 256, 65_535, 65_536, 16_777_216, 1_073_741_824, u32::MAX] {
            assert_eq!(
                crc_of_both(0xdead_beef, 0x1234, len),
                crc32c_combine(0xdead_beef, 0x1234, len as usize)
            );
        }
    }

    proptest! {
        #[test]
        fn whole_from_parts(a: Vec<u8>, b: Vec<u8>) {
            let whole = [a.clone(), b.clone()].concat();
            prop_assert_eq!(crc_of_both(crc32c(&a), crc32c(&b), b.len() as u32), crc32c(&whole));
        }

        #[test]
        fn a_new_head(old: [u8; 40], new: [u8; 40], rest: Vec<u8>) {
            let before = crc32c(&[&old[..], &rest].concat());
            let after = crc32c(&[&new[..], &rest].concat());
            prop_assert_eq!(replace_head(before, &old, &new, rest.len() as u32), after);
        }
    }
}
