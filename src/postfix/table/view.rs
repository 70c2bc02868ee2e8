//! The tables as one asker sees them.

use std::borrow::Cow;

use super::registry::Content;
use super::remote::{Known, RemoteAnswer, RemoteQuestion};
use super::{Answer, Table, TableId, Tables};
use crate::postfix::lists::Vintage;
use crate::postfix::message::Message;

/// The tables, with what tables elsewhere have said so far to whoever asks.
#[derive(Clone, Copy, Debug)]
pub struct TableView<'a> {
    tables: &'a Tables,
    known: &'a Known,
}

impl<'a> TableView<'a> {
    pub(super) fn new(tables: &'a Tables, known: &'a Known) -> TableView<'a> {
        TableView { tables, known }
    }

    /// As which Postfix has them.
    pub fn vintage(self) -> Vintage {
        self.tables.vintage()
    }

    /// The table as written, `type:name`.
    pub fn spec(self, id: TableId) -> &'a str {
        self.tables.spec(id)
    }

    /// Looks a key up in an open table.
    pub fn lookup(
        self,
        id: TableId,
        key: impl AsRef<[u8]>,
        warnings: &mut Vec<Message>,
    ) -> Answer<'a> {
        let key = key.as_ref();
        match self.tables.content(id) {
            Some(Content::Table(table)) => table.lookup(key, warnings),
            Some(Content::Unusable(surrogate)) => surrogate.lookup(key, warnings),
            Some(Content::Remote(_)) => self.lookup_remote(id, key),
            Some(Content::Pipe(stages)) => self.lookup_pipe(stages, key, warnings),
            Some(Content::Union(parts)) => self.lookup_union(parts, key, warnings),
            None => Answer::Failed,
        }
    }

    fn lookup_remote(self, id: TableId, key: &[u8]) -> Answer<'a> {
        let asks = |question: &RemoteQuestion| question.table == id && *question.key == *key;
        match self.known.iter().find(|(question, _)| asks(question)) {
            Some((_, RemoteAnswer::Found(value))) => Answer::Found(Cow::Borrowed(value)),
            Some((_, RemoteAnswer::NotFound)) => Answer::NotFound,
            Some((_, RemoteAnswer::Failed)) => Answer::Failed,
            None => Answer::Asked(RemoteQuestion { table: id, key: key.into() }),
        }
    }

    fn lookup_pipe(
        self,
        stages: &[TableId],
        key: &[u8],
        warnings: &mut Vec<Message>,
    ) -> Answer<'a> {
        let mut answer: Option<Cow<'_, str>> = None;
        for stage in stages {
            let key = answer.as_deref().map_or(key, str::as_bytes);
            match self.lookup(*stage, key, warnings) {
                Answer::Found(next) => answer = Some(next),
                other => return other,
            }
        }
        answer.map_or(Answer::NotFound, Answer::Found)
    }

    fn lookup_union(
        self,
        parts: &[TableId],
        key: &[u8],
        warnings: &mut Vec<Message>,
    ) -> Answer<'a> {
        let mut values = Vec::new();
        for part in parts {
            match self.lookup(*part, key, warnings) {
                Answer::Found(value) if value.is_empty() => {}
                Answer::Found(value) => values.push(value),
                Answer::NotFound => {}
                Answer::Failed => return Answer::Failed,
                Answer::Asked(question) => return Answer::Asked(question),
            }
        }
        if values.is_empty() {
            Answer::NotFound
        } else {
            Answer::Found(Cow::Owned(values.join(",")))
        }
    }
}
