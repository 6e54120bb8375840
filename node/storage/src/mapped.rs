//! A file as bytes, without reading it: the one place of this program that maps memory.

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::Mmap;

/// Maps a whole file. It must be one that nobody changes or truncates while the bytes live: a spool file that has no
/// name any more, or a blob, which is written once, under another name, before it is ever mapped. Deleting the file is
/// harmless: the mapping keeps it.
#[allow(unsafe_code)]
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: a mapping is undefined behaviour when the file changes under it. Both kinds of files that come here are
    // never written again once complete (see above), and stand in a directory of mode 0700 that belongs to this user.
    let mapping = unsafe { Mmap::map(file) }?;
    Ok(Bytes::from_owner(mapping))
}
