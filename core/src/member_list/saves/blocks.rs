//! The frame of a saved file: a magic, a version, and blocks with checksums.
//!
//! All blocks but the last have [`BLOCK`] bytes; an empty one ends the file. The checksum of a block
//! is seeded with its number, so that blocks that were swapped or left out are noticed.

use std::io::{ErrorKind, Read};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::member_list::load_error::LoadError;

/// The first bytes of a saved file.
const MAGIC: [u8; 8] = *b"HCmember";
/// The last version that is read, in which ids have a sign.
const SIGNED_VERSION: u32 = 2;
/// The version of all other files.
const VERSION: u32 = 1;
/// Bytes of magic and version.
const START: u64 = 12;
/// Bytes in a full block.
pub(crate) const BLOCK: usize = 1 << 16;
/// Bytes of the length and the checksum before a block.
const HEAD: usize = 12;

/// The place of the first byte of content.
pub(crate) const CONTENT_AT: usize = START as usize + HEAD;

/// Returns whether a file begins as saved ones do.
pub(crate) fn is_saved(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// Cuts what is written into blocks.
#[derive(Debug, Default)]
pub(crate) struct BlockWriter {
    /// Content that does not fill a block yet.
    pub(crate) pending: Vec<u8>,
    blocks: u64,
}

impl BlockWriter {
    /// Appends the beginning of a file.
    pub(crate) fn start(signed: bool, out: &mut Vec<u8>) {
        let version = if signed { SIGNED_VERSION } else { VERSION };
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&version.to_le_bytes());
    }

    /// Appends the blocks that are full.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        let full = self.pending.len() / BLOCK * BLOCK;
        for block in self.pending[..full].chunks(BLOCK) {
            put(block, self.blocks, out);
            self.blocks += 1;
        }
        self.pending.drain(..full);
    }

    /// Appends what is left, and the end.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        if !self.pending.is_empty() {
            put(&self.pending, self.blocks, out);
            self.blocks += 1;
        }
        put(&[], self.blocks, out);
        self.pending = Vec::new();
    }
}

fn put(block: &[u8], number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(block.len() as u32).to_le_bytes());
    out.extend_from_slice(&xxh3_64_with_seed(block, number).to_le_bytes());
    out.extend_from_slice(block);
}

/// Reads what a [`BlockWriter`] wrote. It never holds more than two blocks and what is asked for at
/// once.
#[derive(Debug)]
pub(crate) struct BlockReader<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were taken.
    taken: usize,
    blocks: u64,
    /// Bytes of content before the buffer.
    before: u64,
    /// Bytes read.
    offset: u64,
    is_short: bool,
    is_over: bool,
    signed: bool,
}

impl<R: Read> BlockReader<R> {
    /// Reads the beginning of a file.
    pub(crate) fn new(mut reader: R) -> Result<Self, LoadError> {
        let mut start = [0; START as usize];
        let read = read_full(&mut reader, &mut start, 0)?;
        let has_magic = start.starts_with(&MAGIC[..read.min(MAGIC.len())]);
        if !has_magic || read == 0 {
            return Err(LoadError::NotASave);
        }
        if read < start.len() {
            return Err(LoadError::Cut {
                offset: read as u64,
            });
        }
        let version = [start[8], start[9], start[10], start[11]];
        let version = u32::from_le_bytes(version);
        match version {
            VERSION | SIGNED_VERSION => {}
            0 => return Err(LoadError::NotASave),
            _ => {
                let max = SIGNED_VERSION;
                return Err(LoadError::NewerVersion { version, max });
            }
        }
        Ok(Self {
            reader,
            buffer: Vec::new(),
            taken: 0,
            blocks: 0,
            before: 0,
            offset: START,
            is_short: false,
            is_over: false,
            signed: version == SIGNED_VERSION,
        })
    }

    /// Returns whether the version is that of files whose ids have a sign.
    pub(crate) const fn is_signed(&self) -> bool {
        self.signed
    }

    /// Returns where in the file the next byte is.
    pub(crate) const fn offset(&self) -> u64 {
        let content = self.before + self.taken as u64;
        START + content + (content / BLOCK as u64 + 1) * HEAD as u64
    }

    /// Takes the next bytes.
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) -> Result<&[u8], LoadError> {
        while self.buffer.len() - self.taken < bytes {
            self.next_block()?;
        }
        let start = self.taken;
        self.taken += bytes;
        Ok(&self.buffer[start..self.taken])
    }

    /// Takes an array.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, LoadError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, LoadError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, LoadError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a text after its length in one byte.
    pub(crate) fn text(&mut self) -> Result<String, LoadError> {
        let offset = self.offset();
        let len = usize::from(self.u8()?);
        let text = String::from_utf8(self.take(len)?.to_vec());
        text.map_err(|_| LoadError::Invalid {
            what: "a name is not UTF-8",
            offset,
        })
    }

    /// Returns the error that the file contradicts itself here.
    pub(crate) const fn invalid(&self, what: &'static str) -> LoadError {
        LoadError::Invalid {
            what,
            offset: self.offset(),
        }
    }

    /// Checks that nothing comes after what was taken.
    pub(crate) fn end(mut self) -> Result<(), LoadError> {
        if self.taken < self.buffer.len() {
            return Err(self.invalid("there is content after the lists"));
        }
        while !self.is_over {
            self.read_block()?;
            if !self.buffer.is_empty() {
                return Err(self.invalid("there is content after the lists"));
            }
        }
        let offset = self.offset;
        match read_full(&mut self.reader, &mut [0], offset)? {
            0 => Ok(()),
            _ => Err(LoadError::Damaged { offset }),
        }
    }

    #[cold]
    fn next_block(&mut self) -> Result<(), LoadError> {
        if !self.is_over {
            self.read_block()?;
        }
        match self.is_over {
            true => Err(self.invalid("the content ends too early")),
            false => Ok(()),
        }
    }

    /// Reads a block behind what was not taken yet.
    fn read_block(&mut self) -> Result<(), LoadError> {
        self.buffer.drain(..self.taken);
        self.before += self.taken as u64;
        self.taken = 0;
        let offset = self.offset;
        let mut head = [0; HEAD];
        self.read(&mut head)?;
        let [a, b, c, d, checksum @ ..] = head;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if len > BLOCK || self.is_short && len > 0 {
            return Err(LoadError::Damaged { offset });
        }
        let kept = self.buffer.len();
        self.buffer.resize(kept + len, 0);
        let mut buffer = std::mem::take(&mut self.buffer);
        self.read(&mut buffer[kept..])?;
        self.buffer = buffer;
        let found = xxh3_64_with_seed(&self.buffer[kept..], self.blocks);
        if found.to_le_bytes() != checksum {
            return Err(LoadError::Damaged { offset });
        }
        self.blocks += 1;
        self.is_short = len < BLOCK;
        self.is_over = len == 0;
        Ok(())
    }

    fn read(&mut self, to: &mut [u8]) -> Result<(), LoadError> {
        let read = read_full(&mut self.reader, to, self.offset)?;
        self.offset += read as u64;
        match read == to.len() {
            true => Ok(()),
            false => Err(LoadError::Cut {
                offset: self.offset,
            }),
        }
    }
}

/// Reads until the end of the buffer or of the reader.
fn read_full(reader: &mut impl Read, to: &mut [u8], offset: u64) -> Result<usize, LoadError> {
    let mut read = 0;
    while read < to.len() {
        match reader.read(&mut to[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                let offset = offset + read as u64;
                return Err(LoadError::Io { error, offset });
            }
        }
    }
    Ok(read)
}

/// Appends a text after its length in one byte. Names have at most 64 bytes.
pub(crate) fn put_text(text: &str, out: &mut Vec<u8>) {
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}
