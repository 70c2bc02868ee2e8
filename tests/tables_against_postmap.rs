//! The same questions to our tables and to Postfix's, through postmap(1): values,
//! warnings and reasons for refusal must be equal.

// Tests and their helpers may fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use gatepost::postfix::message::{Level, Message};
use gatepost::postfix::table::{
    Answer, DiskFiles, Duplicates, FileSource, Index, IndexKind, OpenOptions, Tables,
};
use gatepost::supervisor::snapshots::{Snapshots, dump_lmdb};

/// postmap opens its tables like this.
const LIKE_POSTMAP: OpenOptions =
    OpenOptions { duplicates: Duplicates::Warn, ..OpenOptions::FOLDED };

/// What a program made of a table and some keys: its messages, then `key<TAB>value` lines.
type Outcome = (Vec<String>, Vec<String>);

/// A directory with a main.cf that no Postfix on this machine uses.
struct Workshop {
    directory: PathBuf,
}

impl Workshop {
    fn new(name: &str) -> Workshop {
        let directory =
            std::env::temp_dir().join(format!("gatepost-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let workshop = Workshop { directory };
        workshop.file("main.cf", b"compatibility_level = 3.6\nmyhostname = mx.example\n");
        workshop.file("master.cf", b"");
        workshop
    }

    /// Writes a file that looks old: Postfix reads fresh ones repeatedly.
    fn file(&self, name: &str, text: &[u8]) -> String {
        let path = self.directory.join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(text).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn compare(&self, table: &str, keys: &[&str]) {
        let theirs = postmap(&self.directory, table, keys);
        let ours = gatepost(&self.directory, table, keys);
        let lines = |(messages, values): &Outcome| [&messages[..], &values[..]].concat();
        let differs = lines(&ours).into_iter().zip(lines(&theirs)).find(|(a, b)| a != b);
        assert!(
            ours == theirs,
            "table {table}: the first difference, Gatepost's and postmap's line: {differs:#?}"
        );
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A program of Postfix.
fn command(name: &str, config: &Path) -> Command {
    let mut command = Command::new(name);
    command
        .env("MAIL_CONFIG", config)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin");
    command
}

fn postmap(config: &Path, table: &str, keys: &[&str]) -> Outcome {
    let mut child = command("postmap", config)
        .args(["-q", "-", table])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("postmap(1) runs: Postfix must be installed for this test");
    // A table that cannot be opened ends postmap before it reads the keys.
    let _ = child.stdin.take().unwrap().write_all((keys.join("\n") + "\n").as_bytes());
    let output = child.wait_with_output().unwrap();
    let lines = |bytes: &[u8]| -> Vec<String> {
        String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
    };
    let messages = lines(&output.stderr)
        .iter()
        // What the library says goes to nobody in a daemon.
        .filter(|line| !line.starts_with("BDB"))
        .map(|line| line.strip_prefix("postmap: ").unwrap_or(line).to_owned())
        .collect();
    (messages, lines(&output.stdout))
}

/// Files and databases, as the supervisor reads them.
struct Files(Snapshots);

impl FileSource for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        DiskFiles.read(path)
    }

    fn snapshot(&self, index: &Index, messages: &mut Vec<Message>) -> Result<Vec<u8>, String> {
        if index.kind != IndexKind::Lmdb {
            return self.0.take(index, messages).map_err(|trouble| trouble.to_string());
        }
        // In this process, which has more threads than one, and must not fork.
        let (mut output, mut complaints) = (Vec::new(), Vec::new());
        let done = dump_lmdb(index, &mut output, &mut complaints);
        let complaints = String::from_utf8(complaints).unwrap();
        for line in complaints.lines() {
            match line.split_once(": ").unwrap() {
                ("warning", text) => messages.push(Message::warning(text)),
                ("fatal", text) => return Err(text.to_owned()),
                _ => panic!("{line}"),
            }
        }
        done.unwrap();
        Ok(output)
    }
}

fn gatepost(config: &Path, table: &str, keys: &[&str]) -> Outcome {
    let files = Files(Snapshots {
        command_directory: "/usr/sbin".into(),
        config_directory: config.into(),
        migrating: false,
    });
    // As postmap has it: a table that cannot be opened is fatal.
    let mut tables = Tables::new(true);
    let mut messages = Vec::new();
    let mut values = Vec::new();
    match tables.open(table, LIKE_POSTMAP, &files, &mut messages) {
        Err(error) => messages.push(error.message()),
        Ok(id) => {
            for key in keys {
                match tables.alone().lookup(id, key, &mut messages) {
                    Answer::Found(value) => {
                        if value.is_empty() {
                            // postmap(1)'s own.
                            let texts = [
                                format!(
                                    "table {table}: key {key}: empty string result is not allowed"
                                ),
                                format!(
                                    "table {table} should return NO RESULT in case of NOT FOUND"
                                ),
                            ];
                            messages.extend(texts.map(Message::warning));
                        }
                        values.push(format!("{key}\t{value}"));
                    }
                    Answer::NotFound => {}
                    Answer::Asked(_) => panic!("{table}: is not asked here"),
                    Answer::Failed => {
                        // What postmap has found before goes down with it. Here it calls a
                        // table of Berkeley DB by its file.
                        let is_db = table.starts_with("hash:") || table.starts_with("btree:");
                        let suffix = if is_db { ".db" } else { "" };
                        let text = format!("table {table}{suffix}: query error");
                        messages.push(Message::fatal(text));
                        values.clear();
                        break;
                    }
                }
            }
        }
    }
    (messages.iter().map(log_text).collect(), values)
}

/// As it is logged: with the level, and with question marks for control characters.
fn log_text(message: &Message) -> String {
    let level = match message.level {
        Level::Info => "",
        Level::Warning => "warning: ",
        Level::Error => "error: ",
        Level::Fatal => "fatal: ",
        Level::Panic => "panic: ",
    };
    let text = message.text.replace(|c: char| c.is_ascii_control(), "?");
    format!("{level}{text}")
}

#[test]
fn cidr_files() {
    let workshop = Workshop::new("cidr");
    let keys = [
        "10.0.0.1",
        "10.1.1.1",
        "11.0.0.1",
        "12.0.0.1",
        "13.0.0.1",
        "127.20.1.1",
        "127.20.2.1",
        "127.20.3.1",
        "127.20.4.1",
        "192.0.2.1",
        "0.0.0.0",
        "255.255.255.255",
        "::1",
        "::",
        "2001:db8:0:0::9",
        "2001:DB8::1",
        "0:0:0:0:0:0:0:1",
        "::ffff:192.0.2.1",
        "::192.0.2.1",
        "fe80::1%eth0",
        "notanip",
        "10.0.0",
        "010.0.0.1",
        "[::1]",
        "10.0.0.1/32",
    ];
    for (name, text) in [
        ("empty", ""),
        ("values", "192.0.2.0/24   a b  c \n  continued\n10.0.0.1\tok # note  \r\n"),
        ("families", "2001:db8::/32 six\n::1 loop6\n!10.0.0.0/8 not10\n"),
        ("all", "0.0.0.0/0 any4\n::/0 any6\n"),
        ("mapped", "::ffff:0:0/96 mapped\n::/96 compatible\n"),
        ("unclosed", "if 11.0.0.0/8\n11.0.0.1 c\nif 10.0.0.0/8\n10.0.0.0/8 d\n"),
        (
            "ifs",
            "if 127.20.0.0/16\n127.20.1.0/24 reject\nif !127.20.2.0/24\n127.20.3.0/24 permit\n\
             endif\n127.20.0.0/16 reject\nendif\n",
        ),
        (
            "order",
            "10.1.0.0/16 first\nIF[10.0.0.0/8]\n10.1.0.0/16 second\n10.0.0.1 third\nENDIF \n\
             10.0.0.0/8 fourth\n!10.0.0.0/8 fifth\n11.0.0.0/8 sixth\n",
        ),
        (
            "bad",
            "127.21.0.1/16 x\n10.0.0.0/33 x\n300.0.0.0/8 x\n10.0.0.0/ x\n127.24.1 x\n\
             [10.0.0.0/8 x\n[10.0.0.0]8 x\n127.25.0.1\nif\nendif x\nendif\n10.0.0.0/8/9 x\n\
             /8 x\n[] x\n[]/8 x\n10.0.0.0/+8 x\n[2001:db8::1/32] x\n[2001:db8::1]/32 x\n\
             2001:db8::/129 x\n!\nif !\nif 10.0.0.1/8 foo\nif 10.0.0.0/8 foo\nendif\n\
             10.0.0.0/8,x y\n[10.0.0.0/8]x y\n[10.0.0.0]/ y\n0.0.0.0/0\t\niffy x\nendiffy\n\
             if!10.0.0.0/8\n  if 10.0.0.0/8\n1.2.3.4] y\n!\tx\n[[::1]] x\n[10.0.0.0/8]/8 x\n\
             if,10.0.0.0/8\nif1 x\n!if x\nendif,\n::1.2.3.4/96 x\n::1/0 x\n\
             10.0.0.0/99999999999999999999 x\nfoo\n10.0.0.0/008 eight\n!!12.0.0.0/8 twice\n\
             ! 13.0.0.0/8 once\n",
        ),
        ("indented", "   indented first line, which is longer than thirty\n10.0.0.1 x\n"),
    ] {
        let table = format!("cidr:{}", workshop.file(name, text.as_bytes()));
        workshop.compare(&table, &keys);
    }
    workshop.compare("cidr:/nonexistent/file", &keys);
}

#[test]
fn texthash_files() {
    let workshop = Workshop::new("texthash");
    let keys = [
        "key",
        "KEY",
        "\"quoted key\"",
        "quoted key",
        "key2",
        "KEY2",
        "k\\ ey",
        "k6",
        "colon:",
        "colon",
        "\"a\"b\"c d\"",
        "e",
        "a",
        "b",
        "key\"x\"",
    ];
    for (name, text) in [
        ("empty", ""),
        (
            "entries",
            "key  value one\n\"quoted key\" v2\nKEY2 v3\nk\\ ey v4\nk6\ttab value  \n cont\n\
             colon: v7\nonlykey\n\"unbal value x\n\"a\"b\"c d\"  v8\ne v9  \r\n\\ v\n\
             key\"x\" y z\"\nfoo bar\"\nkey:  \n: x\n",
        ),
        ("duplicates", "a 1\nb 2\nA 3\n"),
        ("indented", " short\nkey value\n"),
    ] {
        let table = format!("texthash:{}", workshop.file(name, text.as_bytes()));
        workshop.compare(&table, &keys);
    }
    workshop.compare("texthash:/nonexistent/file", &keys);
}

#[test]
fn regexp_files() {
    let workshop = Workshop::new("regexp");
    let keys = [
        "",
        "a",
        "A",
        "aa",
        "ab",
        "aB",
        "abc",
        "b",
        "abcdefghijklmno",
        "n",
        "ny",
        "nyz",
        "xyn",
        "m/n",
        "a!b",
        "a.b",
        " n",
        "\"n\"",
        "case",
        "Case",
        "CASE",
        "xyz",
        "xz",
        "fooXbar",
        "1",
        "pipe",
        "\u{e9}",
        "a \u{e9}",
        "a\\b",
        "127.0.0.5",
        "2001:db8::5",
    ];
    for (name, text) in [
        ("empty", "\n# nothing\n"),
        (
            "groups",
            "/^foo(.*)bar$/ got $1 and ${1}x $(1)y $$\n/x(y)?(z)/ [$1][$2]\n\
             /(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)(l)/ $12-$011-$1.$10\n/^(a)\\1/i $1$1\n\
             /^\\(1\\)$/x $1\n",
        ),
        (
            "flags",
            "/^Case$/i one\n/^CASE$/ii two\n/^(a)$/x three\n/^A$/iii four\n/[[:upper:]]b/i five\n\
             /[A]/ six\n/N/m seven\n",
        ),
        (
            "two",
            "/^a/!/b/ a-not-b\n/n/!!/y/ n-and-y\n/n/! /y/i n-not-y\n!/a/!/x/!/z/ w\n\
             !!/x/!!|z|x\tlast\n",
        ),
        (
            "ifs",
            "if !/n/\n/a/ y\nif /b/\n/^b/ inner\nendif\nEndif \nIF! !/y/\nif/z/\n/n/ nyz\n\
             endif\n/(n)/ $1$1\nendif\n/n/ outside\n",
        ),
        ("unclosed", "if /a/\nif /b/\n/a/ x\n"),
        ("unclosed, no match", "if /nothing/\n/n/ y\n"),
        (
            "delimiters",
            "|^pipe| p\n\"n\" q\n%%xy%% e\n_m/_ u\n$case$ d\n{b{ b\n.fo. dot\n/^m\\/n$/ slash\n\
             (x( paren\n^1^ caret\n",
        ),
        ("continued", "/a/\n  b\n\n# c\n  /q/ z\n/n/  lead   trail \t \r\n"),
        ("bytes", "/^\u{e9}$/ e\n/^.\u{a9}/ x\n/^..$/ two\n/ (.*)$/ <$1>\u{e9}\n"),
        ("not UTF-8", "/^..$/ two\n/(.).$/ [$1]\n"),
        ("nothing", "/^$/\n/^n/ $$\n"),
        ("indented", " /n/ y\n/a/ b\n"),
        (
            "bad results",
            "/n/ $name\n/n/ $0\n/n/ $\n/n/ $$$\n/n/ ${1\n/n/ ${}\n/n/ $()\n/n/ ${1)\n/n/ ${1x}\n\
             /n/ $1\n/(n)/ $2\n/(n)/ $10\n/(n)/ $1a\n/(n)/ $-\n/(n)/ ${-1}\n!/n/ $1\n!/n/ $\n\
             !/n/ $0\n/(n)/ ${ 1 }\n/(n)/ ${1 }\n/(n)/ ${{1}}\n/(n)/ ${(1}\n/(n)/ $(1}\n\
             /(n)/ $((1))\n/(n)/ ${1?a}\n/(n)/ $n$m\n/(n)/ $n${1}$m\n/(n)/ $n${}\n/(n)/ $n$0$\n/(n)/ $n${\n/(n)/ ${}${\n\
             /(n)/ $5$n\n/(n)/ $5 $0\n/(n)/ $\u{e9}\n/(n)/ $1\u{e9} $_\n/(n)/ $2$12$3\n\
             /(a)/x $1\n/a(b/x $2\n!/n/!/(y)/ $1\n/(n)/!/(y)/ $2\n!/(/ $5\n/(/ $n\n/(/ $1\n",
        ),
        (
            "bad patterns",
            "/(/ x\n/[/ x\n/+a/ x\n/*a/ x\n/a{1/ x\n/a{1,99999}/ x\n/a{2,1}/ x\n/[z-a]/ x\n\
             /[[:foo:]]/ x\n/[[.foo.]]/ x\n/(a)\\2/ x\n/[[:alpha:]/ x\n/(/!/[/ x\n/b/!/[/ x\n\
             /(/\n/()a)/ x\n/a**b/ x\n/a|b/x x\n",
        ),
        (
            "bad lines",
            "/n/z foo\n/n/$ x\n/n/1 x\n/n/_ x\n/x(/z y\n/n/imxz y\n/n/iI y\n/n/ix/ y\n/n/!y z\n\
             /n/!/y z\n/n/!/y/q z\n/n/! z\n/n/!\n/n/!/\n/n/i/ x\n/// x\n/[/]n/ y\n/nodelim x\n/\n\
             abc def\n!\n! !\n!abc\n! abc x\n\\n\\ x\n\u{e9} n \u{e9} x\n!\u{e9} x\n{n} x\n\
             /n\\/ x\n",
        ),
        (
            "bad ifs",
            "if\nif !\nendif\nENDIF x\nif /abc\nif abc\nif /abc/z\nif /(/\nif /(/ foo\nif1/a/\n\
             ifx\nif /n/ foo\n/n/ one\nendif bar\nif /a/!/x/\n/b/ two\n endif\nendif/\nendifx\n\
             endif\nif /q/ !\nif /q/!\n/a/ three\n",
        ),
    ] {
        let table = format!("regexp:{}", workshop.file(name, text.as_bytes()));
        workshop.compare(&table, &keys);
    }
    workshop.compare("regexp:/nonexistent/file", &keys);
}

/// The rules that regexp and pcre tables have in common, and those that only one has.
#[cfg(feature = "pcre")]
#[test]
fn pcre_files() {
    let workshop = Workshop::new("pcre");
    let keys = [
        "",
        "a",
        "A",
        "aa",
        "ab",
        "aB",
        "abc",
        "b",
        "abcdefghijklmno",
        "n",
        "ny",
        "nyz",
        "m/n",
        "a!b",
        "a.b",
        " n",
        "case",
        "Case",
        "CASE",
        "xyz",
        "xz",
        "fooXbar",
        "pipe",
        "\u{e9}",
        "a \u{e9}",
        "a\\b",
        "127.0.0.5",
        "2001:db8::5",
        "foobar",
        "ab=ba",
    ];
    for (name, text) in [
        ("empty", "\n# nothing\n"),
        (
            "groups",
            "/^foo(.*)bar$/ got $1 and ${1}x $(1)y $$\n/x(y)?(z)/ [$1][$2]\n\
             /(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)(l)/ $12-$011-$1.$10\n/^(a)\\1/i $1$1\n\
             /^m(?<n>.)n/ $1\n/(?:a)(b)(?=c)/ <$1>\n/^(?|(a)b|b(a))=/ <$1>\n",
        ),
        (
            "flags",
            "/^Case$/i one\n/^CASE$/ii two\n/^ ( a ) $/x three $1\n/^A$/iii four\n\
             /[[:upper:]]b/i five\n/b/A anchored\n/n$/E end\n/(a+)/U <$1>\n/[A]/ six\n\
             /y./m seven\n/z/s eight\n",
        ),
        ("obsolete", "/a/X x\n/n/imsxAEUX y\n"),
        (
            "ifs",
            "if !/n/\n/a/ y\nif /b/\n/^b/ inner\nendif\nEndif \nIF! !/y/\nif/z/\n/n/ nyz\n\
             endif\n/(n)/ $1$1\nendif\n/n/ outside\n",
        ),
        ("unclosed", "if /a/\nif /b/\n/a/ x\n"),
        (
            "delimiters",
            "|^pipe| p\n\"n\" q\n%%xy%% e\n_m/_ u\n$case$ d\n{b{ b\n.fo. dot\n/^m\\/n$/ slash\n\
             (x( paren\n^1^ caret\n",
        ),
        ("continued", "/a/\n  b\n\n# c\n  /q/ z\n/n/  lead   trail \t \r\n"),
        (
            "bytes",
            "/^\u{e9}$/ e\n/^.\u{a9}/ x\n/^..$/ two\n/(*UTF)^a .$/ utf\n/ (.*)$/ <$1>\u{e9}\n",
        ),
        ("not UTF-8", "/^..$/ two\n/(.).$/ [$1]\n"),
        ("nothing", "/^$/\n/^n/ $$\n"),
        (
            "bad results",
            "/n/ $name\n/n/ $0\n/n/ $\n/n/ $$$\n/n/ ${1\n/n/ ${}\n/n/ $()\n/n/ ${1)\n/n/ ${1x}\n\
             /n/ $1\n/(n)/ $2\n/(n)/ $10\n/(n)/ $1a\n/(n)/ $-\n!/n/ $1\n!/n/ $\n!/n/ $0\n\
             /(n)/ $n$m\n/(n)/ $n$0$\n/(n)/ $5 $0\n!/(n)/ x\n/a(b/x $2\n/(/ $5\n/(/ $n\n",
        ),
        (
            "bad patterns",
            "/(/ x\n/[/ x\n/+a/ x\n/*a/ x\n/a{2,1}/ x\n/[z-a]/ x\n/(a)\\2/ x\n\
             /(\n/()a)/ x\n/(?<n>a/ x\n/a\\/ x\n/(*NOSUCH)a/ x\n",
        ),
        (
            "bad lines",
            "/n/z foo\n/n/$ x\n/n/1 x\n/x(/z y\n/n/ix/ y\n/n/!y z\n/n/!/y z\n/n/!/y/ z\n/n/! z\n\
             /n/i/ x\n// x\n/nodelim x\n/\nabc def\n!\n! !\n!abc\n! abc x\n\\n\\ x\n\u{e9} n \u{e9} x\n\
             {n} x\n/n\\/ x\n",
        ),
        (
            "bad ifs",
            "if\nif !\nendif\nENDIF x\nif /abc\nif abc\nif /abc/z\nif /(/\nif /(/ foo\nif1/a/\n\
             ifx\nif /n/ foo\n/n/ one\nendif bar\nif /a/!/x/\n/b/ two\n endif\nendif/\nendifx\n\
             endif\nif /q/ !\nif /q/!\n/a/ three\n",
        ),
    ] {
        let table = format!("pcre:{}", workshop.file(name, text.as_bytes()));
        workshop.compare(&table, &keys);
    }
    workshop.compare("pcre:/nonexistent/file", &keys);
    // Too much of a search: the rule does not apply.
    let text = "/^(a+)+$/ x\nif !/^(a+)+$/\n/a/ y\nendif\n!/^(a+)+$/ z\n/!/ last\n";
    let table = format!("pcre:{}", workshop.file("hard", text.as_bytes()));
    workshop.compare(&table, &[&format!("{}!", "a".repeat(40)), "aaa"]);
}

#[test]
fn cdb_files() {
    let workshop = Workshop::new("cdb");
    let keys = ["key", "KEY", "k2", "k\\ ey", "long", "none", "\u{e9}", ""];
    let long = format!("key value one\nK2 v2\nk\\ ey v\nlong {}\n\u{c9} e\n", "x".repeat(9000));
    for (name, text) in [("empty", ""), ("entries", &long)] {
        // Made without and with the NUL that ends a C string.
        for (variant, options) in [("", &[][..]), ("-nul", &["-N"])] {
            let source = workshop.file(&format!("{name}{variant}"), text.as_bytes());
            let made = command("postmap", &workshop.directory)
                .args(options)
                .arg(format!("cdb:{source}"))
                .status()
                .unwrap();
            assert!(made.success());
            workshop.compare(&format!("cdb:{source}"), &keys);
        }
    }
    workshop.compare("cdb:/nonexistent/file", &keys);
    let entries = fs::read(workshop.directory.join("entries.cdb")).unwrap();
    for (name, content) in [("short", &entries[..2047]), ("zero", &[0; 2048]), ("nothing", &[])] {
        let path = workshop.file(&format!("{name}.cdb"), content);
        workshop.compare(&format!("cdb:{}", path.trim_end_matches(".cdb")), &keys);
    }
}

#[test]
fn sqlite_files() {
    let workshop = Workshop::new("sqlite");
    let database = workshop.directory.join("x.db");
    rusqlite::Connection::open(&database)
        .unwrap()
        .execute_batch(
            "CREATE TABLE t(k, v);
             INSERT INTO t VALUES ('a', '1'), ('a', 'two'), ('b', NULL), ('c', ''), ('d', 3.5),
             ('f', 1e20), ('i', -7), ('it''s', 'q'), ('n', x'610062'), ('u@x.example', 'v@y.z'),
             ('u@x.example', 'plain'), ('g', 'x@'), ('g', '@x'), ('\u{e9}', '\u{e9}'), ('r', 0.1),
             ('r', 1e300), ('r', -1.5e-7), ('r', 100.0);",
        )
        .unwrap();
    let keys = [
        "",
        "a",
        "A",
        "b",
        "c",
        "d",
        "f",
        "i",
        "it's",
        "n",
        "r",
        "u@x.example",
        "g",
        "\u{e9}",
        "\u{c9}",
        "none",
        "@x.example",
        "u@",
        "u@a.b.c",
        "a@b@x.example",
        "%s",
        "\"",
        "'--",
        "127.0.0.1",
    ];
    let select = "query = SELECT v FROM t WHERE k = '%s'";
    for (name, text) in [
        ("plain", select),
        ("format", &format!("{select}\nresult_format = <%s|%S|%%>")),
        ("parts", &format!("{select}\nresult_format = <%u|%d|%U|%D|%1>")),
        ("user", "query = SELECT '%u %U %S'"),
        ("domain", "query = SELECT '%d %D'"),
        ("labels", "query = SELECT '%2 %1'"),
        ("percent", "query = SELECT '100%%'"),
        ("result user", "query = SELECT '%s'\nresult_format = %u"),
        ("result domain", "query = SELECT '%s'\nresult_format = %d"),
        ("of old", "table = t\nselect_field = v\nwhere_field = k"),
        (
            "of old, with more",
            "table = t\nselect_field = v\nwhere_field = k\nadditional_conditions = AND v > 1",
        ),
        ("one", &format!("{select} AND v = '1'\nexpansion_limit = 1")),
        ("negative limit", &format!("{select}\nexpansion_limit = -1")),
        ("domains", "query = SELECT '%s'\ndomain = X.example !a.b.c, other"),
        ("none of a domain", "query = SELECT '%s'\ndomain = !a.b.c a.b.c"),
        ("two statements", "query = SELECT '%s'; SELECT 2"),
        ("empty statement", "query = ; SELECT '%s'"),
        ("several columns", "query = SELECT v, k FROM t WHERE k = '%s'"),
        ("no query", "query ="),
        ("no table", "query =\ntable ="),
        ("no select_field", "table = t"),
        ("no where_field", "table = t\nselect_field = v"),
        ("no format", "query = SELECT 1\nresult_format ="),
        ("no number", "query = SELECT 1\nexpansion_limit = x"),
        ("no limit", "query = SELECT 1\nexpansion_limit ="),
        ("bad query", "query = SELECT '%q'"),
        ("bad end", "query = SELECT %"),
        ("bad format", "query = SELECT 1\nresult_format = %x"),
        ("no assignment", "query"),
        ("twice", "query = SELECT 1\nquery = SELECT 2"),
    ] {
        let text = format!("dbpath = {}\n{text}\n", database.display());
        let table = format!("sqlite:{}", workshop.file(name, text.as_bytes()));
        workshop.compare(&table, &keys);
    }
    let table = format!("sqlite:{}", workshop.file("no path", b"query = SELECT 1\n"));
    workshop.compare(&table, &keys);
    workshop.compare("sqlite:/nonexistent/file", &keys);
}

/// Lines that nobody would write, from pieces of those that somebody would.
#[test]
fn regexp_lines_at_random() {
    const PIECES: [&str; 40] = [
        "/", "/", "/", "/", "/", "!", "!", " ", " ", "a", "b", "n", "^", "$", ".", "*", "(", ")",
        "(a)", "[ab]", "[^", "\\", "\\1", "$1", "$2", "${1}", "$(1)", "$$", "${", "i", "m", "x",
        "if ", "if /", "endif", "\t", "|", "{", "/ x", "\u{e9}",
    ];
    let workshop = Workshop::new("random");
    let mut state = 1_u64;
    let mut below = |limit: usize| {
        // Knuth's MMIX generator; its high bits are the better ones.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % limit
    };
    for round in 0..40 {
        let mut text = String::new();
        for _ in 0..100 {
            for _ in 0..=below(9) {
                text.push_str(PIECES[below(PIECES.len())]);
            }
            // Postfix reads on behind a line that ends in a backslash.
            text.push_str(if text.trim_end().ends_with('\\') { "x\n" } else { "\n" });
        }
        let table = format!("regexp:{}", workshop.file(&format!("r{round}"), text.as_bytes()));
        // Each by itself, as a result that is not UTF-8 ends postmap.
        workshop.compare(&table, &["a"]);
        workshop.compare(&table, &["n ab", "b", "baa", "", "nn"]);
    }
}

#[test]
fn tables_in_their_names() {
    let workshop = Workshop::new("inline");
    let tables = [
        "cidr:{}",
        "cidr:{{10.0.0.0/33 x},{10.0.0.0/8 y}}",
        "cidr:{{!10.0.0.0/8 n},{10.0.0.0/7 y}}",
        "cidr:{{if 10.0.0.0/8},{10.0.0.1 m},{endif}}",
        "cidr:{{#x y}, {},{ },{10.0.0.0/8}, {10.0.0.1 \n z}}",
        "cidr:{10.0.0.0/8 x}",
        "cidr:{{10.0.0.0/8 x}",
        "cidr:{ {10.0.0.0/8 x} foo }",
        "cidr:{{10.0.0.0/8 x}}y",
        "cidr:{{10.0.0.0/8 x}z}",
        "regexp:{}",
        "regexp:{{/a/ x}}",
        "regexp:{ {/a/ x} , {!/b/ y} }",
        "regexp:{{if /a/},{/b/ z},{endif},{/(a)/ ${1}$$}}",
        "regexp:{{if /a/}, {/a/ x}}",
        "regexp:{{#x y}, {},{ },{/x/ }, {/^a{1}$/ \n z}}",
        "regexp:{{/(/ x},{/b/ $z}}",
        "regexp:{{/a/ x\n/b/ y}}",
        "regexp:{{/^10\\.(.)/ r$1}}",
        "regexp:{/a/ x}",
        "regexp:{{/a/ x}",
        "regexp:{{/a/ x}}y",
        "regexp:{{/a/ x}y}",
        "regexp:{{/}/ x}}",
        "regexp:",
        #[cfg(feature = "pcre")]
        "pcre:{}",
        #[cfg(feature = "pcre")]
        "pcre:{ {/a/ x} , {!/b/ y} }",
        #[cfg(feature = "pcre")]
        "pcre:{{if /a/},{/b{2}/ z},{endif},{/(a)/ ${1}$$}}",
        #[cfg(feature = "pcre")]
        "pcre:{{/(/ x},{/b/ $z}}",
        #[cfg(feature = "pcre")]
        "pcre:{/a/ x}",
        #[cfg(feature = "pcre")]
        "pcre:{{/a/ x}",
        #[cfg(feature = "pcre")]
        "pcre:{{/a/ x}}y",
        "environ:x",
        "environ:{x}",
        "internal:x",
        "pipemap:{environ:x, static:y}",
        "sqlite:",
        "cdb:",
        "pipemap:{regexp:{{/^(.)/ <$1>}}, regexp:{{/<(.*)>/ $1$1}}}",
        "unionmap:{regexp:{{/a/ x}}, regexp:{{/./ y}}}",
        "inline:{a=1 b=2}",
        "inline:{ {a = 1 2}, b=3 }",
        "inline:{a=1, a=2}",
        "inline:{a==x}",
        "inline:{A=1}",
        "inline:{,a=1}",
        "inline:{ a={x,y} }",
        "inline:{ {a={ x y }} }",
        "inline:{=a}",
        "inline:{}",
        "inline:{ }",
        "inline:a=1",
        "inline:{a}",
        "inline:{a = 1}",
        "inline:{a=1}x",
        "inline:{a=1",
        "inline:{ {a=1 }",
        "inline:{ {a=1}x }",
        "inline:{ { a b = c } a=2}",
        "inline:{ { a = b } {} }",
        "static:x",
        "static: x ",
        "static:{ x y }",
        "static:{ {x} y}",
        "static:{x",
        "static:{x}y",
        "static:",
        "randmap:{a}",
        "randmap:{ {b c} }",
        "randmap:{}",
        "randmap:{a}b",
        "pipemap:{inline:{a=b},inline:{b=c}}",
        "pipemap:{inline:{b=c},inline:{a=b}}",
        "pipemap:{pipemap:{static:x},inline:{x=y}}",
        "pipemap:{}",
        "pipemap:{a}",
        "pipemap:{foo:bar}",
        "pipemap:{ {inline:{a=b}} }",
        "unionmap:{inline:{a=b},inline:{a=c}, inline:{x=y}}",
        "unionmap:{static:{},static:a}",
        "unionmap:{static:{}}",
        "unionmap:x",
        "nosuchtype:bar",
        ":x",
        "x:",
    ];
    // At once, because a refusal takes postmap a second.
    thread::scope(|scope| {
        for table in tables {
            let workshop = &workshop;
            scope.spawn(move || {
                workshop.compare(table, &["a", "b", "x", "10.0.0.1", "11.0.0.1", "HOME", "path"]);
            });
        }
    });
}

/// Makes a database of a text, perhaps as a Postfix without SMTPUTF8.
fn build(workshop: &Workshop, kind: &str, name: &str, text: &[u8], smtputf8: bool) -> String {
    let table = format!("{kind}:{}", workshop.file(name, text));
    let config = if smtputf8 { "" } else { "ascii" };
    fs::create_dir_all(workshop.directory.join("ascii")).unwrap();
    workshop.file("ascii/main.cf", b"compatibility_level = 3.6\nsmtputf8_enable = no\n");
    let status = Command::new("/usr/sbin/postmap")
        .arg(&table)
        .env("MAIL_CONFIG", workshop.directory.join(config))
        .stderr(Stdio::null())
        .status()
        .expect("postmap(1) runs");
    assert!(status.success(), "{table}: {status}");
    table
}

#[test]
fn databases() {
    let keys = [
        "",
        "key",
        "KEY",
        "\"quoted key\"",
        "quoted key",
        "key2",
        "KEY2",
        "k\\ ey",
        "k6",
        "colon:",
        "colon",
        "a",
        "b",
        "\"a\tb\"",
        "\"a",
        "127.0.0.5",
        "2001:db8::5",
        "2001:DB8::5",
        "many-7",
        "many-2999",
        "many-3000",
        "\u{e9}",
        "\u{c9}",
    ];
    let many: String = (0..3000).map(|n| format!("many-{n} value {n}\n")).collect();
    let texts: [(&str, &[u8]); 4] = [
        ("empty", b""),
        (
            "entries",
            b"key  value one\n\"quoted key\" v2\nKEY2 v3\nk\\ ey v4\nk6\ttab\tvalue  \n cont\n\
              colon: v7\nonlykey\n\"unbal value x\n\"a\tb\" v8\n127.0.0.5 reject\n\
              2001:db8::5 permit\n\xc3\xa9 e\n",
        ),
        ("duplicates", b"a 1\nb 2\nA 3\n"),
        ("many", many.as_bytes()),
    ];
    // At once, because a refusal takes postmap a second.
    let compare = |kind: &str| {
        let workshop = Workshop::new(kind);
        // An empty key ends postmap, if the table is LMDB's.
        let keys = if kind == "lmdb" { &keys[1..] } else { &keys[..] };
        for (name, text) in texts {
            let table = build(&workshop, kind, name, text, true);
            workshop.compare(&table, keys);
        }
        // Bytes that only a Postfix without SMTPUTF8 lets into a table.
        let table = build(&workshop, kind, "bytes", b"key caf\xe9\nok fine\n", false);
        workshop.compare(&table, &["ok"]);
        workshop.compare(&table, &["key"]);

        let suffix = if kind == "lmdb" { "lmdb" } else { "db" };
        let table = build(&workshop, kind, "old", b"a b\n", true);
        let old = workshop.directory.join(format!("old.{suffix}"));
        let long_ago = SystemTime::now() - Duration::from_secs(7200);
        File::options().write(true).open(old).unwrap().set_modified(long_ago).unwrap();
        workshop.compare(&table, &["a"]);

        workshop.compare(&format!("{kind}:/nonexistent/file"), &["a"]);
        let junk: Vec<u8> = (0..8192_u32).map(|n| (n * n % 251).to_le_bytes()[0]).collect();
        workshop.file(&format!("junk.{suffix}"), &junk);
        workshop.compare(&format!("{kind}:{}/junk", workshop.directory.display()), &["a"]);
    };
    thread::scope(|scope| {
        for kind in ["hash", "btree", "lmdb"] {
            scope.spawn(move || compare(kind));
        }
    });
    // The other type in the same file.
    let workshop = Workshop::new("types");
    let hash = build(&workshop, "hash", "one", b"a b\n", true);
    workshop.compare(&hash.replace("hash:", "btree:"), &["a"]);
    let btree = build(&workshop, "btree", "two", b"a b\n", true);
    workshop.compare(&btree.replace("btree:", "hash:"), &["a"]);
}
