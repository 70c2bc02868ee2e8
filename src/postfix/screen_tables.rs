//! The lists and tables that judge addresses and commands, as one thing: what the daemon
//! opens before it jails itself and asks afterwards.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::access_list::AccessList;
use super::address_list::AddressList;
use super::command_list::{CommandList, Letters};
use super::map_list::MapList;
use super::match_list::Membership;
use super::message::Message;
use super::mynetworks::Mynetworks;
use super::table::{Answer, FileSource, JailedFiles, OpenOptions, TableId, Tables};
use crate::screen::address::address_text;
use crate::screen::event::{Access, Filtered};

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
    /// main.cf: `daemon_table_open_error_is_fatal`.
    pub table_errors_are_fatal: bool,
}

/// A table, as written, that could not be asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} lookup error")]
pub struct LookupError(String);

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
        let mut tables = Tables::new(settings.table_errors_are_fatal);
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
        })
    }

    /// What the access list says about a client. Warnings and notices are added to
    /// `messages`.
    pub fn access(&self, client: IpAddr, messages: &mut Vec<Message>) -> Access {
        self.access.evaluate(&self.tables, &self.mynetworks, client, messages)
    }

    /// Whether clients may earn a pass by the tests at this server address. Not if there
    /// is trouble, which is added to `messages`.
    pub fn interface_allowed(&self, server: IpAddr, messages: &mut Vec<Message>) -> bool {
        self.allowlist_interfaces.evaluate(&self.tables, server, messages) == Membership::Member
    }

    /// The EHLO keywords that are kept from a client, if there is an entry for it. Trouble is
    /// added to `messages`.
    pub fn discarded_keywords(
        &self,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Option<String> {
        if self.discards.is_empty() {
            return None;
        }
        let key = address_text(client);
        match self.discards.lookup(&self.tables, &key, messages) {
            Answer::Found(words) => Some(words.into_owned()),
            Answer::NotFound => None,
            Answer::Failed => {
                // Not the end of the process and of all its sessions, as with postscreen(8).
                let text = format!("{DISCARD_MAPS} lookup error for {key}");
                messages.push(Message::warning(text));
                None
            }
        }
    }

    /// The footer for a reply, if there is an entry for its text. Trouble is added to
    /// `messages`.
    pub fn footer(&self, reply: &str, messages: &mut Vec<Message>) -> Option<String> {
        match self.footers.lookup(&self.tables, reply, messages) {
            Answer::Found(footer) => Some(footer.into_owned()),
            Answer::NotFound | Answer::Failed => None,
        }
    }

    /// What a DNS blocklist is called in replies, if main.cf's `postscreen_dnsbl_reply_map`
    /// has a name for its domain.
    ///
    /// # Errors
    /// If the table cannot tell.
    pub fn dnsbl_name(
        &self,
        domain: &str,
        messages: &mut Vec<Message>,
    ) -> Result<Option<String>, LookupError> {
        let Some(id) = self.dnsbl_reply_map else { return Ok(None) };
        match self.tables.lookup(id, domain, messages) {
            Answer::Found(name) => Ok(Some(name.into_owned())),
            Answer::NotFound => Ok(None),
            Answer::Failed => Err(LookupError(self.tables.spec(id).to_owned())),
        }
    }

    /// What the command filter makes of a line, which comes without the blanks before it.
    /// Warnings are added to `messages`.
    pub fn command_filter(&self, line: &[u8], messages: &mut Vec<Message>) -> Filtered {
        let Some(table) = self.command_filter else { return Filtered::Unchanged };
        match self.tables.lookup(table, line, messages) {
            Answer::Found(by) => Filtered::Replaced(by.into()),
            Answer::NotFound => Filtered::Unchanged,
            Answer::Failed => Filtered::Failed,
        }
    }

    /// Whether a command word is one of the forbidden commands. Not if there is trouble,
    /// which is added to `messages`.
    pub fn forbidden(&self, word: &[u8], messages: &mut Vec<Message>) -> bool {
        self.forbidden_commands.has(&self.tables, word, messages)
    }

    /// The tables, for the parameters that look things up in one table or a few.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The same, to open more of them.
    pub fn tables_mut(&mut self) -> &mut Tables {
        &mut self.tables
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
        {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    /// Takes the new text of a file, wherever it is used. Text that cannot be used leaves
    /// the old content as it was. A list may then name files that were never read; they
    /// are among [`ScreenTables::watched`] and wait for their own `reload`.
    pub fn reload(&mut self, path: &Path, text: &[u8]) -> Vec<Message> {
        let mut messages = self.tables.reload(path, text);
        messages.extend(self.mynetworks.reload(path, text, &mut self.tables, &JailedFiles));
        messages.extend(self.allowlist_interfaces.reload(
            path,
            text,
            &mut self.tables,
            &JailedFiles,
        ));
        messages.extend(self.forbidden_commands.reload(path, text, &mut self.tables, &JailedFiles));
        messages
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
        let access = tables.access(client.parse().unwrap(), &mut messages);
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
            let allowed = tables.interface_allowed(server.parse().unwrap(), &mut messages);
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
            let words = tables.discarded_keywords(client.parse().unwrap(), &mut messages);
            assert_eq!(messages, []);
            words
        };
        assert_eq!(keywords(&tables, "2001:db8:0::5").as_deref(), Some("dsn, etrn"));
        assert_eq!(keywords(&tables, "127.0.0.6").as_deref(), Some("size"));
        assert_eq!(keywords(&tables, "127.0.0.7").as_deref(), Some("vrfy"));
        assert_eq!(keywords(&tables, "192.0.2.1"), None);
        assert_eq!(tables.reload(Path::new("/ehlo"), b"192.0.2.1 dsn\n"), []);
        assert_eq!(keywords(&tables, "192.0.2.1").as_deref(), Some("dsn"));

        let mut messages = Vec::new();
        assert_eq!(tables.footer("450 4.3.2 No", &mut messages), None);
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
            let words = tables.discarded_keywords("127.0.0.5".parse().unwrap(), &mut messages);
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
        let mut name = |tables: &ScreenTables, domain| tables.dnsbl_name(domain, &mut messages);
        assert_eq!(name(&tables, "secret.zen.test"), Ok(Some("zen.test".into())));
        assert_eq!(name(&tables, "open.test"), Ok(None));
        tables.reload(Path::new("/names"), b"open.test x\n");
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
        assert_eq!(tables.command_filter(b"help \xe9", &mut messages), replaced("NOOP ?"));
        assert_eq!(tables.command_filter(b"NOOP", &mut messages), Filtered::Unchanged);
        assert!(tables.forbidden(b"Bad", &mut messages));
        assert!(tables.forbidden(b"1", &mut messages));
        assert_eq!(messages, []);
        assert!(!tables.forbidden(b"worse", &mut messages));
        let warning = "postscreen_forbidden_commands: fail:y: table lookup problem";
        assert_eq!(messages, [Message::warning(warning)]);

        assert_eq!(tables.reload(Path::new("/words"), b"worse\n"), []);
        assert_eq!(tables.reload(Path::new("/filter"), b"/x/ y\n"), []);
        assert!(tables.forbidden(b"worse", &mut messages));
        assert_eq!(tables.command_filter(b"x", &mut messages), replaced("y"));

        let without = ScreenTables::open(&ScreenTableSettings::default(), &files).unwrap().0;
        assert_eq!(without.command_filter(b"HELP x", &mut messages), Filtered::Unchanged);
        assert!(!without.forbidden(b"worse", &mut messages));
        let filter = Some("foo:x".into());
        let failing = ScreenTableSettings { command_filter: filter, ..settings };
        let (failing, opening) = ScreenTables::open(&failing, &files).unwrap();
        assert_eq!(opening, [Message::error("unsupported dictionary type: foo")]);
        let mut messages = Vec::new();
        assert_eq!(failing.command_filter(b"x", &mut messages), Filtered::Failed);
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

        assert_eq!(tables.reload(Path::new("/a"), b"127.0.0.4 permit\n"), []);
        assert_eq!(access(&tables, "127.0.0.4"), Access::Permit);

        // A list that newly names a table: the table comes with its own reload.
        let waiting = "open /b: new files are read at the next reload";
        assert_eq!(tables.reload(Path::new("/n"), b"cidr:/b\n"), [Message::warning(waiting)]);
        assert_eq!(tables.watched(), [Path::new("/a"), Path::new("/b"), Path::new("/n")]);
        assert_eq!(tables.reload(Path::new("/b"), b"127.0.0.0/8 x\n"), []);
        assert_eq!(access(&tables, "127.0.0.9"), Access::Permit);
    }
}
