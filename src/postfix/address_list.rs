//! Lists of address patterns: main.cf `mynetworks` and `postscreen_allowlist_interfaces`.
//!
//! The first item that matches decides; an item with an exclamation mark decides against.
//! A pattern that makes no sense is found out only when an address of its family gets as
//! far as to it, as in Postfix.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::lists::split_before_comment;
use super::message::{Level, Message};
use super::table::{
    Answer, FileSource, Network, OpenOptions, Surrogate, Table, TableError, TableId, Tables,
    address_text, error_text,
};

/// How deep files may name files.
const DEEPEST: usize = 16;

/// Whether an address is on a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Membership {
    /// It is.
    Member,
    /// It is not.
    Stranger,
    /// A table failed or a pattern is wrong, before any item matched.
    Unknown,
}

/// A list of address patterns, tables, and files with more of both.
#[derive(Clone, Debug)]
pub struct AddressList {
    /// The parameter that messages name.
    label: String,
    items: Vec<Item>,
}

#[derive(Clone, Debug)]
struct Item {
    negated: bool,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Pattern(Pattern),
    /// Only whether the key is there counts.
    Table(TableId),
    File {
        path: PathBuf,
        content: Result<Vec<Item>, Unreadable>,
    },
}

/// Stands in for a file that could not be read.
#[derive(Clone, Debug)]
struct Unreadable {
    /// A table type and name, made up for the messages.
    name: String,
    surrogate: Surrogate,
}

/// Why a list cannot be used at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListError {
    /// Exclamation marks with nothing behind them.
    #[error("{0}: no pattern after '!'")]
    NoPattern(String),
    /// A table item.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file cannot be read, and main.cf has `daemon_table_open_error_is_fatal = yes`.
    #[error("{0}")]
    File(String),
}

/// Reads items, and the files and tables they name.
struct Reader<'a> {
    label: &'a str,
    tables: &'a mut Tables,
    files: &'a dyn FileSource,
    messages: &'a mut Vec<Message>,
    /// The files around the current item, the outermost first.
    inside: Vec<PathBuf>,
}

impl AddressList {
    /// Reads a list. `label` is the parameter that messages name; what is wrong with
    /// tables and files is added to `messages`.
    ///
    /// # Errors
    ///
    /// If the service cannot start with this list.
    pub fn parse(
        label: &str,
        text: &str,
        tables: &mut Tables,
        files: &dyn FileSource,
        messages: &mut Vec<Message>,
    ) -> Result<AddressList, ListError> {
        let mut reader = Reader { label, tables, files, messages, inside: Vec::new() };
        let items = reader.items(text, false)?;
        Ok(AddressList { label: label.to_owned(), items })
    }

    /// Whether the address is on the list. Trouble is added to `warnings`.
    pub fn evaluate(
        &self,
        tables: &Tables,
        address: IpAddr,
        warnings: &mut Vec<Message>,
    ) -> Membership {
        let key = address_text(address);
        self.first_match(&self.items, &Subject { tables, address, key: &key }, warnings)
            .unwrap_or(Membership::Stranger)
    }

    /// The `/file/name` items' files, each once, also those that could not be read.
    pub fn watched(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        collect_files(&self.items, &mut paths);
        paths
    }

    /// Replaces the items that came from this file. If the new text is unusable, the old
    /// items stay. Files and tables it newly names are not opened unless `files` can.
    pub fn reload(
        &mut self,
        path: &Path,
        text: &[u8],
        tables: &mut Tables,
        files: &dyn FileSource,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut reader = Reader {
            label: &self.label,
            tables,
            files,
            messages: &mut messages,
            inside: Vec::new(),
        };
        reader.replace(&mut self.items, path, text);
        for message in &mut messages {
            // Thirteen errors would end the process.
            message.level = message.level.min(Level::Warning);
        }
        messages
    }

    fn first_match(
        &self,
        items: &[Item],
        subject: &Subject<'_>,
        warnings: &mut Vec<Message>,
    ) -> Option<Membership> {
        for item in items {
            let matches = match &item.kind {
                Kind::Pattern(pattern) => match pattern.matches(subject) {
                    Ok(matches) => matches,
                    Err(problem) => {
                        warnings.push(Message::warning(format!("{}: {problem}", self.label)));
                        return Some(Membership::Unknown);
                    }
                },
                Kind::Table(table) => match subject.tables.lookup(*table, subject.key, warnings) {
                    Answer::Found(_) => true,
                    Answer::NotFound => false,
                    Answer::Failed => {
                        let name = subject.tables.spec(*table);
                        warnings.push(self.table_problem(name));
                        return Some(Membership::Unknown);
                    }
                },
                Kind::File { content: Ok(items), .. } => {
                    match self.first_match(items, subject, warnings) {
                        // The items have this item's negation in them already.
                        Some(decided) => return Some(decided),
                        None => false,
                    }
                }
                Kind::File { content: Err(file), .. } => {
                    // Asked only for its warning: it never answers.
                    let _ = file.surrogate.lookup(subject.key.as_bytes(), warnings);
                    warnings.push(self.table_problem(&file.name));
                    return Some(Membership::Unknown);
                }
            };
            if matches {
                let decided = if item.negated { Membership::Stranger } else { Membership::Member };
                return Some(decided);
            }
        }
        None
    }

    fn table_problem(&self, table: &str) -> Message {
        Message::warning(format!("{}: {table}: table lookup problem", self.label))
    }
}

fn collect_files(items: &[Item], paths: &mut Vec<PathBuf>) {
    for item in items {
        if let Kind::File { path, content } = &item.kind {
            if !paths.contains(path) {
                paths.push(path.clone());
            }
            collect_files(content.as_deref().unwrap_or_default(), paths);
        }
    }
}

impl Reader<'_> {
    fn items(&mut self, text: &str, negated: bool) -> Result<Vec<Item>, ListError> {
        let words = split_before_comment(self.label, text, self.messages);
        words.into_iter().map(|word| self.item(word, negated)).collect()
    }

    fn item(&mut self, word: &str, mut negated: bool) -> Result<Item, ListError> {
        let mut rest = word;
        while let Some(after) = rest.strip_prefix('!') {
            negated = !negated;
            rest = after;
        }
        if rest.is_empty() {
            return Err(ListError::NoPattern(self.label.to_owned()));
        }
        let kind = if rest.starts_with('/') {
            let content = self.file(rest, negated)?;
            Kind::File { path: rest.into(), content }
        } else if rest.contains(':') && !rest.starts_with('[') {
            Kind::Table(self.tables.open(rest, OpenOptions::EXACT, self.files, self.messages)?)
        } else {
            Kind::Pattern(Pattern::new(rest))
        };
        Ok(Item { negated, kind })
    }

    fn file(
        &mut self,
        name: &str,
        negated: bool,
    ) -> Result<Result<Vec<Item>, Unreadable>, ListError> {
        let path = PathBuf::from(name);
        let reason = if self.inside.contains(&path) {
            "it names itself".to_owned()
        } else if self.inside.len() >= DEEPEST {
            "files named too deeply".to_owned()
        } else {
            match self.files.read(&path) {
                Ok(text) => {
                    self.inside.push(path);
                    let items = self.file_items(&text, negated);
                    self.inside.pop();
                    return Ok(Ok(items?));
                }
                Err(error) => error_text(&error),
            }
        };
        let reason = format!("open file {name}: {reason}");
        if self.tables.errors_are_fatal() {
            return Err(ListError::File(reason));
        }
        self.messages.push(Message::error(&reason));
        let name = format!("non-existent:{name}");
        Ok(Err(Unreadable { surrogate: Surrogate::new(&name, &reason), name }))
    }

    /// Each line is a list of its own; a comment line begins with `#` at once.
    fn file_items(&mut self, text: &[u8], negated: bool) -> Result<Vec<Item>, ListError> {
        let mut items = Vec::new();
        for line in String::from_utf8_lossy(text).lines() {
            if !line.starts_with('#') {
                items.extend(self.items(line, negated)?);
            }
        }
        Ok(items)
    }

    fn replace(&mut self, items: &mut [Item], path: &Path, text: &[u8]) {
        for item in items {
            let Kind::File { path: own, content } = &mut item.kind else { continue };
            self.inside.push(own.clone());
            if own == path {
                match self.file_items(text, item.negated) {
                    Ok(items) => *content = Ok(items),
                    Err(error) => self.messages.push(Message::warning(format!(
                        "{error}; {} stays as it was",
                        path.display()
                    ))),
                }
            } else if let Ok(inner) = content {
                self.replace(inner, path, text);
            }
            self.inside.pop();
        }
    }
}

/// The address that is looked for.
struct Subject<'a> {
    tables: &'a Tables,
    address: IpAddr,
    key: &'a str,
}

/// An address pattern, understood as far as that is possible beforehand.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern {
    /// Equal to an address in its normal form, without the brackets.
    exact: String,
    /// IPv6, going by the colon.
    six: bool,
    network: PatternNetwork,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum PatternNetwork {
    /// The pattern is only good for comparing text, if for anything.
    None,
    Network(Network),
    /// What to say when the pattern is come upon.
    Wrong(String),
}

impl Pattern {
    fn new(text: &str) -> Pattern {
        let text = text.to_lowercase();
        let six = text.contains(':');
        let addresses_only = text.bytes().all(
            |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'.' | b':' | b'[' | b']' | b'/'),
        );
        let network = if addresses_only && (six || text.contains('/')) {
            match Network::parse(&text) {
                Ok(network) => PatternNetwork::Network(network),
                Err(error) => PatternNetwork::Wrong(error.to_string()),
            }
        } else {
            PatternNetwork::None
        };
        let exact = match text.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
            None => text,
            Some(inner) => inner.unwrap_or_default().to_owned(),
        };
        Pattern { exact, six, network }
    }

    /// The error is what is wrong with the pattern.
    fn matches(&self, subject: &Subject<'_>) -> Result<bool, &str> {
        if self.exact == subject.key {
            return Ok(true);
        }
        if self.six != subject.key.contains(':') {
            return Ok(false);
        }
        match &self.network {
            PatternNetwork::None => Ok(false),
            PatternNetwork::Network(network) => Ok(network.contains(subject.address)),
            PatternNetwork::Wrong(problem) => Err(problem),
        }
    }
}

#[cfg(test)]
#[path = "address_list_tests.rs"]
mod tests;
