//! main.cf: `postscreen_access_list`, and the little lists that its tables give.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::ControlFlow;

use super::lists::{Vintage, split_list};
use super::match_list::Membership;
use super::message::Message;
use super::mynetworks::Mynetworks;
use super::table::{
    AddressKey, Answer, FileSource, OpenOptions, RemoteQuestion, TableError, TableId, TableView,
    Tables,
};
use crate::screen::event::Access;

/// An access list with its tables open.
#[derive(Clone, Debug)]
pub struct AccessList {
    /// The parameter's name, for warnings.
    label: String,
    items: Vec<Item>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Item {
    Word(Word),
    Table(TableId),
}

/// An item that is no table.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Word {
    Permit,
    Reject,
    Dunno,
    PermitMynetworks,
    /// Anything else, which only fails when it is reached.
    Unknown(String),
}

impl Word {
    fn parse(text: &str) -> Word {
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        if is("permit") {
            Word::Permit
        } else if is("reject") {
            Word::Reject
        } else if is("dunno") {
            Word::Dunno
        } else if is("permit_mynetworks") {
            Word::PermitMynetworks
        } else {
            Word::Unknown(text.to_owned())
        }
    }
}

/// A list that is being worked through: the parameter, or a table's value.
struct Origin<'a> {
    /// The parameter's name, or the table as written.
    name: &'a str,
    tables: TableView<'a>,
    mynetworks: &'a Mynetworks,
    client: IpAddr,
}

/// Where a list ends early: with a decision, or with a question that goes before one.
type Flow = ControlFlow<Result<Access, RemoteQuestion>>;

impl AccessList {
    /// Reads a list and opens its tables. `label` is the parameter that warnings name.
    ///
    /// # Errors
    ///
    /// If the service cannot start with one of the tables.
    pub fn parse(
        label: &str,
        text: &str,
        tables: &mut Tables,
        files: &dyn FileSource,
        messages: &mut Vec<Message>,
    ) -> Result<AccessList, TableError> {
        let items = split_list(text).map(|item| {
            Ok(if item.contains(':') {
                Item::Table(tables.open(item, OpenOptions::FOLDED, files, messages)?)
            } else {
                Item::Word(Word::parse(item))
            })
        });
        let items = items.collect::<Result<_, TableError>>()?;
        Ok(AccessList { label: label.to_owned(), items })
    }

    /// Judges a client. The warnings and notices are added to `messages`.
    ///
    /// # Errors
    ///
    /// A question that has to be answered first.
    pub fn evaluate(
        &self,
        tables: TableView<'_>,
        mynetworks: &Mynetworks,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Result<Access, RemoteQuestion> {
        let origin = Origin { name: &self.label, tables, mynetworks, client };
        let key = AddressKey::new(client);
        for item in &self.items {
            let flow = match item {
                Item::Word(Word::Dunno) => decided(Access::Undecided),
                Item::Word(word) => origin.apply(word, messages),
                Item::Table(table) => origin.ask(*table, &key, messages),
            };
            if let Flow::Break(opinion) = flow {
                return opinion;
            }
        }
        Ok(Access::Undecided)
    }
}

fn decided(access: Access) -> Flow {
    Flow::Break(Ok(access))
}

impl Origin<'_> {
    fn apply(&self, word: &Word, messages: &mut Vec<Message>) -> Flow {
        match word {
            Word::Permit => decided(Access::Permit),
            Word::Reject => decided(Access::Reject),
            Word::Dunno => Flow::Continue(()),
            Word::PermitMynetworks => {
                match self.mynetworks.evaluate(self.tables, self.client, messages) {
                    Membership::Member => decided(Access::Permit),
                    Membership::Stranger => Flow::Continue(()),
                    Membership::Asked(question) => Flow::Break(Err(question)),
                    Membership::Unknown => {
                        self.give_up("permit_mynetworks: mynetworks lookup error", messages)
                    }
                }
            }
            Word::Unknown(text) => self.give_up(&format!("unknown command: {text}"), messages),
        }
    }

    /// Looks the client up; the value is a list of its own, without tables.
    fn ask(&self, table: TableId, key: &AddressKey, messages: &mut Vec<Message>) -> Flow {
        let name = self.tables.spec(table);
        let value = match self.tables.lookup(table, key, messages) {
            Answer::Found(value) => value,
            Answer::NotFound => return Flow::Continue(()),
            Answer::Asked(question) => return Flow::Break(Err(question)),
            Answer::Failed => {
                return self.give_up(&format!("{name}: table lookup error"), messages);
            }
        };
        let opened_as = opened_as(name, self.tables.vintage());
        let inner = Origin { name: &opened_as, ..*self };
        for item in split_list(&value) {
            if item.contains(':') {
                messages.push(Message::warning(format!(
                    "table {opened_as}: lookup result \"{item}\" is not allowed -- ignoring remainder \
                     of access list"
                )));
                return Flow::Continue(());
            }
            match Word::parse(item) {
                Word::Dunno => return Flow::Continue(()),
                word => inner.apply(&word, messages)?,
            }
        }
        Flow::Continue(())
    }

    /// Trouble ends the whole evaluation, from wherever it comes.
    fn give_up(&self, problem: &str, messages: &mut Vec<Message>) -> Flow {
        messages.push(Message::warning(format!(
            "{}: {problem} -- ignoring the remainder of this access list",
            self.name
        )));
        decided(Access::Undecided)
    }
}

/// What Postfix calls a table in warnings about its values: since 3.11 with the flags with which
/// access lists open theirs.
fn opened_as(name: &str, vintage: Vintage) -> Cow<'_, str> {
    if vintage >= Vintage::Since311 {
        Cow::Owned(format!("{name}(0,lock|fold_fix|utf8_request)"))
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
#[path = "access_list_tests.rs"]
mod tests;
