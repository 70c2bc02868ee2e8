//! The lists and tables that judge addresses and commands, as one thing: what the daemon
//! opens before it jails itself and asks afterwards.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::access_list::AccessList;
use super::address_list::AddressList;
use super::command_list::{CommandList, Letters};
use super::lists::Vintage;
use super::map_list::MapList;
use super::match_list::Membership;
use super::message::Message;
use super::mynetworks::Mynetworks;
use super::proxy_lists::{ProxyListSettings, ProxyLists};
use super::table::{
    Answer, FileSource, Index, JailedFiles, Known, OpenOptions, RemoteQuestion, RemoteTable,
    TableId, TableView, Tables,
};
use crate::screen::address::address_text;
use crate::screen::event::{Access, Filtered, Spoken, Trust};

/// The names that messages use.
const ACCESS_LIST: &str = "postscreen_access_list";
const ALLOWLIST_INTERFACES: &str = "postscreen_allowlist_interfaces";
const DISCARD_MAPS: &str = "postscreen_discard_ehlo_keyword_address_maps";
/// Postfix's messages name smtpd(8)'s parameter.
const FOOTER_MAPS: &str = "smtpd_reject_footer_maps";
const FORBIDDEN_COMMANDS: &str = "postscreen_forbidden_commands";

/// The parameters, as text after macro expansion.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ScreenTableSettings {
    /// main.cf: `postscreen_access_list`.
    pub access_list: String,
    /// main.cf: `mynetworks`, or its computed value.
    pub mynetworks: String,
    /// The computed value for `mynetworks_style = host`, if main.cf has neither
    /// `mynetworks` nor `mynetworks_style` and `compatibility_level` is below 2.
    pub mynetworks_host_style: Option<String>,
    /// main.cf: `postscreen_allowlist_interfaces`.
    pub allowlist_interfaces: String,
    /// main.cf: `postscreen_discard_ehlo_keyword_address_maps`.
    pub discard_ehlo_keyword_address_maps: String,
    /// main.cf: `postscreen_reject_footer_maps`.
    pub reject_footer_maps: String,
    /// main.cf: `postscreen_dnsbl_reply_map`, one table.
    pub dnsbl_reply_map: Option<String>,
    /// main.cf: `postscreen_command_filter`, one table.
    pub command_filter: Option<String>,
    /// main.cf: `postscreen_forbidden_commands`.
    pub forbidden_commands: String,
    /// main.cf: `smtputf8_enable`: what clients say is UTF-8.
    pub smtputf8: bool,
    /// gatepost.cf's lists for the PROXY protocol; only of interest if main.cf has that on.
    pub proxy_lists: ProxyListSettings,
    /// main.cf: `daemon_table_open_error_is_fatal`.
    pub table_errors_are_fatal: bool,
    /// As which Postfix reads lists and names tables.
    pub vintage: Vintage,
}

/// Why a DNS blocklist gets no name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoName {
    /// This table, as written, cannot tell.
    #[error("{0} lookup error")]
    Failed(String),
    /// Not before this has been answered.
    #[error("not known yet")]
    Asked(RemoteQuestion),
}

/// What came of a file's new text.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Reloaded {
    /// It counts, as far as it can be used; what is wrong with it.
    Done(Vec<Message>),
    /// A list names files or tables that this process has not read, and cannot. What it says
    /// will count for a process that can.
    NeedsMore,
}

/// Open lists and tables. Asking them reads no file.
#[derive(Debug)]
pub struct ScreenTables {
    tables: Tables,
    access: AccessList,
    mynetworks: Mynetworks,
    allowlist_interfaces: AddressList,
    discards: MapList,
    footers: MapList,
    dnsbl_reply_map: Option<TableId>,
    command_filter: Option<TableId>,
    forbidden_commands: CommandList,
    proxy_lists: ProxyLists,
}

impl ScreenTables {
    /// Opens everything. The messages are in the order in which to log them.
    ///
    /// # Errors
    ///
    /// If the service cannot start with this: all messages, the last of which is the
    /// fatal one.
    pub fn open(
        settings: &ScreenTableSettings,
        files: &dyn FileSource,
    ) -> Result<(ScreenTables, Vec<Message>), Vec<Message>> {
        let mut messages = Vec::new();
        match ScreenTables::open_all(settings, files, &mut messages) {
            Ok(tables) => Ok((tables, messages)),
            Err(fatal) => {
                messages.push(Message::fatal(fatal));
                Err(messages)
            }
        }
    }

    fn open_all(
        settings: &ScreenTableSettings,
        files: &dyn FileSource,
        messages: &mut Vec<Message>,
    ) -> Result<ScreenTables, String> {
        let mut tables = Tables::new(settings.table_errors_are_fatal).of(settings.vintage);
        // Under the access list's name, as it is part of that.
        let mynetworks = Mynetworks::parse(
            ACCESS_LIST,
            &settings.mynetworks,
            settings.mynetworks_host_style.as_deref(),
            &mut tables,
            files,
            messages,
        )
        .map_err(|error| error.to_string())?;
        let access =
            AccessList::parse(ACCESS_LIST, &settings.access_list, &mut tables, files, messages)
                .map_err(|error| error.to_string())?;
        let allowlist_interfaces = AddressList::parse(
            ALLOWLIST_INTERFACES,
            &settings.allowlist_interfaces,
            &mut tables,
            files,
            messages,
        )
        .map_err(|error| error.to_string())?;
        let mut open = |label, list| {
            MapList::parse(label, list, &mut tables, files, messages)
                .map_err(|error| error.to_string())
        };
        let discards = open(DISCARD_MAPS, &settings.discard_ehlo_keyword_address_maps)?;
        let footers = open(FOOTER_MAPS, &settings.reject_footer_maps)?;
        let dnsbl_reply_map = match &settings.dnsbl_reply_map {
            Some(map) => Some(
                tables
                    .open(map, OpenOptions::TOLERANT, files, messages)
                    .map_err(|error| error.to_string())?,
            ),
            None => None,
        };
        let forbidden_commands = CommandList::parse(
            FORBIDDEN_COMMANDS,
            &settings.forbidden_commands,
            if settings.smtputf8 { Letters::Unicode } else { Letters::Ascii },
            &mut tables,
            files,
            messages,
        )
        .map_err(|error| error.to_string())?;
        let command_filter = settings
            .command_filter
            .as_ref()
            .map(|table| tables.open(table, OpenOptions::COMMANDS, files, messages))
            .transpose()
            .map_err(|error| error.to_string())?;
        let proxy_lists = ProxyLists::open(&settings.proxy_lists, &mut tables, files, messages);
        Ok(ScreenTables {
            tables,
            access,
            mynetworks,
            allowlist_interfaces,
            discards,
            footers,
            dnsbl_reply_map,
            command_filter,
            forbidden_commands,
            proxy_lists,
        })
    }

    /// What tables elsewhere have to be asked, and how.
    pub fn remote(&self, id: TableId) -> Option<&RemoteTable> {
        self.tables.remote(id)
    }

    /// The lists and tables as somebody sees them to whom tables elsewhere have said this.
    pub fn with<'a>(&'a self, known: &'a Known) -> ScreenView<'a> {
        ScreenView { of: self, tables: self.tables.with(known) }
    }

    /// The same, for somebody who has asked nobody yet.
    pub fn alone(&self) -> ScreenView<'_> {
        self.with(&[])
    }

    /// Whether the PROXY protocol is spoken at this address of ours. Trouble is added to
    /// `messages`.
    pub fn proxy_spoken(&self, server: IpAddr, messages: &mut Vec<Message>) -> Spoken {
        self.proxy_lists.spoken(self.tables.alone(), server, messages)
    }

    /// Whether a proxy may say whom it speaks for. Trouble is added to `messages`.
    pub fn proxy_trusted(&self, proxy: IpAddr, messages: &mut Vec<Message>) -> Trust {
        self.proxy_lists.trusted(self.tables.alone(), proxy, messages)
    }

    /// Whether everybody who connects to this address of ours can claim to be anybody, if
    /// main.cf has the PROXY protocol on.
    pub fn believes_everybody(&self, server: IpAddr) -> bool {
        self.proxy_lists.believes_everybody(self.tables.alone(), server)
    }

    /// The tables, for the parameters that look things up in one table or a few.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The same, to open more of them.
    pub fn tables_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }

    /// Opens databases: see [`Tables::connect`].
    pub fn connect(&mut self) -> Vec<Message> {
        self.tables.connect()
    }

    /// All files that something here was, or should have been, read from: each once, in
    /// an order that stays the same while nothing is reloaded.
    pub fn watched(&self) -> Vec<PathBuf> {
        let mut paths = self.tables.watched();
        for path in self
            .mynetworks
            .watched()
            .into_iter()
            .chain(self.allowlist_interfaces.watched())
            .chain(self.forbidden_commands.watched())
            .chain(self.proxy_lists.watched())
        {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    /// Takes the new text of a file, wherever it is used. Text that cannot be used leaves
    /// the old content as it was.
    pub fn reload(&mut self, path: &Path, text: &[u8]) -> Reloaded {
        let files = JailedFiles::default();
        let tables = &mut self.tables;
        let known = tables.count();
        let mut messages = tables.reload(path, text);
        // In copies: a list that lacks half of what it names must not judge anybody.
        let mut mynetworks = self.mynetworks.clone();
        let mut allowlist_interfaces = self.allowlist_interfaces.clone();
        let mut forbidden_commands = self.forbidden_commands.clone();
        let mut proxy_lists = self.proxy_lists.clone();
        messages.extend(mynetworks.reload(path, text, tables, &files));
        messages.extend(allowlist_interfaces.reload(path, text, tables, &files));
        messages.extend(forbidden_commands.reload(path, text, tables, &files));
        messages.extend(proxy_lists.reload(path, text, tables, &files));
        if files.has_missed() {
            tables.forget_beyond(known);
            return Reloaded::NeedsMore;
        }
        self.mynetworks = mynetworks;
        self.allowlist_interfaces = allowlist_interfaces;
        self.forbidden_commands = forbidden_commands;
        self.proxy_lists = proxy_lists;
        Reloaded::Done(messages)
    }

    /// Replaces the snapshots of a database.
    pub fn reload_index(&mut self, index: &Index, snapshot: &[u8]) {
        self.tables.reload_index(index, snapshot);
    }
}

/// The lists and tables as one asker sees them. Where the answer depends on a table elsewhere
/// that has not been asked yet, there is the question to ask instead, and what is left in
/// `messages` counts for nothing: all is evaluated anew when the answer is known.
#[derive(Clone, Copy, Debug)]
pub struct ScreenView<'a> {
    of: &'a ScreenTables,
    tables: TableView<'a>,
}

impl ScreenView<'_> {
    /// What the access list says about a client. Warnings and notices are added to
    /// `messages`.
    ///
    /// # Errors
    /// A question that has to be answered first.
    pub fn access(
        self,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Result<Access, RemoteQuestion> {
        self.of.access.evaluate(self.tables, &self.of.mynetworks, client, messages)
    }

    /// Whether clients may earn a pass by the tests at this server address. Not if there
    /// is trouble, which is added to `messages`.
    ///
    /// # Errors
    /// A question that has to be answered first.
    pub fn interface_allowed(
        self,
        server: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Result<bool, RemoteQuestion> {
        match self.of.allowlist_interfaces.evaluate(self.tables, server, messages) {
            Membership::Member => Ok(true),
            Membership::Stranger | Membership::Unknown => Ok(false),
            Membership::Asked(question) => Err(question),
        }
    }

    /// The EHLO keywords that are kept from a client, if there is an entry for it. Trouble is
    /// added to `messages`.
    ///
    /// # Errors
    /// A question that has to be answered first.
    pub fn discarded_keywords(
        self,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Result<Option<String>, RemoteQuestion> {
        if self.of.discards.is_empty() {
            return Ok(None);
        }
        let key = address_text(client);
        match self.of.discards.lookup(self.tables, &key, messages) {
            Answer::Found(words) => Ok(Some(words.into_owned())),
            Answer::NotFound => Ok(None),
            Answer::Failed => {
                // Not the end of the process and of all its sessions, as with postscreen(8).
                let text = format!("{DISCARD_MAPS} lookup error for {key}");
                messages.push(Message::warning(text));
                Ok(None)
            }
            Answer::Asked(question) => Err(question),
        }
    }

    /// The footer for a reply, if there is an entry for its text. Trouble is added to
    /// `messages`.
    ///
    /// # Errors
    /// A question that has to be answered first.
    pub fn footer(
        self,
        reply: &str,
        messages: &mut Vec<Message>,
    ) -> Result<Option<String>, RemoteQuestion> {
        match self.of.footers.lookup(self.tables, reply, messages) {
            Answer::Found(footer) => Ok(Some(footer.into_owned())),
            Answer::NotFound | Answer::Failed => Ok(None),
            Answer::Asked(question) => Err(question),
        }
    }

    /// What a DNS blocklist is called in replies, if main.cf's `postscreen_dnsbl_reply_map`
    /// has a name for its domain.
    ///
    /// # Errors
    /// If the table cannot tell, or not yet.
    pub fn dnsbl_name(
        self,
        domain: &str,
        messages: &mut Vec<Message>,
    ) -> Result<Option<String>, NoName> {
        let Some(id) = self.of.dnsbl_reply_map else { return Ok(None) };
        match self.tables.lookup(id, domain, messages) {
            Answer::Found(name) => Ok(Some(name.into_owned())),
            Answer::NotFound => Ok(None),
            Answer::Failed => Err(NoName::Failed(self.tables.spec(id).to_owned())),
            Answer::Asked(question) => Err(NoName::Asked(question)),
        }
    }

    /// What the command filter makes of a line, which comes without the blanks before it.
    /// Warnings are added to `messages`.
    ///
    /// # Errors
    /// A question that has to be answered first.
    pub fn command_filter(
        self,
        line: &[u8],
        messages: &mut Vec<Message>,
    ) -> Result<Filtered, RemoteQuestion> {
        let Some(table) = self.of.command_filter else { return Ok(Filtered::Unchanged) };
        match self.tables.lookup(table, line, messages) {
            Answer::Found(by) => Ok(Filtered::Replaced(by.into())),
            Answer::NotFound => Ok(Filtered::Unchanged),
            Answer::Failed => Ok(Filtered::Failed),
            Answer::Asked(question) => Err(question),
        }
    }

    /// Whether a command word is one of the forbidden commands. Not if there is trouble,
    /// which is added to `messages`.
    ///
    /// # Errors
    /// A question that has to be answered first.
    pub fn forbidden(
        self,
        word: &[u8],
        messages: &mut Vec<Message>,
    ) -> Result<bool, RemoteQuestion> {
        self.of.forbidden_commands.has(self.tables, word, messages)
    }
}

#[cfg(test)]
#[path = "screen_tables_tests.rs"]
mod tests;
