use super::*;

const NAME: &str = "/x.cf";

fn parse(text: &str) -> Result<SqliteConfig, String> {
    let mut messages = Vec::new();
    let text = format!("dbpath = /x.db\n{text}");
    let config = SqliteConfig::parse(NAME, text.as_bytes(), &mut messages);
    assert_eq!(messages, []);
    config.map_err(|error| error.to_string())
}

fn query(template: &str, key: &str) -> Option<String> {
    parse(&format!("query = {template}\n")).unwrap().query(key, &mut Vec::new())
}

fn result(format: &str, key: &str, result: &str) -> Option<String> {
    let config = parse(&format!("query = q\nresult_format = {format}\n")).unwrap();
    config.query(key, &mut Vec::new())?;
    let mut results = Vec::new();
    config
        .add_result(key, result.as_bytes(), &mut results, &mut Vec::new())
        .then(|| String::from_utf8(results).unwrap())
}

#[test]
fn queries() {
    for (template, key, expected) in [
        ("SELECT '%s' '%S' %%", "it's", Some("SELECT 'it''s' 'it''s' %")),
        ("'%u' '%U' '%d' '%D'", "a@b@c.d", Some("'a@b' 'a@b' 'c.d' 'c.d'")),
        ("'%u'", "a", Some("'a'")),
        ("'%u'", "@b", None),
        ("'%d'", "a", None),
        ("'%d'", "a@", None),
        ("'%d'", "@b", Some("'b'")),
        ("'%1' '%3'", "u@a.b.c", Some("'c' 'a'")),
        ("'%1' '%3'", "u@a..b.", None),
        ("'%2'", "u@a..b.", Some("'a'")),
        ("'%2'", "u", None),
        ("'%s'", "", None),
    ] {
        assert_eq!(query(template, key).as_deref(), expected, "{template} {key}");
    }
}

#[test]
fn results() {
    let format = "<%s|%u|%d|%S|%U|%D|%1|%%>";
    let expected = "<val@res.example|val|res.example|u@x.example|u|x.example|example|%>";
    assert_eq!(result(format, "u@x.example", "val@res.example").as_deref(), Some(expected));
    // What the format wants of a key decides about the query.
    assert_eq!(result("%D", "u", "v"), None);
    assert_eq!(result("%d", "u", "v"), None);
    assert_eq!(result("%d", "u", "x@"), None);
    assert_eq!(result("%u", "u", "@x"), None);
    assert_eq!(result("%u", "u", "v").as_deref(), Some("v"));
    assert_eq!(result("'%s'", "u", "it's").as_deref(), Some("'it's'"));

    let config = parse("query = q\n").unwrap();
    let (mut results, mut warnings) = (Vec::new(), Vec::new());
    for text in ["a", "", "b\0c"] {
        config.add_result("k", text.as_bytes(), &mut results, &mut warnings);
    }
    assert_eq!(results, b"a,b");
    let text = "table \"sqlite:/x.cf\": empty lookup result for: \"k\" -- ignored";
    assert_eq!(warnings, [Message::warning(text)]);
}

#[test]
fn queries_of_old() {
    let old = "table = t\nselect_field = v\nwhere_field = k\nadditional_conditions = AND 1\n";
    let query = parse(old).unwrap().query("a", &mut Vec::new());
    assert_eq!(query.as_deref(), Some("SELECT v FROM t WHERE k='a' AND 1"));
}

#[test]
fn what_is_wrong_with_a_file() {
    for (text, error) in [
        ("", "/x.cf: bad string length 0 < 1: table = "),
        ("query =\ntable = t\n", "/x.cf: bad string length 0 < 1: select_field = "),
        ("table = t\nselect_field = v\n", "/x.cf: bad string length 0 < 1: where_field = "),
        ("query = q\nresult_format =\n", "/x.cf: bad string length 0 < 1: result_format = "),
        ("query = q %\n", "db_common_parse: /x.cf: Invalid query template: q %"),
        ("query = %q\n", "db_common_parse: /x.cf: Invalid query template: %q"),
        ("query = %0\n", "db_common_parse: /x.cf: Invalid query template: %0"),
        ("query = q\nresult_format = %z\n", "db_common_parse: /x.cf: Invalid result template: %z"),
        (
            "query = q\nexpansion_limit = x\n",
            "/x.cf: bad numerical configuration: expansion_limit = x",
        ),
        ("foo\n", "/x.cf, line 2: missing '=' after attribute name: \"foo\""),
    ] {
        let mut messages = Vec::new();
        let text = format!("dbpath = /x.db\n{text}");
        let found = SqliteConfig::parse(NAME, text.as_bytes(), &mut messages).unwrap_err();
        assert_eq!(found.to_string(), error);
    }
    let found = SqliteConfig::parse(NAME, b"", &mut Vec::new()).unwrap_err();
    assert_eq!(found.to_string(), "/x.cf: bad string length 0 < 1: dbpath = ");
}

#[test]
fn limits() {
    for (text, exceeded) in [("", false), ("expansion_limit = 0", false)] {
        assert_eq!(parse(&format!("query = q\n{text}")).unwrap().exceeds_limit(9), exceeded);
    }
    let config = parse("query = q\nexpansion_limit = 2\n").unwrap();
    assert_eq!([1, 2, 3].map(|count| config.exceeds_limit(count)), [false, false, true]);
}

#[test]
fn domains() {
    use Scope::{Inside, Outside, Unknown};
    for (list, key, expected) in [
        ("", "a", Inside),
        ("x.example", "a@X.example", Inside),
        ("x.example", "a@y.example", Outside),
        ("x.example", "a", Outside),
        ("x.example", "@x.example", Outside),
        ("x.example", "a@", Outside),
        ("x.example", "@@x.example", Inside),
        ("!x.example, x.example", "a@x.example", Outside),
        ("!!x.example", "a@x.example", Inside),
        ("hash:/x", "a@x.example", Unknown),
        ("hash:/x", "a", Outside),
        ("/x", "a@x.example", Unknown),
    ] {
        let config = parse(&format!("query = q\ndomain = {list}\n")).unwrap();
        assert_eq!(config.scope(key), expected, "{list} {key}");
    }
}

#[test]
fn places_without_quotes() {
    for (query, expected) in [
        ("'%s'", &[][..]),
        ("%s '%u' \"%d\" %% '%% %1'", &["%s", "%d"]),
        ("'it''s %s' %", &[]),
        ("a '\"' %s", &["%s"]),
        ("%\u{e9} %", &[]),
    ] {
        assert_eq!(unquoted_places(query), expected, "{query}");
    }
    let mut messages = Vec::new();
    let text = b"dbpath = /x.db\nquery = SELECT %s\n";
    SqliteConfig::parse(NAME, text, &mut messages).unwrap();
    let text = "sqlite:/x.cf: query >SELECT %s< contains >%s< without the recommended '' quotes";
    assert_eq!(messages, [Message::warning(text)]);
}
