//! Where in the file each key stands, so that what is found wrong later still names its line.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// The lines of a configuration's keys: `data`, `listen.smtp`, `nodes.2` (the third entry).
pub struct Places {
    file: PathBuf,
    lines: BTreeMap<String, usize>,
}

impl Places {
    /// The places of a document's keys, tables and entries of arrays, one level down.
    pub fn of(file: &Path, text: &str, document: &DeTable<'_>) -> Self {
        let mut lines = BTreeMap::new();
        for (key, value) in document {
            let name = key.get_ref();
            lines.insert(name.to_string(), line(text, &key.span()));
            match value.get_ref() {
                DeValue::Table(table) => {
                    let keys =
                        table.iter().map(|(key, _)| (format!("{name}.{}", key.get_ref()), line(text, &key.span())));
                    lines.extend(keys);
                }
                DeValue::Array(entries) => {
                    let entries = entries.iter().enumerate();
                    lines.extend(entries.map(|(index, entry)| (format!("{name}.{index}"), line(text, &entry.span()))));
                }
                _ => {}
            }
        }
        Self { file: file.to_owned(), lines }
    }

    /// The file and, when the key stands in it, its line.
    pub fn at(&self, key: &str) -> Place<'_> {
        Place { file: &self.file, line: self.lines.get(key).copied() }
    }
}

/// A place, as an error begins with it.
pub struct Place<'a> {
    /// The file.
    pub file: &'a Path,
    /// The line, counted from 1; none for the file as a whole.
    pub line: Option<usize>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(f, " line {line}:"))
    }
}

/// The line of a place in a text, counted from 1.
pub fn line(text: &str, place: &Range<usize>) -> usize {
    text.get(..place.start).unwrap_or(text).matches('\n').count() + 1
}
