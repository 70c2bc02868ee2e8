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
mod tests {
    use super::*;
    use crate::postfix::table::test_files::Files;

    fn settings(
        access_list: &str,
        mynetworks: &str,
        allowlist_interfaces: &str,
    ) -> ScreenTableSettings {
        ScreenTableSettings {
            access_list: access_list.into(),
            mynetworks: mynetworks.into(),
            allowlist_interfaces: allowlist_interfaces.into(),
            ..ScreenTableSettings::default()
        }
    }

    fn access(tables: &ScreenTables, client: &str) -> Access {
        let mut messages = Vec::new();
        let access = tables.alone().access(client.parse().unwrap(), &mut messages).unwrap();
        assert_eq!(messages, []);
        access
    }

    #[test]
    fn order_of_the_access_list() {
        let files = Files::new([
            ("/first", "127.0.0.4 reject\n127.0.0.6 dunno\n"),
            ("/second", "127.0.0.4 permit\n127.0.0.5 reject\n127.0.0.6 reject\n127.0.0.7 permit\n"),
        ]);
        let list = "\n  cidr:/first, permit_mynetworks,\n  texthash:/second";
        let (tables, messages) =
            ScreenTables::open(&settings(list, "127.0.0.5", "static:all"), &files).unwrap();
        assert_eq!(messages, []);
        assert_eq!(tables.watched(), [Path::new("/first"), Path::new("/second")]);
        for (client, expected) in [
            ("127.0.0.4", Access::Reject),
            ("127.0.0.5", Access::Permit),
            ("127.0.0.6", Access::Reject),
            ("127.0.0.7", Access::Permit),
            ("127.0.0.8", Access::Undecided),
        ] {
            assert_eq!(access(&tables, client), expected, "{client}");
        }
    }

    #[test]
    fn interfaces() {
        let allowed = |list: &str, server: &str| {
            let (tables, _) = ScreenTables::open(&settings("", "", list), &Files::new([])).unwrap();
            let mut messages = Vec::new();
            let allowed =
                tables.alone().interface_allowed(server.parse().unwrap(), &mut messages).unwrap();
            (allowed, messages)
        };
        assert_eq!(allowed("!127.0.0.1 static:all", "127.0.0.1"), (false, vec![]));
        assert_eq!(allowed("!127.0.0.1 static:all", "127.0.0.2"), (true, vec![]));
        assert_eq!(allowed("127.0.0.9", "127.0.0.1"), (false, vec![]));
        let warning = "postscreen_allowlist_interfaces: fail:x: table lookup problem";
        assert_eq!(allowed("fail:x", "127.0.0.1"), (false, vec![Message::warning(warning)]));
    }

    #[test]
    fn keywords_and_footers() {
        let files = Files::new([
            ("/ehlo", "2001:db8::5 dsn, etrn\n127.0.0.6 size\n"),
            ("/more", "127.0.0.0/8 vrfy\n127.0.0.6 chunking\n"),
        ]);
        let settings = ScreenTableSettings {
            discard_ehlo_keyword_address_maps: "texthash:/ehlo cidr:/more".into(),
            reject_footer_maps: "fail:x static:y".into(),
            ..settings("", "", "")
        };
        let (mut tables, messages) = ScreenTables::open(&settings, &files).unwrap();
        assert_eq!(messages, []);
        assert_eq!(tables.watched(), [Path::new("/ehlo"), Path::new("/more")]);
        let keywords = |tables: &ScreenTables, client: &str| {
            let mut messages = Vec::new();
            let words =
                tables.alone().discarded_keywords(client.parse().unwrap(), &mut messages).unwrap();
            assert_eq!(messages, []);
            words
        };
        assert_eq!(keywords(&tables, "2001:db8:0::5").as_deref(), Some("dsn, etrn"));
        assert_eq!(keywords(&tables, "127.0.0.6").as_deref(), Some("size"));
        assert_eq!(keywords(&tables, "127.0.0.7").as_deref(), Some("vrfy"));
        assert_eq!(keywords(&tables, "192.0.2.1"), None);
        assert_eq!(
            tables.reload(Path::new("/ehlo"), b"192.0.2.1 dsn\n"),
            Reloaded::Done(Vec::new())
        );
        assert_eq!(keywords(&tables, "192.0.2.1").as_deref(), Some("dsn"));

        let mut messages = Vec::new();
        assert_eq!(tables.alone().footer("450 4.3.2 No", &mut messages), Ok(None));
        let warning = "fail:x lookup error for \"450 4.3.2 No\"";
        assert_eq!(messages, [Message::warning(warning)]);
    }

    #[test]
    fn trouble_with_keywords_is_survived() {
        for (list, warnings) in [
            ("fail:x", &["fail:x lookup error for \"127.0.0.5\""][..]),
            (
                "static:{}",
                &[
                    "postscreen_discard_ehlo_keyword_address_maps lookup of 127.0.0.5 returns an \
                     empty string result",
                    "postscreen_discard_ehlo_keyword_address_maps should return NO RESULT in case \
                     of NOT FOUND",
                ],
            ),
        ] {
            let settings = ScreenTableSettings {
                discard_ehlo_keyword_address_maps: list.into(),
                ..settings("", "", "")
            };
            let (tables, _) = ScreenTables::open(&settings, &Files::new([])).unwrap();
            let mut messages = Vec::new();
            let words = tables
                .alone()
                .discarded_keywords("127.0.0.5".parse().unwrap(), &mut messages)
                .unwrap();
            assert_eq!(words, None);
            let last = "postscreen_discard_ehlo_keyword_address_maps lookup error for 127.0.0.5";
            let expected: Vec<Message> =
                warnings.iter().chain([&last]).map(|text| Message::warning(*text)).collect();
            assert_eq!(messages, expected);
        }
    }

    #[test]
    fn names_of_blocklists() {
        let files = Files::new([("/names", "secret.zen.test zen.test\n")]);
        let open = |map: &str| {
            let settings = ScreenTableSettings {
                dnsbl_reply_map: Some(map.into()),
                ..ScreenTableSettings::default()
            };
            ScreenTables::open(&settings, &files).unwrap().0
        };
        let mut messages = Vec::new();
        let mut tables = open("texthash:/names");
        assert_eq!(tables.watched(), [Path::new("/names")]);
        let mut name =
            |tables: &ScreenTables, domain| tables.alone().dnsbl_name(domain, &mut messages);
        assert_eq!(name(&tables, "secret.zen.test"), Ok(Some("zen.test".into())));
        assert_eq!(name(&tables, "open.test"), Ok(None));
        let done = Reloaded::Done(Vec::new());
        assert_eq!(tables.reload(Path::new("/names"), b"open.test x\n"), done);
        assert_eq!(name(&tables, "open.test"), Ok(Some("x".into())));
        let broken = name(&open("fail:x"), "open.test").unwrap_err();
        assert_eq!(broken.to_string(), "fail:x lookup error");
    }

    #[test]
    fn commands() {
        let settings = ScreenTableSettings {
            command_filter: Some("regexp:/filter".into()),
            forbidden_commands: "/words regexp:{{/^[^A-Z]/ x}} fail:y".into(),
            smtputf8: true,
            ..ScreenTableSettings::default()
        };
        let files = Files::new([("/filter", "/^HELP (.*)/ NOOP $1\n"), ("/words", "BAD\n")]);
        let (mut tables, messages) = ScreenTables::open(&settings, &files).unwrap();
        assert_eq!(messages, []);
        assert_eq!(tables.watched(), [Path::new("/filter"), Path::new("/words")]);
        let mut messages = Vec::new();
        let replaced = |by: &str| Filtered::Replaced(by.into());
        assert_eq!(
            tables.alone().command_filter(b"help \xe9", &mut messages),
            Ok(replaced("NOOP ?"))
        );
        assert_eq!(tables.alone().command_filter(b"NOOP", &mut messages), Ok(Filtered::Unchanged));
        assert_eq!(tables.alone().forbidden(b"Bad", &mut messages), Ok(true));
        assert_eq!(tables.alone().forbidden(b"1", &mut messages), Ok(true));
        assert_eq!(messages, []);
        assert_eq!(tables.alone().forbidden(b"worse", &mut messages), Ok(false));
        let warning = "postscreen_forbidden_commands: fail:y: table lookup problem";
        assert_eq!(messages, [Message::warning(warning)]);

        assert_eq!(tables.reload(Path::new("/words"), b"worse\n"), Reloaded::Done(Vec::new()));
        assert_eq!(tables.reload(Path::new("/filter"), b"/x/ y\n"), Reloaded::Done(Vec::new()));
        assert_eq!(tables.alone().forbidden(b"worse", &mut messages), Ok(true));
        assert_eq!(tables.alone().command_filter(b"x", &mut messages), Ok(replaced("y")));

        let without = ScreenTables::open(&ScreenTableSettings::default(), &files).unwrap().0;
        assert_eq!(
            without.alone().command_filter(b"HELP x", &mut messages),
            Ok(Filtered::Unchanged)
        );
        assert_eq!(without.alone().forbidden(b"worse", &mut messages), Ok(false));
        let filter = Some("foo:x".into());
        let failing = ScreenTableSettings { command_filter: filter, ..settings };
        let (failing, opening) = ScreenTables::open(&failing, &files).unwrap();
        assert_eq!(opening, [Message::error("unsupported dictionary type: foo")]);
        let mut messages = Vec::new();
        assert_eq!(failing.alone().command_filter(b"x", &mut messages), Ok(Filtered::Failed));
        let warning = "foo:x is unavailable. unsupported dictionary type: foo";
        assert_eq!(messages, [Message::warning(warning)]);
    }

    #[test]
    fn fatal_message_comes_last() {
        let open = |settings| ScreenTables::open(&settings, &Files::new([])).unwrap_err();
        assert_eq!(
            open(settings("cidr:/x", "127.0.0.1 # own", "!")),
            [
                Message::warning(
                    "postscreen_access_list: comment at end of line is not supported: # own"
                ),
                Message::error("open /x: No such file or directory"),
                Message::fatal("postscreen_allowlist_interfaces: no pattern after '!'"),
            ]
        );
        assert_eq!(
            open(settings("", "!", "")),
            [Message::fatal("postscreen_access_list: no pattern after '!'")]
        );
        let bad = "postscreen_forbidden_commands: no pattern after '!'";
        let commands = |forbidden_commands: &str| ScreenTableSettings {
            forbidden_commands: forbidden_commands.into(),
            ..ScreenTableSettings::default()
        };
        assert_eq!(open(commands("a, !")), [Message::fatal(bad)]);
        let strict =
            ScreenTableSettings { table_errors_are_fatal: true, ..settings("foo:x", "", "") };
        assert_eq!(open(strict), [Message::fatal("unsupported dictionary type: foo")]);
    }

    #[test]
    fn files_change_under_way() {
        let files = Files::new([("/a", "127.0.0.4 reject\n"), ("/n", "127.0.0.5\n")]);
        let lists = settings("permit_mynetworks cidr:/a", "/n", "/n static:all");
        let (mut tables, _) = ScreenTables::open(&lists, &files).unwrap();
        assert_eq!(tables.watched(), [Path::new("/a"), Path::new("/n")]);
        assert_eq!(access(&tables, "127.0.0.4"), Access::Reject);

        assert_eq!(
            tables.reload(Path::new("/a"), b"127.0.0.4 permit\n"),
            Reloaded::Done(Vec::new())
        );
        assert_eq!(access(&tables, "127.0.0.4"), Access::Permit);

        // A list that newly names a table, or a file, is not for this process.
        for text in [&b"cidr:/b\n"[..], b"hash:/b", b"127.0.0.9 /c", b"cidr:/b\n"] {
            assert_eq!(tables.reload(Path::new("/n"), text), Reloaded::NeedsMore);
            assert_eq!(access(&tables, "127.0.0.5"), Access::Permit, "the old list counts");
            assert_eq!(access(&tables, "127.0.0.9"), Access::Undecided);
        }
        // What needs no file is fine.
        let done = Reloaded::Done(Vec::new());
        assert_eq!(tables.reload(Path::new("/n"), b"inline:{127.0.0.9=x}\n"), done);
        assert_eq!(access(&tables, "127.0.0.9"), Access::Permit);
        assert_eq!(access(&tables, "127.0.0.5"), Access::Undecided);
    }
}
