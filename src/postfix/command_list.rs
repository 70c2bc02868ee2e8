//! Lists of command words: main.cf `postscreen_forbidden_commands`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::match_list::{Decision, ListError, MatchList, Membership, Pattern, Patterns};
use super::message::Message;
use super::table::{FileSource, OpenOptions, RemoteQuestion, TableView, Tables};

/// A list of words in any letter case, tables, and files with more of both.
#[derive(Clone, Debug)]
pub struct CommandList {
    list: MatchList<Words>,
    letters: Letters,
}

/// Which letters have an upper and a lower case (main.cf: `smtputf8_enable`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Letters {
    /// Those of ASCII; any byte is as good as another.
    Ascii,
    /// Those of Unicode; words are UTF-8.
    Unicode,
}

/// Words as written.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Words(Vec<Pattern>);

/// The word that is looked for.
struct Subject<'a> {
    /// In lower case.
    key: &'a [u8],
    letters: Letters,
}

impl CommandList {
    /// Reads a list. `label` is the parameter that messages name; what is wrong with
    /// tables and files is added to `messages`.
    ///
    /// # Errors
    ///
    /// If the service cannot start with this list.
    pub fn parse(
        label: &str,
        text: &str,
        letters: Letters,
        tables: &mut Tables,
        files: &dyn FileSource,
        messages: &mut Vec<Message>,
    ) -> Result<CommandList, ListError> {
        let utf8_values = letters == Letters::Unicode;
        let options = OpenOptions { utf8_values, ..OpenOptions::EXACT };
        let list = MatchList::open(label, text, options, tables, files, messages)?;
        Ok(CommandList { list, letters })
    }

    /// Whether the word is on the list. Not if there is trouble, which is added to
    /// `warnings`. Tables are asked for the word in lower case.
    ///
    /// # Errors
    ///
    /// A question that has to be answered first.
    pub fn has(
        &self,
        tables: TableView<'_>,
        word: &[u8],
        warnings: &mut Vec<Message>,
    ) -> Result<bool, RemoteQuestion> {
        let key = lower_case(word, self.letters);
        let subject = Subject { key: &key, letters: self.letters };
        match self.list.ask(tables, &subject, warnings) {
            Membership::Member => Ok(true),
            Membership::Stranger | Membership::Unknown => Ok(false),
            Membership::Asked(question) => Err(question),
        }
    }

    /// See [`MatchList::watched`].
    pub fn watched(&self) -> Vec<PathBuf> {
        self.list.watched()
    }

    /// See [`MatchList::reload`].
    pub fn reload(
        &mut self,
        path: &Path,
        text: &[u8],
        tables: &mut Tables,
        files: &dyn FileSource,
    ) -> Vec<Message> {
        self.list.reload(path, text, tables, files)
    }
}

impl Patterns for Words {
    type Subject<'a> = Subject<'a>;

    fn new(patterns: Vec<Pattern>) -> Words {
        Words(patterns)
    }

    fn key<'a>(subject: &'a Subject<'_>) -> &'a [u8] {
        subject.key
    }

    fn decide(&self, subject: &Subject<'_>) -> Result<Option<Decision>, &str> {
        let found = self.0.iter().find(|word| is_same(&word.text, subject));
        Ok(found.map(|word| word.decision))
    }
}

fn is_same(word: &str, subject: &Subject<'_>) -> bool {
    let ascii = word.as_bytes().eq_ignore_ascii_case(subject.key);
    match (subject.letters, str::from_utf8(subject.key)) {
        (Letters::Unicode, Ok(key)) if !ascii => in_lower_case(word).eq(key.chars()),
        _ => ascii,
    }
}

fn lower_case(word: &[u8], letters: Letters) -> Cow<'_, [u8]> {
    match (letters, str::from_utf8(word)) {
        (Letters::Unicode, Ok(text)) if !text.is_ascii() => {
            Cow::Owned(in_lower_case(text).collect::<String>().into_bytes())
        }
        _ if word.iter().any(u8::is_ascii_uppercase) => Cow::Owned(word.to_ascii_lowercase()),
        _ => Cow::Borrowed(word),
    }
}

fn in_lower_case(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postfix::lists::Vintage;
    use crate::postfix::table::test_files::Files;

    const DEFAULT: &str = "CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}";

    fn read(text: &str, letters: Letters, files: &Files) -> (CommandList, Tables, Vec<Message>) {
        let (mut tables, mut messages) = (Tables::new(false), Vec::new());
        let list = CommandList::parse("p", text, letters, &mut tables, files, &mut messages);
        (list.unwrap(), tables, messages)
    }

    #[track_caller]
    fn check(text: &str, letters: Letters, on: &[&[u8]], off: &[&[u8]]) {
        let files = Files::new([
            ("/words", "one two\n# three\n  four\n!five\nFIVE"),
            ("/upper", "UPPER x\n"),
            ("/lower", "lower x\n"),
        ]);
        let (list, tables, messages) = read(text, letters, &files);
        assert_eq!(messages, []);
        let mut warnings = Vec::new();
        for word in on {
            assert_eq!(list.has(tables.alone(), word, &mut warnings), Ok(true), "{word:?}");
        }
        for word in off {
            assert_eq!(list.has(tables.alone(), word, &mut warnings), Ok(false), "{word:?}");
        }
        assert_eq!(warnings, []);
    }

    #[test]
    fn the_default_list() {
        let both: [&[u8]; 7] = [b"get", b"POST", b"Connect", b"123", b"\tNOOP", b":", b"\xc3\xa9"];
        let off: [&[u8]; 4] = [b"foo", b"GETTER", b"", b"X"];
        check(DEFAULT, Letters::Unicode, &both, &off);
        check(DEFAULT, Letters::Ascii, &both, &off);
        check(DEFAULT, Letters::Ascii, &[b"\xff\xfe"], &[b"foo\xff"]);
    }

    #[test]
    fn words_files_and_tables() {
        check("/words", Letters::Unicode, &[b"ONE", b"two", b"Four"], &[b"three", b"#", b"five"]);
        check("!/words other", Letters::Unicode, &[b"five", b"other"], &[b"one", b"two"]);
        // Tables are asked in lower case, whatever theirs is.
        let tables = "texthash:/upper, texthash:/lower inline:{inl=, INU=}";
        check(tables, Letters::Unicode, &[b"Lower", b"INL"], &[b"UPPER", b"upper", b"INU"]);
        check("regexp:{{/^A$/i x}, {/^b$/i y}}", Letters::Unicode, &[b"B"], &[b"A", b"a"]);
        check("!static:x all", Letters::Unicode, &[], &[b"all"]);
    }

    #[test]
    fn the_first_item_that_matches_decides() {
        check("!Worse worse bad !bad", Letters::Unicode, &[b"BAD"], &[b"WORSE", b"other"]);
        check("!!bad", Letters::Unicode, &[b"bad"], &[]);
    }

    #[test]
    fn letters_of_ascii_and_of_unicode() {
        let (lower, mixed) = ("\u{fc}n\u{ef}", "\u{dc}N\u{cf}");
        let words = [lower.as_bytes(), mixed.as_bytes()];
        for list in [lower, mixed] {
            check(list, Letters::Unicode, &words, &[]);
        }
        check(lower, Letters::Ascii, &words[..1], &words[1..]);
        check(mixed, Letters::Ascii, &[words[1], "\u{dc}n\u{cf}".as_bytes()], &words[..1]);
    }

    #[test]
    fn trouble_counts_as_no_match() {
        for (table, reasons) in [
            ("fail:x", vec![]),
            ("foo:x", vec!["foo:x is unavailable. unsupported dictionary type: foo"]),
            (
                "/none",
                vec![
                    "non-existent:/none is unavailable. open file /none: No such file or directory",
                ],
            ),
            (
                "regexp:{{/^(wide.)/ $1}}",
                vec![
                    "regexp:{{/^(wide.)/ $1}}: key \"wide\u{e9}\": non-UTF-8 value \"wide?\": \
                     malformed UTF-8 or invalid codepoint",
                ],
            ),
        ] {
            let list = format!("bad {table} worse");
            let (list, tables, _) = read(&list, Letters::Unicode, &Files::new([]));
            let mut warnings = Vec::new();
            assert_eq!(list.has(tables.alone(), b"BAD", &mut warnings), Ok(true));
            assert_eq!(warnings, []);
            assert_eq!(list.has(tables.alone(), "wide\u{e9}".as_bytes(), &mut warnings), Ok(false));
            let name = if table == "/none" { "non-existent:/none" } else { table };
            let problem = format!("p: {name}: table lookup problem");
            let texts: Vec<&str> = warnings.iter().map(|warning| warning.text.as_str()).collect();
            assert_eq!(texts, [reasons, vec![&problem]].concat());
        }
        // Without the demand for UTF-8, the same result is one like any other.
        check("regexp:{{/^(wide.)/ $1}}", Letters::Ascii, &[b"wide\xc3\xa9"], &[]);
    }

    #[test]
    fn files_have_logical_lines_since_3_8() {
        let files = Files::new([("/words", "one\n# two\n  three, !four\n  # five\nsix")]);
        let on = |vintage: Vintage, word: &[u8]| {
            let (mut tables, mut messages) = (Tables::new(false).of(vintage), Vec::new());
            let letters = Letters::Ascii;
            let list =
                CommandList::parse("p", "/words", letters, &mut tables, &files, &mut messages);
            list.unwrap().has(tables.alone(), word, &mut Vec::new()).unwrap()
        };
        for vintage in [Vintage::UpTo37, Vintage::Since38] {
            for word in [&b"one"[..], b"three", b"six"] {
                assert!(on(vintage, word), "{vintage:?} {word:?}");
            }
            assert!(!on(vintage, b"two") && !on(vintage, b"five"), "{vintage:?}");
        }
        // A comment that is indented is one since then; before, it ends its line.
        let files = Files::new([("/words", " # one\ntwo\n")]);
        let said = |vintage| {
            let (mut tables, mut messages) = (Tables::new(false).of(vintage), Vec::new());
            let letters = Letters::Ascii;
            CommandList::parse("p", "/words", letters, &mut tables, &files, &mut messages).unwrap();
            messages.len()
        };
        assert_eq!((said(Vintage::UpTo37), said(Vintage::Since38)), (1, 0));
    }
}
