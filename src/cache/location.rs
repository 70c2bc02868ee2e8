//! Where the cache file belongs, given postscreen's configuration.
//!
//! The file lies beside the database that postscreen would use, under the same name with
//! `.sqlite` behind it, so that both services keep their verdicts when they are swapped.

use std::path::{Path, PathBuf};

use super::set_aside::with_suffix;
use crate::postfix::message::Message;

/// What decides about the place. All texts are final: macros are expanded.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// main.cf: `postscreen_cache_map`.
    pub cache_map: &'a str,
    /// main.cf: `default_database_type`, for a map without a type.
    pub default_type: &'a str,
    /// main.cf: `data_directory`.
    pub data_directory: &'a Path,
    /// gatepost.cf: `cache_file`.
    pub cache_file: Option<&'a Path>,
}

/// Who owns a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// `mail_owner`.
    MailOwner,
    /// Another user.
    Other,
    /// There is no such directory, or it cannot be looked at.
    Unknown,
}

/// The decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// No cache.
    None,
    /// A cache that is gone with the process, as a map of type `internal` is.
    Memory,
    /// A file.
    File(Location),
}

/// The file of the cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// The SQLite file; relative to `queue_directory` if the map's name is.
    pub sqlite_path: PathBuf,
    /// The database that postscreen would use; it need not exist.
    pub old_cache: Option<OldCache>,
    /// Says which file is used for which map; to be logged when the file is created.
    pub note: Message,
}

/// postscreen's own cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OldCache {
    /// Its type, for example `btree`.
    pub map_type: String,
    /// Its file, for example `/var/lib/postfix/postscreen_cache.db`.
    pub db_file: PathBuf,
    /// Its name in main.cf's form, for example `btree:/var/lib/postfix/postscreen_cache`.
    pub spec: String,
}

impl OldCache {
    /// Whether a postscreen(8) that has it open keeps all others out.
    pub fn is_for_one_process(&self) -> bool {
        matches!(self.map_type.as_str(), "btree" | "hash")
    }
}

/// Types with one database file that can be updated, and the suffix of that file (of the
/// first of two for dbm and sdbm; unknown for dbz). postscreen moves exactly these into
/// `data_directory` when it has to.
const DATABASE_TYPES: [(&str, Option<&str>); 7] = [
    ("btree", Some(".db")),
    ("hash", Some(".db")),
    ("lmdb", Some(".lmdb")),
    ("cdb", Some(".cdb")),
    ("dbm", Some(".pag")),
    ("sdbm", Some(".pag")),
    ("dbz", None),
];

/// Types that can be written but live in the memory of a process.
const MEMORY_TYPES: [&str; 2] = ["internal", "environ"];

const READ_ONLY_TYPES: [&str; 21] = [
    "cidr",
    "fail",
    "inline",
    "ldap",
    "mongodb",
    "mysql",
    "netinfo",
    "nis",
    "nisplus",
    "pcre",
    "pgsql",
    "pipemap",
    "randmap",
    "regexp",
    "socketmap",
    "sqlite",
    "static",
    "tcp",
    "texthash",
    "unionmap",
    "unix",
];

/// Decides where the cache is, with what has to be logged about it, in that order.
///
/// `owner` looks at a directory; for a relative one, from `queue_directory`.
pub fn locate(request: Request<'_>, owner: impl Fn(&Path) -> Owner) -> (Place, Vec<Message>) {
    let mut messages = Vec::new();
    if request.cache_map.is_empty() {
        return (Place::None, messages);
    }
    let spec = match request.cache_map.contains(':') {
        true => request.cache_map.to_owned(),
        false => format!("{}:{}", request.default_type, request.cache_map),
    };
    // The proxy(8) in front of a database is not needed any more: SQLite is shared anyway.
    let direct = spec.strip_prefix("proxy:").unwrap_or(&spec);
    let (map_type, name) = direct.split_once(':').unwrap_or((direct, ""));
    let (base, old_cache) = if let Some((_, suffix)) =
        DATABASE_TYPES.iter().find(|(known, _)| *known == map_type)
    {
        if name.is_empty() {
            let text = format!("open dictionary: expecting \"type:name\" form instead of {spec:?}");
            return (Place::None, vec![Message::error(text)]);
        }
        let path = redirect(direct, Path::new(name), &request, owner, &mut messages);
        // proxywrite(8) opens the path as it is, postscreen the redirected one.
        let old_path = if direct.len() == spec.len() { path.as_path() } else { Path::new(name) };
        let old_cache = suffix.map(|suffix| OldCache {
            map_type: map_type.to_owned(),
            db_file: with_suffix(old_path, suffix),
            spec: format!("{map_type}:{}", old_path.display()),
        });
        (path, old_cache)
    } else if map_type == "memcache" {
        (request.data_directory.join("postscreen_cache"), None)
    } else if MEMORY_TYPES.contains(&map_type) {
        return (Place::Memory, messages);
    } else if READ_ONLY_TYPES.contains(&map_type) {
        let text = format!("{spec} map requires O_RDONLY access mode");
        return (Place::None, vec![Message::error(text)]);
    } else {
        let text = format!("unsupported dictionary type: {map_type}");
        return (Place::None, vec![Message::error(text)]);
    };
    let sqlite_path = match request.cache_file {
        Some(file) => {
            messages.clear();
            file.to_owned()
        }
        None => with_suffix(&base, ".sqlite"),
    };
    let note = Message::info(format!("cache {spec} is kept in {}", sqlite_path.display()));
    (Place::File(Location { sqlite_path, old_cache, note }), messages)
}

/// Postfix does not write to a directory that is not its own: `path`, or the same file name
/// in `data_directory`.
fn redirect(
    spec: &str,
    path: &Path,
    request: &Request<'_>,
    owner: impl Fn(&Path) -> Owner,
    messages: &mut Vec<Message>,
) -> PathBuf {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(file_name) = path.file_name() else { return path.to_owned() };
    if owner(directory) != Owner::Other {
        return path.to_owned();
    }
    messages.push(Message::warning(format!(
        "request to update table {spec} in non-postfix directory {}",
        directory.display()
    )));
    messages.push(Message::warning(format!(
        "redirecting the request to postfix-owned data_directory {}",
        request.data_directory.display()
    )));
    request.data_directory.join(file_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postfix::message::Level;

    fn owner(directory: &Path) -> Owner {
        match directory.to_str() {
            Some("/var/lib/postfix") => Owner::MailOwner,
            Some("/gone") => Owner::Unknown,
            _ => Owner::Other,
        }
    }

    fn place(cache_map: &str) -> (Place, Vec<Message>) {
        place_with(cache_map, None)
    }

    fn place_with(cache_map: &str, cache_file: Option<&str>) -> (Place, Vec<Message>) {
        let request = Request {
            cache_map,
            default_type: "hash",
            data_directory: Path::new("/var/lib/postfix"),
            cache_file: cache_file.map(Path::new),
        };
        locate(request, owner)
    }

    fn file(cache_map: &str) -> (String, Option<String>) {
        let (Place::File(location), _) = place(cache_map) else { panic!("{cache_map}: no file") };
        let path = location.sqlite_path.to_str().unwrap().to_owned();
        (path, location.old_cache.map(|old| old.db_file.to_str().unwrap().to_owned()))
    }

    #[test]
    fn the_file_lies_beside_the_old_cache() {
        let d = "/var/lib/postfix";
        for (map, path, old) in [
            ("btree:/var/lib/postfix/pc", "pc.sqlite", Some("pc.db")),
            ("hash:/var/lib/postfix/pc", "pc.sqlite", Some("pc.db")),
            ("/var/lib/postfix/pc", "pc.sqlite", Some("pc.db")),
            ("lmdb:/var/lib/postfix/pc", "pc.sqlite", Some("pc.lmdb")),
            ("sdbm:/var/lib/postfix/pc", "pc.sqlite", Some("pc.pag")),
            ("dbz:/var/lib/postfix/pc", "pc.sqlite", None),
            ("proxy:btree:/var/lib/postfix/pc", "pc.sqlite", Some("pc.db")),
            ("memcache:/etc/postfix/mc", "postscreen_cache.sqlite", None),
            ("proxy:memcache:/etc/postfix/mc", "postscreen_cache.sqlite", None),
        ] {
            let expected = (format!("{d}/{path}"), old.map(|old| format!("{d}/{old}")));
            assert_eq!(file(map), expected, "{map}");
            assert_eq!(place(map).1, [], "{map}");
        }
    }

    #[test]
    fn the_note_names_map_and_file() {
        let (Place::File(location), _) = place("/var/lib/postfix/pc") else { panic!("no file") };
        let text = "cache hash:/var/lib/postfix/pc is kept in /var/lib/postfix/pc.sqlite";
        assert_eq!(location.note, Message::info(text));
        let old = location.old_cache.unwrap();
        assert_eq!(
            (old.map_type.as_str(), old.spec.as_str()),
            ("hash", "hash:/var/lib/postfix/pc")
        );
    }

    #[test]
    fn a_directory_of_others_is_redirected_with_two_warnings() {
        let (place, messages) = place("btree:/etc/postfix/pcache");
        assert_eq!(
            messages,
            [
                Message::warning(
                    "request to update table btree:/etc/postfix/pcache in non-postfix directory \
                     /etc/postfix"
                ),
                Message::warning(
                    "redirecting the request to postfix-owned data_directory /var/lib/postfix"
                ),
            ]
        );
        let Place::File(location) = place else { panic!("no file") };
        assert_eq!(location.sqlite_path, Path::new("/var/lib/postfix/pcache.sqlite"));
        let old = location.old_cache.unwrap();
        assert_eq!(old.db_file, Path::new("/var/lib/postfix/pcache.db"));
        assert_eq!(file("btree:relative").0, "/var/lib/postfix/relative.sqlite");
        assert_eq!(file("btree:/gone/pc").0, "/gone/pc.sqlite");
        // The database behind proxywrite(8) stays where it was.
        let (_, old) = file("proxy:btree:/etc/postfix/pc");
        assert_eq!(old.as_deref(), Some("/etc/postfix/pc.db"));
    }

    #[test]
    fn an_own_path_needs_no_redirection() {
        let (place, messages) = place_with("btree:/etc/postfix/pc", Some("/srv/v.sqlite"));
        assert_eq!(messages, []);
        let Place::File(location) = place else { panic!("no file") };
        assert_eq!(location.sqlite_path, Path::new("/srv/v.sqlite"));
        assert!(location.old_cache.is_some());
    }

    #[test]
    fn maps_that_cannot_be_written_are_no_cache() {
        assert_eq!(place(""), (Place::None, vec![]));
        assert_eq!(place_with("", Some("/srv/v.sqlite")), (Place::None, vec![]));
        assert_eq!(place("internal:x"), (Place::Memory, vec![]));
        for (map, text) in [
            ("sqlite:/x", "sqlite:/x map requires O_RDONLY access mode"),
            ("texthash:/x", "texthash:/x map requires O_RDONLY access mode"),
            ("cidr:/x", "cidr:/x map requires O_RDONLY access mode"),
            ("foo:/x", "unsupported dictionary type: foo"),
            ("btree:", "open dictionary: expecting \"type:name\" form instead of \"btree:\""),
        ] {
            let (place, messages) = place(map);
            assert_eq!(place, Place::None, "{map}");
            assert_eq!(messages, [Message { level: Level::Error, text: text.to_owned() }]);
        }
    }
}
