//! The same questions to our tables and to Postfix's, through postmap(1): values,
//! warnings and reasons for refusal must be equal.

// Tests and their helpers may fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use gatepost::postfix::message::{Level, Message};
use gatepost::postfix::table::{Answer, DiskFiles, Duplicates, OpenOptions, Tables};

/// postmap opens its tables like this.
const LIKE_POSTMAP: OpenOptions = OpenOptions { fold_keys: true, duplicates: Duplicates::Warn };

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
        let ours = gatepost(table, keys);
        assert_eq!(ours, theirs, "left: Gatepost, right: postmap; table {table}");
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn postmap(config: &Path, table: &str, keys: &[&str]) -> Outcome {
    let mut child = Command::new("postmap")
        .args(["-q", "-", table])
        .env("MAIL_CONFIG", config)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
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
        .map(|line| line.strip_prefix("postmap: ").unwrap_or(line).to_owned())
        .collect();
    (messages, lines(&output.stdout))
}

fn gatepost(table: &str, keys: &[&str]) -> Outcome {
    // As postmap has it: a table that cannot be opened is fatal.
    let mut tables = Tables::new(true);
    let mut messages = Vec::new();
    let mut values = Vec::new();
    match tables.open(table, LIKE_POSTMAP, &DiskFiles, &mut messages) {
        Err(error) => messages.push(error.message()),
        Ok(id) => {
            for key in keys {
                match tables.lookup(id, key, &mut messages) {
                    Answer::Found(value) => values.push(format!("{key}\t{value}")),
                    Answer::NotFound => {}
                    Answer::Failed => panic!("{table} fails"),
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
                workshop.compare(table, &["a", "b", "x", "10.0.0.1", "11.0.0.1"]);
            });
        }
    });
}
