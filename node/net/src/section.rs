//! A role's section of the configuration file, before the role has read it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// What is wrong in a configuration and where. Whoever holds the file's text turns the place into a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// What is wrong and how to mend it.
    pub message: String,
    /// The bytes of the file that it is about, when known.
    pub place: Option<Range<usize>>,
}

impl ConfigError {
    /// An error about the section as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None }
    }

    /// What TOML or serde says, with the nearest known key added to an unknown one.
    pub fn from_toml(error: &toml::de::Error) -> Self {
        let message = error.message().trim().replace('\n', " ");
        Self { message: name_nearest(&message).unwrap_or(message), place: error.span() }
    }
}

/// A section: a table whose keys a role knows.
#[derive(Debug, Clone)]
pub struct Section<'i> {
    table: Spanned<DeValue<'i>>,
    directory: PathBuf,
}

impl<'i> Section<'i> {
    /// The section of a table that stands in the file.
    pub fn new(table: Spanned<DeValue<'i>>) -> Self {
        Self { table, directory: PathBuf::new() }
    }

    /// Says in which directory the file stands.
    #[must_use]
    pub fn beside(self, directory: &Path) -> Self {
        Self { directory: directory.to_owned(), ..self }
    }

    /// What relative paths are relative to: the directory of the file.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The section that a file leaves out: all defaults.
    pub fn absent() -> Self {
        Self::new(Spanned::new(0..0, DeValue::Table(DeTable::new())))
    }

    /// A section from a text, as tests write it.
    pub fn parse(text: &'i str) -> Result<Self, ConfigError> {
        let table = DeTable::parse(text).map_err(|error| ConfigError::from_toml(&error))?;
        Ok(Self::new(Spanned::new(table.span(), DeValue::Table(table.into_inner()))))
    }

    /// Reads the section into the role's `Config`, whose type denies unknown fields.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, ConfigError> {
        let place = self.table.span();
        T::deserialize(ValueDeserializer::from(self.table)).map_err(|error| {
            let mut error = ConfigError::from_toml(&error);
            error.place = error.place.or((place.end > 0).then_some(place));
            error
        })
    }
}

/// Adds the nearest known key to serde's "unknown field `x`, expected one of `a`, `b`".
fn name_nearest(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, expected) = rest.split_once("`, expected ")?;
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let nearest = nearest(unknown, known.iter().copied());
    let hint = nearest.map(|key| format!("did you mean {key:?}? ")).unwrap_or_default();
    Some(format!("unknown key {unknown:?}: {hint}the keys here are {}", known.join(", ")))
}

/// The known word that is most like `word`, when one is like it at all.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 2).max(1);
    known.map(|key| (distance(word, key), key)).filter(|(distance, _)| *distance <= limit).min().map(|(_, key)| key)
}

/// How many letters must be put in, left out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        size_bytes: u64,
        #[serde(default)]
        host: String,
    }

    #[test]
    fn an_unknown_key_names_the_nearest_and_its_place() {
        let text = "host = 'a'\nsize_byte = 3\n";
        let error = Section::parse(text).unwrap().read::<Config>().unwrap_err();
        assert_eq!(
            error.message,
            "unknown key \"size_byte\": did you mean \"size_bytes\"? the keys here are size_bytes, host"
        );
        assert_eq!(&text[error.place.unwrap()], "size_byte");
    }

    #[test]
    fn a_wrong_type_has_a_place() {
        let text = "size_bytes = 'many'\n";
        let error = Section::parse(text).unwrap().read::<Config>().unwrap_err();
        assert_eq!(&text[error.place.unwrap()], "'many'");
        let config: Config = Section::absent().read().unwrap();
        assert_eq!((config.size_bytes, config.host.as_str()), (0, ""));
    }

    #[test]
    fn the_nearest_word_is_like_it_or_none() {
        let roles = ["edge", "filter", "access"];
        assert_eq!(nearest("egde", roles.into_iter()), Some("edge"));
        assert_eq!(nearest("balancer", roles.into_iter()), None);
    }
}
