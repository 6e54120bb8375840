//! The bound of all the work that one message may cause.

use std::time::{Duration, Instant};

/// How deep multiparts and messages may stand in each other. Mail clients make five levels at the most.
pub const MIME_DEPTH: usize = 32;

/// The most MIME parts of one message.
pub const MIME_PARTS: usize = 10_000;

/// An archive's entry of more than this many bytes is a bomb when it is also [`RATIO`] times as large as packed.
pub const RATIO_BYTES: u64 = 1024 * 1024;

/// How many times as large as packed an entry may be. Logs and tables reach 50; a bomb has up to 1,032.
pub const RATIO: u64 = 250;

/// An archive inside an archive may have this many bytes; it is held in memory.
pub const NESTED_ARCHIVE_BYTES: u64 = 32 * 1024 * 1024;

/// The bounds that the configuration sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deep archives may stand in each other.
    pub archive_depth: usize,
    /// The most entries of all archives in a message.
    pub archive_entries: usize,
    /// The most bytes that all archives of a message may unpack to.
    pub archive_bytes: u64,
    /// How long looking into one message may take.
    pub time: Duration,
}

/// Which bound a message went past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overrun {
    /// [`MIME_DEPTH`].
    #[error("parts nested more than {MIME_DEPTH} deep")]
    Depth,
    /// [`MIME_PARTS`].
    #[error("more than {MIME_PARTS} parts")]
    Parts,
    /// Decoded, its parts are several times as large as the message.
    #[error("parts wrapped in each other too often")]
    Decoded,
    /// [`Limits::archive_depth`].
    #[error("archives nested too deep")]
    ArchiveDepth,
    /// [`Limits::archive_entries`].
    #[error("too many files in archives")]
    ArchiveEntries,
    /// [`Limits::archive_bytes`] or [`NESTED_ARCHIVE_BYTES`].
    #[error("archives unpack to too much")]
    ArchiveBytes,
    /// [`RATIO`].
    #[error("a file more than {RATIO} times as large as packed")]
    Ratio,
    /// [`Limits::time`]: our fault as much as the message's, so it is tried again later.
    #[error("looking into the message takes too long")]
    Time,
}

impl Overrun {
    /// Whether it is about an archive rather than about the MIME structure.
    pub fn is_archive(self) -> bool {
        matches!(self, Self::ArchiveDepth | Self::ArchiveEntries | Self::ArchiveBytes | Self::Ratio)
    }
}

/// What is left for one message.
#[derive(Debug)]
pub struct Budget {
    archive_depth: usize,
    entries: usize,
    unpacked_bytes: u64,
    parts: usize,
    decoded_bytes: usize,
    until: Instant,
}

impl Budget {
    /// All of it, for a message of this size.
    pub fn new(limits: &Limits, message_bytes: usize) -> Self {
        Self {
            archive_depth: limits.archive_depth,
            entries: limits.archive_entries,
            unpacked_bytes: limits.archive_bytes,
            parts: MIME_PARTS,
            // A message inside a message is decoded once for each level: four levels of the whole are plenty.
            decoded_bytes: message_bytes.saturating_mul(4).saturating_add(1024 * 1024),
            until: Instant::now() + limits.time,
        }
    }

    /// Takes one MIME part at `depth`.
    pub fn part(&mut self, depth: usize) -> Result<(), Overrun> {
        self.in_time()?;
        if depth > MIME_DEPTH {
            return Err(Overrun::Depth);
        }
        self.parts = self.parts.checked_sub(1).ok_or(Overrun::Parts)?;
        Ok(())
    }

    /// Takes what a part was decoded to.
    pub fn decoded(&mut self, bytes: usize) -> Result<(), Overrun> {
        self.decoded_bytes = self.decoded_bytes.checked_sub(bytes).ok_or(Overrun::Decoded)?;
        Ok(())
    }

    /// Enters an archive that stands in `depth` others.
    pub fn archive(&self, depth: usize) -> Result<(), Overrun> {
        if depth >= self.archive_depth { Err(Overrun::ArchiveDepth) } else { Ok(()) }
    }

    /// Takes this many entries of an archive.
    pub fn entries(&mut self, count: usize) -> Result<(), Overrun> {
        self.entries = self.entries.checked_sub(count).ok_or(Overrun::ArchiveEntries)?;
        Ok(())
    }

    /// Takes bytes that came out of an archive.
    pub fn unpacked(&mut self, bytes: usize) -> Result<(), Overrun> {
        self.in_time()?;
        self.unpacked_bytes = self.unpacked_bytes.checked_sub(bytes as u64).ok_or(Overrun::ArchiveBytes)?;
        Ok(())
    }

    fn in_time(&self) -> Result<(), Overrun> {
        if Instant::now() > self.until { Err(Overrun::Time) } else { Ok(()) }
    }
}
