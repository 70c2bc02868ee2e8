//! All tables of the process: each `type:name` is opened once, and kept up to date.

use std::path::{Path, PathBuf};

use super::constant::{EmptyTable, FailTable, RandomTable, StaticTable, Surrogate};
#[cfg(feature = "pcre")]
use super::pcre::PcreTable;
use super::remote::{Known, RemoteTable, Server};
use super::source::{FileSource, error_text};
use super::sqlite::SqliteTable;
use super::sqlite_cf::SqliteConfig;
use super::view::TableView;
use super::{
    CdbTable, CidrTable, EnvironTable, Index, IndexKind, IndexedTable, InlineTable, OpenOptions,
    RegexpTable, Table, TextHash,
};
use crate::postfix::lists::{Vintage, inside_braces, split_list};
use crate::postfix::message::{Level, Message};

/// How deep pipemap and unionmap tables may be nested.
const DEEPEST: usize = 16;

/// A table in [`Tables`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TableId(usize);

/// Why the service cannot start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TableError {
    /// A table without a type or without a name.
    #[error("open dictionary: expecting \"type:name\" form instead of \"{0}\"")]
    NotTypeAndName(String),
    /// A table cannot be used, and main.cf has `daemon_table_open_error_is_fatal = yes`.
    #[error("{0}")]
    Unusable(String),
    /// A table's own configuration is wrong.
    #[error("{0}")]
    Misconfigured(String),
}

/// Owns the tables. A table that cannot be used is there nevertheless and fails each
/// lookup; it comes alive when its file does.
#[derive(Debug)]
pub struct Tables {
    entries: Vec<Entry>,
    /// main.cf: `daemon_table_open_error_is_fatal`.
    errors_are_fatal: bool,
    vintage: Vintage,
}

#[derive(Debug)]
struct Entry {
    /// `type:name` as written.
    spec: String,
    options: OpenOptions,
    /// The file behind it, if all of that is in memory.
    file: Option<(PathBuf, Format)>,
    /// The database behind it.
    index: Option<Index>,
    content: Content,
}

impl Entry {
    /// Takes new content, if it is any.
    fn take_in(&mut self, content: Result<Content, String>, messages: &mut Vec<Message>) {
        match content {
            Ok(content) => self.content = content,
            // Only warnings, as thirteen errors would end the process.
            Err(reason) if matches!(self.content, Content::Unusable(_)) => {
                self.content = Content::Unusable(Surrogate::new(&self.spec, &reason));
                messages.push(Message::warning(reason));
            }
            Err(reason) => {
                let spec = &self.spec;
                messages.push(Message::warning(format!("{reason}; {spec} stays as it was")));
            }
        }
    }
}

#[derive(Debug)]
pub(super) enum Content {
    Table(Box<dyn Table>),
    Unusable(Surrogate),
    /// In another program.
    Remote(RemoteTable),
    /// pipemap: each table's value is the key for the next.
    Pipe(Vec<TableId>),
    /// unionmap: all values, joined with commas.
    Union(Vec<TableId>),
}

/// The format of a file.
#[derive(Clone, Copy, Debug)]
enum Format {
    Cidr,
    Regexp,
    #[cfg(feature = "pcre")]
    Pcre,
    TextHash,
    Cdb,
}

impl Format {
    /// The file of a table and its format, if a file is all that the table is.
    fn of(kind: &str, name: &str) -> Option<(PathBuf, Format)> {
        let format = match kind {
            "cidr" if !name.starts_with('{') => Format::Cidr,
            "regexp" if !name.starts_with('{') => Format::Regexp,
            #[cfg(feature = "pcre")]
            "pcre" if !name.starts_with('{') => Format::Pcre,
            "texthash" => Format::TextHash,
            "cdb" => return Some((PathBuf::from(format!("{name}.cdb")), Format::Cdb)),
            _ => return None,
        };
        Some((PathBuf::from(name), format))
    }

    /// What Postfix says when the file cannot be opened.
    fn open_error(self, path: &str, reason: &str) -> String {
        match self {
            Format::Cidr | Format::Regexp => format!("open {path}: {reason}"),
            #[cfg(feature = "pcre")]
            Format::Pcre => format!("open {path}: {reason}"),
            Format::TextHash | Format::Cdb => format!("open database {path}: {reason}"),
        }
    }

    /// The error is the reason why the table cannot be used.
    fn parse(
        self,
        path: &str,
        text: &[u8],
        options: OpenOptions,
        messages: &mut Vec<Message>,
    ) -> Result<Content, String> {
        match self {
            Format::Cidr => Ok(table(CidrTable::parse(path, text, messages))),
            Format::Regexp => Ok(table(RegexpTable::parse(path, text, options, messages))),
            #[cfg(feature = "pcre")]
            Format::Pcre => Ok(table(PcreTable::parse(path, text, options, messages))),
            Format::TextHash => TextHash::parse(path, text, options, messages)
                .map(table)
                .map_err(|error| error.to_string()),
            Format::Cdb => {
                CdbTable::parse(path, text, options).map(table).map_err(|error| error.to_string())
            }
        }
    }
}

fn table(table: impl Table + 'static) -> Content {
    Content::Table(Box::new(table))
}

/// A table that is being opened.
struct Request<'a> {
    options: OpenOptions,
    files: &'a dyn FileSource,
    depth: usize,
}

/// Why a table is not what was asked for.
enum Refusal {
    /// A surrogate takes its place.
    Unusable(String),
    /// The service cannot start.
    Fatal(TableError),
}

impl<T: std::error::Error> From<T> for Refusal {
    fn from(error: T) -> Refusal {
        Refusal::Unusable(error.to_string())
    }
}

impl Tables {
    /// No tables yet. `errors_are_fatal`: main.cf `daemon_table_open_error_is_fatal`.
    pub fn new(errors_are_fatal: bool) -> Tables {
        Tables { entries: Vec::new(), errors_are_fatal, vintage: Vintage::default() }
    }

    /// The same, as this Postfix has them.
    pub fn of(self, vintage: Vintage) -> Tables {
        Tables { vintage, ..self }
    }

    /// As which Postfix has them.
    pub fn vintage(&self) -> Vintage {
        self.vintage
    }

    /// Opens a table, or finds it open already. What is wrong with it is added to
    /// `messages`.
    ///
    /// # Errors
    ///
    /// If the service cannot start with this; not if only the table cannot be used.
    pub fn open(
        &mut self,
        spec: &str,
        options: OpenOptions,
        files: &dyn FileSource,
        messages: &mut Vec<Message>,
    ) -> Result<TableId, TableError> {
        self.open_nested(spec, &Request { options, files, depth: 0 }, messages)
    }

    /// The tables as somebody sees them to whom tables elsewhere have said this.
    pub fn with<'a>(&'a self, known: &'a Known) -> TableView<'a> {
        TableView::new(self, known)
    }

    /// The tables as somebody sees them who has asked nobody yet.
    pub fn alone(&self) -> TableView<'_> {
        self.with(&[])
    }

    pub(super) fn content(&self, id: TableId) -> Option<&Content> {
        self.entries.get(id.0).map(|entry| &entry.content)
    }

    /// How to ask a table that is elsewhere.
    pub fn remote(&self, id: TableId) -> Option<&RemoteTable> {
        match self.content(id) {
            Some(Content::Remote(table)) => Some(table),
            _ => None,
        }
    }

    /// The servers of the tables that are elsewhere.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.entries.iter().filter_map(|entry| match &entry.content {
            Content::Remote(table) => Some(&table.server),
            _ => None,
        })
    }

    /// main.cf: `daemon_table_open_error_is_fatal`.
    pub fn errors_are_fatal(&self) -> bool {
        self.errors_are_fatal
    }

    /// The table as written, `type:name`.
    pub fn spec(&self, id: TableId) -> &str {
        self.entries.get(id.0).map_or("", |entry| &entry.spec)
    }

    /// The files that the tables were, or should have been, read from, each once.
    pub fn watched(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for (path, _) in self.entries.iter().filter_map(|entry| entry.file.as_ref()) {
            if !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        paths
    }

    /// Opens what must not be open across a fork and cannot be opened in a jail: for after the
    /// one and before the other. The messages say what is wrong with it.
    pub fn connect(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        for entry in &mut self.entries {
            if let Content::Table(table) = &mut entry.content {
                table.connect(&mut messages);
            }
        }
        messages
    }

    /// How many tables there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Forgets the tables that were opened when there were so many, and since: nobody may
    /// have kept their ids.
    pub fn forget_beyond(&mut self, count: usize) {
        self.entries.truncate(count);
    }

    /// The databases that tables are, or should have been, snapshots of, each once.
    pub fn indexes(&self) -> Vec<Index> {
        let mut indexes = Vec::new();
        for index in self.entries.iter().filter_map(|entry| entry.index.as_ref()) {
            if !indexes.contains(index) {
                indexes.push(index.clone());
            }
        }
        indexes
    }

    /// The tables that hold a file open, as written, and the files. They are read while they
    /// are in use, so that changes inside them need no care; but if another file takes such a
    /// name, only a new process sees that.
    pub fn held_files(&self) -> Vec<(String, PathBuf)> {
        let held = self.entries.iter().filter_map(|entry| match &entry.content {
            Content::Table(table) => Some((entry.spec.clone(), table.held_file()?.to_owned())),
            Content::Unusable(_) | Content::Remote(_) | Content::Pipe(_) | Content::Union(_) => {
                None
            }
        });
        held.collect()
    }

    /// Replaces what came from this file. If the new text makes no table, the old content
    /// stays; if there was none, lookups fail with the new reason.
    pub fn reload(&mut self, path: &Path, text: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        // One file may stand behind several tables, which then say the same about it.
        let mut said = Vec::new();
        for entry in &mut self.entries {
            let Some((file, format)) = entry.file.as_ref().filter(|(file, _)| file == path) else {
                continue;
            };
            let mut parsing = Vec::new();
            let parsed = format.parse(&file.to_string_lossy(), text, entry.options, &mut parsing);
            entry.take_in(parsed, &mut parsing);
            if parsing != said {
                messages.extend_from_slice(&parsing);
                said = parsing;
            }
        }
        messages
    }

    /// Replaces the snapshots of this database.
    pub fn reload_index(&mut self, index: &Index, snapshot: &[u8]) {
        for entry in self.entries.iter_mut().filter(|entry| entry.index.as_ref() == Some(index)) {
            let content = IndexedTable::parse(index.clone(), snapshot.to_vec(), entry.options);
            entry.content = table(content);
        }
    }

    fn open_nested(
        &mut self,
        spec: &str,
        request: &Request<'_>,
        messages: &mut Vec<Message>,
    ) -> Result<TableId, TableError> {
        let open = self.entries.iter().position(|e| e.spec == spec && e.options == request.options);
        if let Some(open) = open {
            return Ok(TableId(open));
        }
        let (kind, name) = match spec.split_once(':') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => (kind, name),
            _ => return Err(TableError::NotTypeAndName(spec.into())),
        };
        let file = Format::of(kind, name);
        let index = IndexKind::named(kind).map(|kind| Index { kind, name: name.into() });
        let content = match (&file, &index) {
            (Some((path, format)), _) => read(path, *format, request, messages),
            (None, Some(index)) => snapshot(index, request, messages),
            (None, None) => self.make(kind, name, request, messages),
        };
        let content = match content {
            Ok(content) => content,
            Err(Refusal::Fatal(error)) => return Err(error),
            Err(Refusal::Unusable(reason)) if self.errors_are_fatal => {
                return Err(TableError::Unusable(reason));
            }
            Err(Refusal::Unusable(reason)) => {
                messages.push(Message::error(&reason));
                Content::Unusable(Surrogate::new(spec, &reason))
            }
        };
        let options = request.options;
        self.entries.push(Entry { spec: spec.into(), options, file, index, content });
        Ok(TableId(self.entries.len() - 1))
    }

    /// Makes a table from nothing but its name.
    fn make(
        &mut self,
        kind: &str,
        name: &str,
        request: &Request<'_>,
        messages: &mut Vec<Message>,
    ) -> Result<Content, Refusal> {
        Ok(match kind {
            "cidr" => table(
                CidrTable::parse_inline(name, messages)
                    .map_err(|error| Refusal::Unusable(format!("cidr map: {error}")))?,
            ),
            "regexp" => table(
                RegexpTable::parse_inline(name, request.options, messages)
                    .map_err(|error| Refusal::Unusable(format!("regexp map: {error}")))?,
            ),
            #[cfg(feature = "pcre")]
            "pcre" => table(
                PcreTable::parse_inline(name, request.options, messages)
                    .map_err(|error| Refusal::Unusable(format!("pcre map: {error}")))?,
            ),
            "sqlite" => self.make_sqlite(name, request, messages)?,
            "inline" => table(InlineTable::parse(name, request.options)?),
            "static" => table(StaticTable::parse(name)?),
            "environ" => table(EnvironTable::new(name, request.options)),
            "internal" => table(EmptyTable),
            "fail" => table(FailTable),
            "proxy" => Content::Remote(RemoteTable::proxy(name, request.options)?),
            "socketmap" => Content::Remote(RemoteTable::socketmap(name, &|host, port| {
                request.files.resolve(host, port)
            })?),
            "tcp" => Content::Remote(RemoteTable::tcp(name, &|host, port| {
                request.files.resolve(host, port)
            })?),
            "randmap" => table(RandomTable::parse(name)?),
            "pipemap" => Content::Pipe(self.open_parts(kind, name, request, messages)?),
            "unionmap" => Content::Union(self.open_parts(kind, name, request, messages)?),
            _ if request.files.is_known_to_postfix(kind) => {
                Content::Remote(RemoteTable::implied(&format!("{kind}:{name}"), request.options))
            }
            _ => return Err(Refusal::Unusable(format!("unsupported dictionary type: {kind}"))),
        })
    }

    /// Makes a table in an SQLite database.
    fn make_sqlite(
        &self,
        name: &str,
        request: &Request<'_>,
        messages: &mut Vec<Message>,
    ) -> Result<Content, Refusal> {
        let text = if name.starts_with(['/', '.']) {
            request.files.read(Path::new(name)).map_err(|error| {
                Refusal::Unusable(format!("open {name}: {}", error_text(&error)))
            })?
        } else {
            // Parameters of main.cf, as tables had them before they had files.
            let parameters = request.files.parameters(&format!("{name}_"));
            let lines = parameters.into_iter().map(|(name, value)| format!("{name} = {value}\n"));
            lines.collect::<String>().into_bytes()
        };
        let config = SqliteConfig::parse(name, &text, messages)
            .map_err(|error| Refusal::Fatal(TableError::Misconfigured(error.to_string())))?;
        let mut made = SqliteTable::new(config, request.options);
        match made.probe() {
            Err(error) if self.errors_are_fatal => return Err(error.into()),
            Err(error) => messages.push(Message::error(error.to_string())),
            Ok(()) => {}
        }
        Ok(table(made))
    }

    /// Opens the tables in `{type:name, ...}`.
    fn open_parts(
        &mut self,
        kind: &str,
        name: &str,
        request: &Request<'_>,
        messages: &mut Vec<Message>,
    ) -> Result<Vec<TableId>, Refusal> {
        if request.depth >= DEEPEST {
            return Err(Refusal::Unusable(format!("{kind}: tables nested too deeply")));
        }
        let inner = Request { depth: request.depth + 1, ..*request };
        let parts: Vec<&str> =
            inside_braces(name).map(|inside| split_list(inside).collect()).unwrap_or_default();
        if parts.is_empty() || !parts.iter().all(|part| part.contains(':')) {
            return Err(Refusal::Unusable(format!(
                "bad syntax: \"{kind}:{name}\"; need \"{kind}:{{type:name...}}\""
            )));
        }
        parts
            .into_iter()
            .map(|part| self.open_nested(part, &inner, messages).map_err(Refusal::Fatal))
            .collect()
    }
}

/// Makes a table from a file.
fn read(
    path: &Path,
    format: Format,
    request: &Request<'_>,
    messages: &mut Vec<Message>,
) -> Result<Content, Refusal> {
    let name = path.to_string_lossy();
    let text = request
        .files
        .read(path)
        .map_err(|error| Refusal::Unusable(format.open_error(&name, &error_text(&error))))?;
    format.parse(&name, &text, request.options, messages).map_err(Refusal::Unusable)
}

/// Makes a table from a database.
fn snapshot(
    index: &Index,
    request: &Request<'_>,
    messages: &mut Vec<Message>,
) -> Result<Content, Refusal> {
    let text = request.files.snapshot(index, messages).map_err(Refusal::Unusable)?;
    Ok(table(IndexedTable::parse(index.clone(), text, request.options)))
}

impl TableError {
    /// The error as it is logged before the service ends.
    pub fn message(&self) -> Message {
        Message { level: Level::Fatal, text: self.to_string() }
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
