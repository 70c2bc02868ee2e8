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

/// What a list has besides tables and files: patterns that follow each other.
pub trait Patterns: Sized {
    /// What is looked for.
    type Subject<'a>;

    /// Understands them, as far as that is possible beforehand.
    fn new(patterns: Vec<Pattern>) -> Self;

    /// The key under which tables are asked.
    fn key<'a>(subject: &'a Self::Subject<'_>) -> &'a [u8];

    /// What the first pattern says that is about the subject, if there is one.
    ///
    /// # Errors
    ///
    /// What is wrong with a pattern that comes before.
    fn decide(&self, subject: &Self::Subject<'_>) -> Result<Option<Decision>, &str>;
}

/// A pattern as written, without its exclamation marks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    /// The pattern itself.
    pub text: String,
    /// What it says of those that it is about.
    pub decision: Decision,
}

/// What an item decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// For.
    Member,
    /// Against.
    Stranger,
}

impl Decision {
    fn of(negated: bool) -> Decision {
        if negated { Decision::Stranger } else { Decision::Member }
    }
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
enum Item<P> {
    /// As many as follow each other.
    Patterns(P),
    /// Only whether the key is there counts.
    Table(TableId, Decision),
    File {
        path: PathBuf,
        /// The items have this in them already.
        negated: bool,
        content: Result<Vec<Item<P>>, Unreadable>,
    },
}

impl<P: Patterns> Item<P> {
    /// Puts patterns together that follow each other.
    fn join(read: Vec<Read<P>>) -> Vec<Item<P>> {
        let (mut items, mut patterns) = (Vec::new(), Vec::new());
        for item in read {
            match item {
                Read::Pattern(pattern) => patterns.push(pattern),
                Read::Item(item) => {
                    if !patterns.is_empty() {
                        items.push(Item::Patterns(P::new(std::mem::take(&mut patterns))));
                    }
                    items.push(item);
                }
            }
        }
        if !patterns.is_empty() {
            items.push(Item::Patterns(P::new(patterns)));
        }
        items
    }
}

/// What has been read of a list.
enum Read<P> {
    Pattern(Pattern),
    Item(Item<P>),
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

impl<P: Patterns> MatchList<P> {
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
        let items = Item::join(reader.items(text, false)?);
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
            let decision = match item {
                Item::Patterns(patterns) => match patterns.decide(subject) {
                    Ok(decision) => decision,
                    Err(problem) => {
                        warnings.push(Message::warning(format!("{}: {problem}", self.label)));
                        return Some(Membership::Unknown);
                    }
                },
                Item::Table(table, decision) => {
                    match tables.lookup(*table, P::key(subject), warnings) {
                        Answer::Found(_) => Some(*decision),
                        Answer::NotFound => None,
                        Answer::Asked(question) => return Some(Membership::Asked(question)),
                        Answer::Failed => {
                            let name = tables.spec(*table);
                            warnings.push(self.table_problem(name));
                            return Some(Membership::Unknown);
                        }
                    }
                }
                Item::File { content: Ok(items), .. } => {
                    match self.first_match(items, tables, subject, warnings) {
                        Some(decided) => return Some(decided),
                        None => None,
                    }
                }
                Item::File { content: Err(file), .. } => {
                    // Asked only for its warning: it never answers.
                    let _ = file.surrogate.lookup(P::key(subject), warnings);
                    warnings.push(self.table_problem(&file.name));
                    return Some(Membership::Unknown);
                }
            };
            match decision {
                Some(Decision::Member) => return Some(Membership::Member),
                Some(Decision::Stranger) => return Some(Membership::Stranger),
                None => {}
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
        if let Item::File { path, content, .. } = item {
            if !paths.contains(path) {
                paths.push(path.clone());
            }
            collect_files(content.as_deref().unwrap_or_default(), paths);
        }
    }
}

impl Reader<'_> {
    fn items<P: Patterns>(&mut self, text: &str, negated: bool) -> Result<Vec<Read<P>>, ListError> {
        let vintage = self.tables.vintage();
        let words = split_before_comment(self.label, text, vintage, self.messages);
        words.into_iter().map(|word| self.item(word, negated)).collect()
    }

    fn item<P: Patterns>(&mut self, word: &str, mut negated: bool) -> Result<Read<P>, ListError> {
        let mut rest = word;
        while let Some(after) = rest.strip_prefix('!') {
            negated = !negated;
            rest = after;
        }
        if rest.is_empty() {
            return Err(ListError::NoPattern(self.label.to_owned()));
        }
        let decision = Decision::of(negated);
        Ok(if rest.starts_with('/') {
            let content = self.file(rest, negated)?;
            Read::Item(Item::File { path: rest.into(), negated, content })
        } else if rest.contains(':') && !rest.starts_with('[') {
            let table = self.tables.open(rest, self.options, self.files, self.messages)?;
            Read::Item(Item::Table(table, decision))
        } else {
            Read::Pattern(Pattern { text: rest.to_owned(), decision })
        })
    }

    fn file<P: Patterns>(
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
    fn file_items<P: Patterns>(
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
            return Ok(Item::join(items));
        }
        // Postfix's warning about a comment quotes the line end too, as a question mark.
        for line in String::from_utf8_lossy(text).split_inclusive('\n') {
            if !line.starts_with('#') {
                items.extend(self.items(line, negated)?);
            }
        }
        Ok(Item::join(items))
    }

    fn replace<P: Patterns>(&mut self, items: &mut [Item<P>], path: &Path, text: &[u8]) {
        for item in items {
            let Item::File { path: own, negated, content } = item else { continue };
            self.inside.push(own.clone());
            if own == path {
                match self.file_items(&path.to_string_lossy(), text, *negated) {
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
