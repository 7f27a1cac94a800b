//! Segment files written from `docs/format.md` instead of by the journal: right ones, and wrong ones with right checksums.
//!
//! A journal checks so much with checksums that random bytes never get behind them. So the target describes a file in
//! steps, and each step may lie about any field of what it writes.

use std::collections::BTreeMap;

use crate::input::Input;

const BLOCK_LEN: usize = 4096;
const FRAME_HEADER_LEN: usize = 64;
const ENTRY_LEN: usize = 40;
const TRAILER_LEN: usize = 80;
const SALT: u64 = 0x5a17_5a17_5a17_5a17;
const TIME_MS: u64 = 1_767_225_600_000;

/// A log that no forged file names.
pub(crate) const FRESH_LOG: u64 = 0xf4e5_11f4_e511;

/// The largest file that is forged.
const FILE_BYTES_MAX: usize = 256 << 10;

/// What holds across the files of one directory.
#[derive(Debug, Default)]
pub(crate) struct Forge {
    sequence: u64,
    next_offsets: BTreeMap<u64, u64>,
}

/// One file: its bytes, and what a footer would say about them.
#[derive(Debug, Default)]
struct Draft {
    bytes: Vec<u8>,
    rows: BTreeMap<u64, Vec<[u8; 32]>>,
    controls: Vec<(u64, u64, u8)>,
    first_sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    log: u64,
    offset: u64,
    records: u32,
    kind: u8,
    len: u32,
    crc: u32,
    timestamp: u64,
}

impl Forge {
    /// Follows the steps in `steps` and returns the file that they describe.
    pub(crate) fn segment(&mut self, id: u64, steps: &mut Input<'_>) -> Vec<u8> {
        let mut draft = Draft::default();
        draft.write_header(id, steps);
        while !steps.is_empty() && draft.bytes.len() < FILE_BYTES_MAX {
            let step = steps.byte();
            match step & 0x0f {
                0..=3 => self.group(&mut draft, 1, step & 0xf0 != 0, steps),
                4 => self.group(&mut draft, 2, step & 0xf0 != 0, steps),
                5 => self.group(&mut draft, 3, step & 0xf0 != 0, steps),
                6 => draft.bytes.extend_from_slice(steps.slice()),
                7 => draft.bytes.resize(draft.bytes.len() + usize::from(steps.short()), 0),
                8 => draft.align(BLOCK_LEN),
                9 | 10 => draft.overwrite(steps),
                11 => draft.flip(steps),
                12 => draft.cut(steps),
                13 => self.footer(&mut draft, step & 0xf0 != 0, steps),
                // The next file starts.
                _ => break,
            }
        }
        draft.bytes
    }

    /// A frame of `kind` with entries from `steps`. Its fields are right unless `lies`.
    fn group(&mut self, draft: &mut Draft, kind: u8, lies: bool, steps: &mut Input<'_>) {
        draft.align(8);
        let count = if kind == 3 { 0 } else { usize::from(steps.byte() % 4) + 1 };
        let position = draft.bytes.len() as u64;
        let mut payloads = Vec::new();
        let mut entries = Vec::new();
        let mut place = position + (FRAME_HEADER_LEN + count * ENTRY_LEN) as u64;
        for _ in 0..count {
            let (entry, payload) = self.entry(lies, steps);
            draft.note(&entry, place);
            place += payload.len() as u64;
            payloads.extend_from_slice(payload);
            entries.push(entry);
        }
        if kind == 1 {
            self.sequence = self.sequence.wrapping_add(1);
        }
        let len = (FRAME_HEADER_LEN + count * ENTRY_LEN + payloads.len()) as u64;
        let mut fields = [self.sequence.wrapping_sub(1), self.sequence, TIME_MS, SALT, position, len];
        let mut head = (1_u8, kind, count as u32);
        if lies {
            lie(&mut fields, &mut head, steps);
        }
        if draft.first_sequence == 0 {
            draft.first_sequence = fields[1];
        }
        draft.write_frame(head, fields, &entries);
        draft.bytes.extend_from_slice(&payloads);
        draft.align(8);
    }

    fn entry<'a>(&mut self, lies: bool, steps: &mut Input<'a>) -> (Entry, &'a [u8]) {
        let choice = steps.byte();
        let log = [1, 2, 64, 65][usize::from(choice & 3)];
        let kind = if choice & 0x0c == 0x0c { 1 + (choice >> 4 & 1) } else { 0 };
        let records = if kind == 0 { u32::from(choice >> 4 & 3) + 1 } else { 0 };
        let payload = if kind == 0 { steps.slice() } else { &[] };
        let next = self.next_offsets.entry(log).or_default();
        let crc = crc32c::crc32c(payload);
        let mut entry =
            Entry { log, offset: *next, records, kind, len: payload.len() as u32, crc, timestamp: TIME_MS };
        *next = next.wrapping_add(u64::from(records));
        if lies {
            match steps.byte() {
                1 => entry.offset = steps.long(),
                2 => entry.records = steps.long() as u32,
                3 => entry.len = steps.long() as u32,
                4 => entry.kind = steps.byte(),
                5 => entry.log = Some(steps.long()).filter(|log| *log != FRESH_LOG).unwrap_or(log),
                6 => entry.timestamp = steps.long(),
                7 => entry.crc ^= 1,
                _ => {}
            }
        }
        (entry, payload)
    }

    fn footer(&mut self, draft: &mut Draft, lies: bool, steps: &mut Input<'_>) {
        let data_end = draft.bytes.len() as u64;
        let mut counts = [draft.rows.len() as u32, draft.controls.len() as u32];
        let (directory, rows, summaries) = draft.index(lies, steps);
        let (first, last) = (draft.first_sequence, self.sequence);
        let lens = [directory.len() as u64, rows.len() as u64, summaries.len() as u64];
        let mut fields = [data_end, lens[0], lens[1], lens[2], first, last];
        if lies {
            let which = usize::from(steps.byte());
            match which {
                0..=5 => fields[which] = steps.long(),
                6 | 7 => counts[which - 6] = steps.long() as u32,
                _ => {}
            }
        }
        let directory_crc = crc32c::crc32c(&directory);
        for part in [&directory, &rows, &summaries] {
            draft.bytes.extend_from_slice(part);
        }
        draft.write_trailer(counts, fields, directory_crc);
    }
}

/// Puts a number from `steps` in the place of one field.
fn lie(fields: &mut [u64; 6], head: &mut (u8, u8, u32), steps: &mut Input<'_>) {
    let which = usize::from(steps.byte());
    match which {
        0..=5 => fields[which] = steps.long(),
        6 => head.0 = steps.byte(),
        7 => head.1 = steps.byte(),
        8 => head.2 = steps.long() as u32,
        // Both at once, as a frame from the far future would have them.
        9 => (fields[0], fields[1]) = (steps.long(), steps.long()),
        _ => {}
    }
}

impl Draft {
    fn write_header(&mut self, id: u64, steps: &mut Input<'_>) {
        let lies = steps.byte();
        let mut fields = [SALT, id, id, 0, TIME_MS, 0];
        if let Some(field) = fields.get_mut(usize::from(lies.wrapping_sub(1))) {
            *field = steps.long();
        }
        self.bytes.extend_from_slice(b"AnSegmnt");
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&(if lies == 7 { 2_u16 } else { 1 }).to_le_bytes());
        self.bytes.extend_from_slice(&[0; 2]);
        fields.iter().for_each(|field| self.bytes.extend_from_slice(&field.to_le_bytes()));
        let crc = crc32c::crc32c(&self.bytes[12..]);
        self.bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        self.align(BLOCK_LEN);
    }

    fn write_frame(&mut self, (version, kind, count): (u8, u8, u32), fields: [u64; 6], entries: &[Entry]) {
        let start = self.bytes.len();
        let [durable_before, sequence, time, salt, position, len] = fields;
        self.bytes.extend_from_slice(b"AnFr\0\0\0\0");
        self.bytes.extend_from_slice(&[version, kind, 0, 0]);
        self.bytes.extend_from_slice(&count.to_le_bytes());
        for field in [len, sequence, durable_before, time, salt, position] {
            self.bytes.extend_from_slice(&field.to_le_bytes());
        }
        for entry in entries {
            for field in [entry.log, entry.offset, entry.timestamp] {
                self.bytes.extend_from_slice(&field.to_le_bytes());
            }
            for field in [entry.records, entry.len, entry.crc] {
                self.bytes.extend_from_slice(&field.to_le_bytes());
            }
            self.bytes.extend_from_slice(&[entry.kind, 0, 0, 0]);
        }
        let crc = crc32c::crc32c(&self.bytes[start + 8..]);
        self.bytes[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Keeps a row of the footer for an entry.
    fn note(&mut self, entry: &Entry, position: u64) {
        if entry.kind != 0 {
            self.controls.push((entry.log, entry.offset, entry.kind));
            return;
        }
        let mut row = [0; 32];
        row[..8].copy_from_slice(&entry.offset.to_le_bytes());
        row[8..16].copy_from_slice(&entry.timestamp.to_le_bytes());
        row[16..20].copy_from_slice(&(position as u32).to_le_bytes());
        row[20..24].copy_from_slice(&entry.len.to_le_bytes());
        row[24..28].copy_from_slice(&entry.records.to_le_bytes());
        row[28..].copy_from_slice(&entry.crc.to_le_bytes());
        self.rows.entry(entry.log).or_default().push(row);
    }

    /// Directory with controls, rows and summaries.
    fn index(&self, lies: bool, steps: &mut Input<'_>) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let (mut directory, mut rows, mut summaries) = (Vec::new(), Vec::new(), Vec::new());
        for (log, of_log) in &self.rows {
            let (first, last) = (of_log[0], of_log[of_log.len() - 1]);
            let bytes: u64 = of_log.iter().map(|row| u64::from(u32_at(row, 20))).sum();
            let end = u64_at(&last, 0).wrapping_add(u64::from(u32_at(&last, 24)));
            let all = of_log.concat();
            let summary = steps.slice();
            let mut fields = [*log, u64_at(&first, 0), end, bytes, TIME_MS];
            let mut places = [(rows.len() / 32) as u32, of_log.len() as u32, crc32c::crc32c(&all)];
            if lies {
                let which = usize::from(steps.byte());
                match which {
                    0 => fields[0] = Some(steps.long()).filter(|log| *log != FRESH_LOG).unwrap_or(*log),
                    1..=4 => fields[which] = steps.long(),
                    5..=7 => places[which - 5] = steps.long() as u32,
                    _ => {}
                }
            }
            fields.iter().for_each(|field| directory.extend_from_slice(&field.to_le_bytes()));
            let of_summary = [summaries.len() as u32, summary.len() as u32, crc32c::crc32c(summary)];
            for place in places.iter().chain(&of_summary) {
                directory.extend_from_slice(&place.to_le_bytes());
            }
            directory.extend_from_slice(&[0; 8]);
            rows.extend_from_slice(&all);
            summaries.extend_from_slice(summary);
        }
        for (log, offset, kind) in &self.controls {
            directory.extend_from_slice(&log.to_le_bytes());
            directory.extend_from_slice(&offset.to_le_bytes());
            directory.extend_from_slice(&[*kind, 0, 0, 0, 0, 0, 0, 0]);
        }
        (directory, rows, summaries)
    }

    fn write_trailer(&mut self, counts: [u32; 2], fields: [u64; 6], directory_crc: u32) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(b"AnFooter\0\0\0\0");
        self.bytes.extend_from_slice(&[1, 0, 0, 0]);
        counts.iter().for_each(|count| self.bytes.extend_from_slice(&count.to_le_bytes()));
        fields.iter().for_each(|field| self.bytes.extend_from_slice(&field.to_le_bytes()));
        self.bytes.extend_from_slice(&directory_crc.to_le_bytes());
        self.bytes.resize(start + TRAILER_LEN, 0);
        let crc = crc32c::crc32c(&self.bytes[start + 12..]);
        self.bytes[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn overwrite(&mut self, steps: &mut Input<'_>) {
        let (at, with) = (self.place(steps), steps.slice());
        let len = with.len().min(self.bytes.len() - at);
        self.bytes[at..at + len].copy_from_slice(&with[..len]);
    }

    fn flip(&mut self, steps: &mut Input<'_>) {
        let (at, bit) = (self.place(steps), steps.byte() % 8);
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    fn cut(&mut self, steps: &mut Input<'_>) {
        let at = self.place(steps);
        self.bytes.truncate(at);
    }

    fn place(&self, steps: &mut Input<'_>) -> usize {
        usize::from(steps.short()).min(self.bytes.len())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
