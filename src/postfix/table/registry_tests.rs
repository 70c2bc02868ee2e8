use super::*;
use crate::postfix::table::test_files::Files;
use crate::postfix::table::{Answer, RemoteAnswer, RemoteQuestion};

/// One table, and what was said about opening it.
fn open(spec: &str, files: &Files) -> (Tables, TableId, Vec<Message>) {
    let mut tables = Tables::new(false);
    let mut messages = Vec::new();
    let id = tables.open(spec, OpenOptions::FOLDED, files, &mut messages).unwrap();
    (tables, id, messages)
}

fn query(tables: &Tables, id: TableId, key: &str) -> (String, Vec<String>) {
    let mut warnings = Vec::new();
    let answer = match tables.alone().lookup(id, key, &mut warnings) {
        Answer::Found(value) => format!("={value}"),
        Answer::NotFound => "none".into(),
        Answer::Failed => "failed".into(),
        Answer::Asked(question) => format!("asks {}", String::from_utf8_lossy(&question.key)),
    };
    (answer, warnings.into_iter().map(|warning| warning.text).collect())
}

fn answer(spec: &str, key: &str) -> String {
    let (tables, id, messages) = open(spec, &Files::new([]));
    assert_eq!(messages, []);
    query(&tables, id, key).0
}

#[test]
fn each_table_is_opened_once_per_options() {
    let files = Files::new([("/f", "a b\nA c\n")]);
    let (mut tables, id, mut messages) = open("texthash:/f", &files);
    let mut again = |options| tables.open("texthash:/f", options, &files, &mut messages).unwrap();
    assert_eq!(again(OpenOptions::FOLDED), id);
    let exact = again(OpenOptions::EXACT);
    assert_ne!(exact, id);
    assert_eq!(messages, [Message::error("/f, line 2: duplicate entry: \"A\"")]);
    assert_eq!(query(&tables, exact, "A").0, "=c");
    assert_eq!(
        query(&tables, id, "a"),
        (
            "failed".into(),
            vec!["texthash:/f is unavailable. /f, line 2: duplicate entry: \"A\"".into()]
        )
    );
    assert_eq!(tables.watched(), [Path::new("/f")]);
    assert_eq!(tables.spec(id), "texthash:/f");
}

#[test]
fn unusable_tables_fail_every_lookup() {
    for (spec, reason) in [
        ("foo:bar", "unsupported dictionary type: foo"),
        ("hash:/x", "unsupported dictionary type: hash"),
        ("regexp:/x", "open /x: No such file or directory"),
        ("regexp:{/a/ x}", "regexp map: no '{' at start of text in \"/a/\""),
        ("{inline:x", "unsupported dictionary type: {inline"),
        ("cidr:/x", "open /x: No such file or directory"),
        ("texthash:/x", "open database /x: No such file or directory"),
        ("cidr:{10.0.0.0/8 x}", "cidr map: no '{' at start of text in \"10.0.0.0/8\""),
        (
            "inline:{a}",
            "missing '=' after attribute name: \"inline:{a}\"; need \"inline:{name=value...}\"",
        ),
        ("static:{x", "bad static:name syntax: missing '}' in \"{x\""),
        ("randmap:{}", "bad syntax: \"randmap:{}\"; need \"randmap:{value...}\""),
        ("pipemap:{}", "bad syntax: \"pipemap:{}\"; need \"pipemap:{type:name...}\""),
        ("pipemap:{a}", "bad syntax: \"pipemap:{a}\"; need \"pipemap:{type:name...}\""),
        ("unionmap:x", "bad syntax: \"unionmap:x\"; need \"unionmap:{type:name...}\""),
    ] {
        let (tables, id, messages) = open(spec, &Files::new([]));
        assert_eq!(messages, [Message::error(reason)]);
        let warning = format!("{spec} is unavailable. {reason}");
        assert_eq!(query(&tables, id, "k"), ("failed".into(), vec![warning]));
        let mut strict = Tables::new(true);
        let error = strict.open(spec, OpenOptions::FOLDED, &Files::new([]), &mut Vec::new());
        assert_eq!(error.unwrap_err().message(), Message::fatal(reason));
    }
}

#[test]
fn type_and_name_are_required() {
    for spec in ["foo", ":x", "x:", "::/0", "", "static:", "pipemap:{:x}"] {
        let mut tables = Tables::new(false);
        let error =
            tables.open(spec, OpenOptions::EXACT, &Files::new([]), &mut Vec::new()).unwrap_err();
        let named = if spec.starts_with("pipemap") { ":x" } else { spec };
        assert_eq!(
            error.to_string(),
            format!("open dictionary: expecting \"type:name\" form instead of \"{named}\"")
        );
    }
}

#[test]
fn pipes_and_unions() {
    assert_eq!(answer("pipemap:{inline:{a=b},inline:{b=c}}", "a"), "=c");
    assert_eq!(answer("pipemap:{inline:{b=c},inline:{a=b}}", "a"), "none");
    assert_eq!(answer("pipemap:{pipemap:{static:x},inline:{x=y}}", "a"), "=y");
    assert_eq!(answer("pipemap:{static:a fail:b}", "a"), "failed");
    assert_eq!(answer("pipemap:{inline:{c=d} fail:b}", "a"), "none");
    assert_eq!(answer("unionmap:{inline:{a=b},inline:{a=c}, inline:{x=y}}", "a"), "=b,c");
    assert_eq!(answer("unionmap:{inline:{a=b},fail:x}", "a"), "failed");
    assert_eq!(answer("unionmap:{static:{},static:a}", "a"), "=a");
    assert_eq!(answer("unionmap:{static:{}}", "a"), "none");
    assert_eq!(answer("cidr:{{10.0.0.0/8 x}}", "10.0.0.1"), "=x");
    assert_eq!(answer("static:x", "a"), "=x");
    assert_eq!(answer("regexp:{{/^(.)/ $1$1}}", "a"), "=aa");
    assert_eq!(answer("pipemap:{regexp:{{/^(.)/ <$1>}},regexp:{{/<(.*)>/ $1$1}}}", "ab"), "=aa");

    let (tables, id, messages) = open("unionmap:{inline:{a=b},foo:x}", &Files::new([]));
    assert_eq!(messages, [Message::error("unsupported dictionary type: foo")]);
    let warning = "foo:x is unavailable. unsupported dictionary type: foo".to_owned();
    assert_eq!(query(&tables, id, "a"), ("failed".into(), vec![warning]));
}

#[test]
fn nesting_has_an_end() {
    let deep = "pipemap:{".repeat(20_000) + "static:x" + &"}".repeat(20_000);
    let (tables, id, messages) = open(&deep, &Files::new([]));
    assert_eq!(messages, [Message::error("pipemap: tables nested too deeply")]);
    assert_eq!(query(&tables, id, "a").0, "failed");
}

#[test]
fn content_changes_in_place() {
    let files = Files::new([("/c", "10.0.0.0/8 old\n"), ("/t", "a old\n")]);
    let (mut tables, cidr, mut messages) = open("cidr:/c", &files);
    let spec = "pipemap:{texthash:/t,inline:{old=OLD,new=NEW}}";
    let pipe = tables.open(spec, OpenOptions::EXACT, &files, &mut messages).unwrap();
    assert_eq!(tables.watched(), [Path::new("/c"), Path::new("/t")]);
    assert_eq!(query(&tables, pipe, "a").0, "=OLD");

    assert_eq!(
        tables.reload(Path::new("/c"), b"10.0.0.0/8 new\nx\n"),
        [Message::warning("cidr map /c, line 2: bad address pattern: \"x\": skipping this rule")]
    );
    assert_eq!(query(&tables, cidr, "10.0.0.1").0, "=new");
    assert_eq!(tables.reload(Path::new("/t"), b"a new\n"), []);
    assert_eq!(query(&tables, pipe, "a").0, "=NEW");

    let regexp = tables
        .open("regexp:/r", OpenOptions::EXACT, &Files::new([("/r", "/a/ old\n")]), &mut messages)
        .unwrap();
    assert_eq!(query(&tables, regexp, "a").0, "=old");
    assert_eq!(
        tables.reload(Path::new("/r"), b"/b/ new\n/(/ x\n"),
        [Message::warning("regexp map /r, line 2: Unmatched ( or \\(")]
    );
    assert_eq!(query(&tables, regexp, "a").0, "none");
    assert_eq!(query(&tables, regexp, "b").0, "=new");

    // What makes no table changes nothing.
    assert_eq!(
        tables.reload(Path::new("/t"), b"a old\na new\n"),
        [Message::warning("/t, line 2: duplicate entry: \"a\"; texthash:/t stays as it was")]
    );
    assert_eq!(query(&tables, pipe, "a").0, "=NEW");
    assert_eq!(tables.reload(Path::new("/other"), b"x"), []);
}

#[test]
fn missing_file_may_come_later() {
    let (mut tables, id, messages) = open("cidr:/c", &Files::new([]));
    assert_eq!(messages, [Message::error("open /c: No such file or directory")]);
    assert_eq!(tables.watched(), [Path::new("/c")]);
    assert_eq!(tables.reload(Path::new("/c"), b"10.0.0.0/8 x\n"), []);
    assert_eq!(query(&tables, id, "10.0.0.1"), ("=x".into(), vec![]));

    let (mut tables, id, _) = open("texthash:/t", &Files::new([]));
    let duplicate = "/t, line 2: duplicate entry: \"a\"";
    assert_eq!(tables.reload(Path::new("/t"), b"a b\na b\n"), [Message::warning(duplicate)]);
    let warning = format!("texthash:/t is unavailable. {duplicate}");
    assert_eq!(query(&tables, id, "a"), ("failed".into(), vec![warning]));
}

#[test]
fn tables_elsewhere_are_asked_and_their_answers_remembered() {
    let files = Files::new([("/second", "one eins\n")]);
    let (mut tables, mut messages) = (Tables::new(false), Vec::new());
    let mut open = |spec| tables.open(spec, OpenOptions::FOLDED, &files, &mut messages).unwrap();
    let proxied = open("proxy:hash:/x");
    let pipe = open("pipemap:{proxy:hash:/x, texthash:/second}");
    let union = open("unionmap:{static:a, proxy:hash:/x, proxy:hash:/x, static:b}");
    assert_eq!(messages, []);
    let question = RemoteQuestion { table: proxied, key: b"key".as_slice().into() };
    let mut warnings = Vec::new();
    for id in [proxied, pipe, union] {
        let answer = tables.alone().lookup(id, "key", &mut warnings);
        assert_eq!(answer, Answer::Asked(question.clone()));
    }
    let mut say = |id, answer| {
        let known = [(question.clone(), answer)];
        let answer = tables.with(&known).lookup(id, "key", &mut warnings);
        match answer {
            Answer::Found(value) => Some(Some(value.into_owned())),
            Answer::NotFound => Some(None),
            Answer::Failed | Answer::Asked(_) => None,
        }
    };
    let found = || RemoteAnswer::Found("one".to_owned());
    assert_eq!(say(proxied, found()), Some(Some("one".to_owned())));
    assert_eq!(say(pipe, found()), Some(Some("eins".to_owned())));
    assert_eq!(say(union, found()), Some(Some("a,one,one,b".to_owned())));
    assert_eq!(say(proxied, RemoteAnswer::NotFound), Some(None));
    assert_eq!(say(union, RemoteAnswer::NotFound), Some(Some("a,b".to_owned())));
    for id in [proxied, pipe, union] {
        assert_eq!(say(id, RemoteAnswer::Failed), None);
    }
    assert_eq!(warnings, []);
    assert_eq!(tables.remote(pipe), None);
    assert!(tables.remote(proxied).is_some());
}

/// Databases whose content is made of their names, or missing.
struct Databases;

impl FileSource for Databases {
    fn read(&self, _path: &Path) -> std::io::Result<Vec<u8>> {
        Err(std::io::Error::from_raw_os_error(2))
    }

    fn snapshot(&self, index: &Index, messages: &mut Vec<Message>) -> Result<Vec<u8>, String> {
        if index.name == "/missing" {
            return Err("open database /missing.db: No such file or directory".into());
        }
        messages.push(Message::warning("old"));
        Ok(format!("key\tof {index}\n").into_bytes())
    }
}

#[test]
fn databases_are_snapshots() {
    let mut tables = Tables::new(false);
    let mut messages = Vec::new();
    let mut open =
        |spec: &str, options| tables.open(spec, options, &Databases, &mut messages).unwrap();
    let hash = open("hash:/x", OpenOptions::FOLDED);
    let exact = open("hash:/x", OpenOptions::EXACT);
    let lmdb = open("pipemap:{inline:{a=key} lmdb:/x}", OpenOptions::FOLDED);
    let missing = open("btree:/missing", OpenOptions::FOLDED);
    let reason = "open database /missing.db: No such file or directory";
    let old = Message::warning("old");
    assert_eq!(messages, [old.clone(), old.clone(), old, Message::error(reason)]);
    assert_eq!(query(&tables, hash, "KEY").0, "=of hash:/x");
    assert_eq!(query(&tables, exact, "KEY").0, "none");
    assert_eq!(query(&tables, lmdb, "a").0, "=of lmdb:/x");
    let unavailable = format!("btree:/missing is unavailable. {reason}");
    assert_eq!(query(&tables, missing, "key"), ("failed".into(), vec![unavailable]));

    let names: Vec<String> = tables.indexes().iter().map(Index::to_string).collect();
    assert_eq!(names, ["hash:/x", "lmdb:/x", "btree:/missing"]);
    assert_eq!(tables.watched(), Vec::<PathBuf>::new());
    let reload = |tables: &mut Tables, number: usize, text: &str| {
        let index = tables.indexes()[number].clone();
        tables.reload_index(&index, text.as_bytes());
    };
    reload(&mut tables, 0, "KEY\tnew\n");
    reload(&mut tables, 2, "key\tthere\n");
    assert_eq!(query(&tables, hash, "KEY").0, "none");
    assert_eq!(query(&tables, exact, "KEY").0, "=new");
    assert_eq!(query(&tables, lmdb, "a").0, "=of lmdb:/x", "not touched");
    assert_eq!(query(&tables, missing, "key").0, "=there");
}

#[test]
fn tables_that_are_too_many_are_forgotten() {
    let (mut tables, id, _) = open("inline:{a=b}", &Files::new([]));
    let count = tables.count();
    let mut messages = Vec::new();
    let options = OpenOptions::FOLDED;
    tables.open("cidr:/x", options, &Databases, &mut messages).unwrap();
    tables.forget_beyond(count);
    assert_eq!(tables.watched(), Vec::<PathBuf>::new());
    tables.open("cidr:/x", options, &Databases, &mut messages).unwrap();
    assert_eq!(messages.len(), 2, "opened once more");
    assert_eq!(query(&tables, id, "a").0, "=b");
}

/// A table that holds a file open.
#[derive(Debug)]
struct Holding(PathBuf);

impl Table for Holding {
    fn lookup(&self, _key: &[u8], _warnings: &mut Vec<Message>) -> Answer<'_> {
        Answer::NotFound
    }

    fn held_file(&self) -> Option<&Path> {
        Some(&self.0)
    }
}

#[test]
fn held_files_are_known() {
    let (mut tables, _, _) = open("static:x", &Files::new([]));
    assert_eq!(tables.held_files(), []);
    tables.entries[0].content = table(Holding("/db".into()));
    assert_eq!(tables.held_files(), [("static:x".to_owned(), PathBuf::from("/db"))]);
}
