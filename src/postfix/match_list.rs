//! Lists of patterns, tables, and files with more of both: the common part of main.cf
//! `mynetworks`, `postscreen_allowlist_interfaces` and `postscreen_forbidden_commands`.
//!
//! The first item that matches decides; an item with an exclamation mark decides against.

use std::path::{Path, PathBuf};

use super::lists::{Vintage, split_before_comment};
use super::logical_lines::logical_lines;
use super::message::{Level, Message};
use super::table::{
    Answer, FileSource, OpenOptions, RemoteQuestion, Surrogate, Table, TableError, TableId,
    TableView, Tables, error_text,
};

/// How deep files may name files.
const DEEPEST: usize = 16;

/// What a list has besides tables and files.
pub trait Pattern: Sized {
    /// What is looked for.
    type Subject<'a>;

    /// Understands an item, as far as that is possible beforehand.
    fn new(text: &str) -> Self;

    /// The key under which tables are asked.
    fn key<'a>(subject: &'a Self::Subject<'_>) -> &'a [u8];

    /// Whether the pattern is about the subject.
    ///
    /// # Errors
    ///
    /// What is wrong with the pattern.
    fn matches(&self, subject: &Self::Subject<'_>) -> Result<bool, &str>;
}

/// Whether something is on a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Membership {
    /// It is.
    Member,
    /// It is not.
    Stranger,
    /// A table failed or a pattern is wrong, before any item matched.
    Unknown,
    /// That depends on what a table elsewhere answers to this.
    Asked(RemoteQuestion),
}

/// A list with its tables open.
#[derive(Clone, Debug)]
pub struct MatchList<P> {
    /// The parameter that messages name.
    label: String,
    /// How its tables are opened.
    options: OpenOptions,
    items: Vec<Item<P>>,
}

#[derive(Clone, Debug)]
struct Item<P> {
    negated: bool,
    kind: Kind<P>,
}

#[derive(Clone, Debug)]
enum Kind<P> {
    Pattern(P),
    /// Only whether the key is there counts.
    Table(TableId),
    File {
        path: PathBuf,
        content: Result<Vec<Item<P>>, Unreadable>,
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
    options: OpenOptions,
    tables: &'a mut Tables,
    files: &'a dyn FileSource,
    messages: &'a mut Vec<Message>,
    /// The files around the current item, the outermost first.
    inside: Vec<PathBuf>,
}

impl<P: Pattern> MatchList<P> {
    /// Reads a list. `label` is the parameter that messages name; what is wrong with
    /// tables and files is added to `messages`.
    ///
    /// # Errors
    ///
    /// If the service cannot start with this list.
    pub fn open(
        label: &str,
        text: &str,
        options: OpenOptions,
        tables: &mut Tables,
        files: &dyn FileSource,
        messages: &mut Vec<Message>,
    ) -> Result<MatchList<P>, ListError> {
        let mut reader = Reader { label, options, tables, files, messages, inside: Vec::new() };
        let items = reader.items(text, false)?;
        Ok(MatchList { label: label.to_owned(), options, items })
    }

    /// Whether the subject is on the list. Trouble is added to `warnings`.
    pub fn ask(
        &self,
        tables: TableView<'_>,
        subject: &P::Subject<'_>,
        warnings: &mut Vec<Message>,
    ) -> Membership {
        self.first_match(&self.items, tables, subject, warnings).unwrap_or(Membership::Stranger)
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
            options: self.options,
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
        items: &[Item<P>],
        tables: TableView<'_>,
        subject: &P::Subject<'_>,
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
                Kind::Table(table) => match tables.lookup(*table, P::key(subject), warnings) {
                    Answer::Found(_) => true,
                    Answer::NotFound => false,
                    Answer::Asked(question) => return Some(Membership::Asked(question)),
                    Answer::Failed => {
                        let name = tables.spec(*table);
                        warnings.push(self.table_problem(name));
                        return Some(Membership::Unknown);
                    }
                },
                Kind::File { content: Ok(items), .. } => {
                    match self.first_match(items, tables, subject, warnings) {
                        // The items have this item's negation in them already.
                        Some(decided) => return Some(decided),
                        None => false,
                    }
                }
                Kind::File { content: Err(file), .. } => {
                    // Asked only for its warning: it never answers.
                    let _ = file.surrogate.lookup(P::key(subject), warnings);
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

fn collect_files<P>(items: &[Item<P>], paths: &mut Vec<PathBuf>) {
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
    fn items<P: Pattern>(&mut self, text: &str, negated: bool) -> Result<Vec<Item<P>>, ListError> {
        let vintage = self.tables.vintage();
        let words = split_before_comment(self.label, text, vintage, self.messages);
        words.into_iter().map(|word| self.item(word, negated)).collect()
    }

    fn item<P: Pattern>(&mut self, word: &str, mut negated: bool) -> Result<Item<P>, ListError> {
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
            Kind::Table(self.tables.open(rest, self.options, self.files, self.messages)?)
        } else {
            Kind::Pattern(P::new(rest))
        };
        Ok(Item { negated, kind })
    }

    fn file<P: Pattern>(
        &mut self,
        name: &str,
        negated: bool,
    ) -> Result<Result<Vec<Item<P>>, Unreadable>, ListError> {
        let path = PathBuf::from(name);
        let reason = if self.inside.contains(&path) {
            "it names itself".to_owned()
        } else if self.inside.len() >= DEEPEST {
            "files named too deeply".to_owned()
        } else {
            match self.files.read(&path) {
                Ok(text) => {
                    self.inside.push(path);
                    let items = self.file_items(name, &text, negated);
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

    /// Each line is a list of its own. Up to Postfix 3.7 the lines are physical ones, and a
    /// comment line begins with `#` at once.
    fn file_items<P: Pattern>(
        &mut self,
        name: &str,
        text: &[u8],
        negated: bool,
    ) -> Result<Vec<Item<P>>, ListError> {
        let mut items = Vec::new();
        if self.tables.vintage() >= Vintage::Since38 {
            let lines = logical_lines(text);
            self.messages.extend(lines.warnings(name));
            for line in &lines.lines {
                items.extend(self.items(&line.to_text(), negated)?);
            }
            return Ok(items);
        }
        // Postfix's warning about a comment quotes the line end too, as a question mark.
        for line in String::from_utf8_lossy(text).split_inclusive('\n') {
            if !line.starts_with('#') {
                items.extend(self.items(line, negated)?);
            }
        }
        Ok(items)
    }

    fn replace<P: Pattern>(&mut self, items: &mut [Item<P>], path: &Path, text: &[u8]) {
        for item in items {
            let Kind::File { path: own, content } = &mut item.kind else { continue };
            self.inside.push(own.clone());
            if own == path {
                match self.file_items(&path.to_string_lossy(), text, item.negated) {
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
