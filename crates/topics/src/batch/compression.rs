//! The codecs of a record batch, with a hard bound on what they may expand to.
//!
//! Invariant: expanding never holds more than about twice the limit in memory, whatever the data claims about its own
//! size. A length inside the data is checked against the limit before anything is allocated for it.
//!
//! Snappy comes in two framings: the block framing of the Java library (`\x82SNAPPY\0`, two versions, then blocks
//! behind big-endian lengths), which Kafka's own clients write, and one bare block, which librdkafka writes. Both are
//! read; the Java framing is written, since every client reads it. LZ4 is the frame format with independent blocks,
//! because Kafka's Java client reads no others.

use std::fmt;
use std::io::{Read, Write};

use super::CompressionError;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Google's Snappy, in either framing.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// The codec with this number in a batch's attributes.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The codec's number in a batch's attributes.
    pub fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec's name in topic configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A codec with the effort to spend.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Codec {
    /// Which codec.
    pub compression: Compression,
    /// Its level, or `None` for its default. Snappy has none; LZ4 is written at its fast level whatever is asked.
    pub level: Option<i32>,
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        Self { compression, level: None }
    }
}

/// How far compressed data may expand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExpandLimits {
    /// The most bytes that one batch may expand to.
    pub size_bytes_max: usize,
    /// The most bytes out for one byte in. Not judged below [`ExpandLimits::RATIO_FREE_BYTES`] of output.
    pub ratio_max: usize,
}

impl ExpandLimits {
    /// Output up to this size is never refused for its ratio: small batches of equal bytes compress very well.
    pub const RATIO_FREE_BYTES: usize = 1 << 20;

    fn bytes_for(&self, compressed_bytes: usize) -> usize {
        let by_ratio = compressed_bytes.saturating_mul(self.ratio_max).max(Self::RATIO_FREE_BYTES);
        by_ratio.min(self.size_bytes_max)
    }
}

impl Default for ExpandLimits {
    /// 64 MiB, and 1000 to one.
    fn default() -> Self {
        Self { size_bytes_max: 64 << 20, ratio_max: 1_000 }
    }
}

/// Expands `data`, which may come from anywhere.
///
/// # Errors
/// [`CompressionError::TooLarge`] when it would pass `limits`, [`CompressionError::Malformed`] when it is not what the
/// codec writes.
pub fn expand(
    compression: Compression,
    data: &[u8],
    limits: &ExpandLimits,
) -> Result<Vec<u8>, CompressionError> {
    let bound = Bound { compression, compressed_bytes: data.len(), max_bytes: limits.bytes_for(data.len()) };
    match compression {
        Compression::None => bound.copy(data),
        Compression::Gzip => bound.read(flate2::read::MultiGzDecoder::new(data)),
        Compression::Snappy => expand_snappy(data, &bound),
        Compression::Lz4 => bound.read(lz4_flex::frame::FrameDecoder::new(data)),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(data);
            bound.read(decoder.map_err(|error| bound.malformed(&error))?)
        }
    }
}

/// Compresses `data`.
///
/// # Errors
/// [`CompressionError::Compress`] when the codec fails, such as for a level that it does not have.
pub fn compress(codec: Codec, data: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let result = match codec.compression {
        Compression::None => Ok(data.to_vec()),
        Compression::Gzip => compress_gzip(data, codec.level),
        Compression::Snappy => compress_snappy(data),
        Compression::Lz4 => compress_lz4(data),
        Compression::Zstd => zstd::stream::encode_all(data, codec.level.unwrap_or(0)),
    };
    let compression = codec.compression;
    result.map_err(|error| CompressionError::Compress { compression, reason: error.to_string() })
}

fn compress_gzip(data: &[u8], level: Option<i32>) -> std::io::Result<Vec<u8>> {
    let level = level.and_then(|level| u32::try_from(level).ok()).filter(|level| *level <= 9);
    let level = level.map_or(flate2::Compression::default(), flate2::Compression::new);
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(data.len() / 2), level);
    encoder.write_all(data)?;
    encoder.finish()
}

fn compress_lz4(data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::with_capacity(data.len() / 2));
    encoder.write_all(data)?;
    Ok(encoder.finish()?)
}

const SNAPPY_JAVA_MAGIC: &[u8] = b"\x82SNAPPY\0";
const SNAPPY_JAVA_HEADER_LEN: usize = 16;
const SNAPPY_JAVA_BLOCK_LEN: usize = 32 * 1024;

/// A copy of 3 bytes stands for at most 64, so no block expands further than this.
const SNAPPY_RATIO_MAX: usize = 64;

fn compress_snappy(data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(SNAPPY_JAVA_HEADER_LEN + data.len() / 2);
    out.extend_from_slice(SNAPPY_JAVA_MAGIC);
    out.extend_from_slice(&1_u32.to_be_bytes());
    out.extend_from_slice(&1_u32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in data.chunks(SNAPPY_JAVA_BLOCK_LEN) {
        let compressed = encoder.compress_vec(block)?;
        out.extend_from_slice(&(compressed.len() as u32).to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}

fn expand_snappy(data: &[u8], bound: &Bound) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    if !data.starts_with(SNAPPY_JAVA_MAGIC) {
        expand_snappy_block(data, &mut out, bound)?;
        return Ok(out);
    }
    let mut rest =
        data.get(SNAPPY_JAVA_HEADER_LEN..).ok_or_else(|| bound.malformed(&"header is cut short"))?;
    while !rest.is_empty() {
        let (length, after) =
            rest.split_first_chunk::<4>().ok_or_else(|| bound.malformed(&"block length"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) =
            after.split_at_checked(length).ok_or_else(|| bound.malformed(&"block is cut short"))?;
        expand_snappy_block(block, &mut out, bound)?;
        rest = after;
    }
    Ok(out)
}

fn expand_snappy_block(block: &[u8], out: &mut Vec<u8>, bound: &Bound) -> Result<(), CompressionError> {
    let claimed = snap::raw::decompress_len(block).map_err(|error| bound.malformed(&error))?;
    if claimed > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(bound.malformed(&"the block claims more than it can hold"));
    }
    let start = out.len();
    if start.saturating_add(claimed) > bound.max_bytes {
        return Err(bound.too_large());
    }
    out.resize(start + claimed, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut out[start..]);
    out.truncate(start + written.map_err(|error| bound.malformed(&error))?);
    Ok(())
}

/// The limit for one piece of data, and what its errors need.
struct Bound {
    compression: Compression,
    compressed_bytes: usize,
    max_bytes: usize,
}

impl Bound {
    fn copy(&self, data: &[u8]) -> Result<Vec<u8>, CompressionError> {
        if data.len() > self.max_bytes { Err(self.too_large()) } else { Ok(data.to_vec()) }
    }

    fn read(&self, reader: impl Read) -> Result<Vec<u8>, CompressionError> {
        let mut out = Vec::with_capacity(self.compressed_bytes.saturating_mul(2).min(self.max_bytes));
        // One byte more than allowed tells "exactly the limit" from "beyond it".
        let mut reader = reader.take(self.max_bytes as u64 + 1);
        reader.read_to_end(&mut out).map_err(|error| self.malformed(&error))?;
        if out.len() > self.max_bytes { Err(self.too_large()) } else { Ok(out) }
    }

    fn too_large(&self) -> CompressionError {
        let Self { compression, compressed_bytes, max_bytes } = *self;
        CompressionError::TooLarge { compression, compressed_bytes, max_bytes }
    }

    fn malformed(&self, reason: &dyn fmt::Display) -> CompressionError {
        CompressionError::Malformed { compression: self.compression, reason: reason.to_string() }
    }
}
