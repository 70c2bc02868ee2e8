//! Lists in main.cf values: items between commas and whitespace, where braces protect both.

use super::logical_lines::is_space;
use super::message::Message;

/// The items of a list, in order. Braces stay in an item; text after a closing brace
/// belongs to the same item.
pub fn split_list(text: &str) -> Items<'_> {
    Items { rest: text }
}

/// See [`split_list`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a str,
}

impl<'a> Items<'a> {
    /// What comes after the separator that ended the latest item.
    pub fn rest(&self) -> &'a str {
        self.rest.get(1..).unwrap_or_default()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest.trim_start_matches(is_separator);
        let mut depth = 0usize;
        let end = text.find(|c| match c {
            '{' => {
                depth += 1;
                false
            }
            '}' => {
                depth = depth.saturating_sub(1);
                false
            }
            c => depth == 0 && is_separator(c),
        });
        let (item, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
        self.rest = rest;
        (!item.is_empty()).then_some(item)
    }
}

fn is_separator(c: char) -> bool {
    matches!(c, ',' | ' ' | '\t' | '\r' | '\n')
}

/// How the Postfix around us reads lists and names tables, as far as that depends on its
/// version (main.cf: `mail_version`). Later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub enum Vintage {
    /// Up to 3.7.
    #[default]
    UpTo37,
    /// 3.8 to 3.10: files in lists have logical lines.
    Since38,
    /// 3.11 and later: warnings tell how a table was opened.
    Since311,
}

/// How much of what follows a comment is quoted.
const COMMENT_SHOWN: usize = 20;

/// The items of a list in which an item that starts with `#` ends the list, with a
/// warning: someone meant a comment. `name` is the parameter that the warning names.
pub fn split_before_comment<'a>(
    name: &str,
    text: &'a str,
    vintage: Vintage,
    warnings: &mut Vec<Message>,
) -> Vec<&'a str> {
    let mut items = split_list(text);
    let mut found = Vec::new();
    while let Some(item) = items.next() {
        if item.starts_with('#') {
            let rest = items.rest();
            warnings.push(Message::warning(if vintage == Vintage::UpTo37 {
                format!("{name}: comment at end of line is not supported: {item} {rest}")
            } else {
                let shown: String = rest.chars().take(COMMENT_SHOWN).collect();
                format!("{name}: #comment after other text is not allowed: {item} {shown}...")
            }));
            break;
        }
        found.push(item);
    }
    found
}

/// What is wrong with a text that should be enclosed in braces.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BraceError {
    /// It does not begin with one.
    #[error("no '{{' at start of text in \"{0}\"")]
    NotOpened(String),
    /// The first one is never closed.
    #[error("missing '}}' in \"{0}\"")]
    NotClosed(String),
    /// Something follows the closing one.
    #[error("syntax error after '}}' in \"{0}\"")]
    TextAfter(String),
}

/// The text inside the braces that must enclose all of `text`, trimmed.
pub fn inside_braces(text: &str) -> Result<&str, BraceError> {
    let inner = text.strip_prefix('{').ok_or_else(|| BraceError::NotOpened(text.into()))?;
    let mut depth = 1usize;
    let end = inner.find(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let Some((inner, after)) = end.and_then(|end| inner.split_at_checked(end)) else {
        return Err(BraceError::NotClosed(text.into()));
    };
    if after != "}" {
        return Err(BraceError::TextAfter(text.into()));
    }
    Ok(trim(inner))
}

/// Removes whitespace of C's `isspace` at both ends.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_space_char)
}

/// Splits at the first whitespace into a word and the trimmed rest.
pub fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = match text.find(is_space_char) {
        Some(end) => text.split_at_checked(end).unwrap_or((text, "")),
        None => (text, ""),
    };
    (word, trim(rest))
}

/// Whitespace in C's `isspace`; no character beyond ASCII is.
pub fn is_space_char(c: char) -> bool {
    u8::try_from(c).is_ok_and(is_space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        split_list(text).collect()
    }

    #[test]
    fn splits_at_commas_and_whitespace() {
        assert_eq!(split(" a,b ,, c\td\r\ne "), ["a", "b", "c", "d", "e"]);
        assert!(split("").is_empty());
        assert!(split(" , \n").is_empty());
    }

    #[test]
    fn braces_protect_separators_and_stay() {
        assert_eq!(
            split("inline:{ a=b, {c = d e} }, static:{x y} {z}w"),
            ["inline:{ a=b, {c = d e} }", "static:{x y}", "{z}w"]
        );
        assert_eq!(split("a {b c"), ["a", "{b c"]);
        assert_eq!(split("a} b c"), ["a}", "b", "c"]);
    }

    #[test]
    fn comment_ends_a_match_list_in_other_words_since_3_8() {
        let mut warnings = Vec::new();
        let text = "a b # comment, here  too, and more";
        assert_eq!(split_before_comment("p", text, Vintage::Since38, &mut warnings), ["a", "b"]);
        let said = "p: #comment after other text is not allowed: # comment, here  too, ...";
        assert_eq!(warnings, [Message::warning(said)]);
    }

    #[test]
    fn comment_ends_a_match_list() {
        let mut warnings = Vec::new();
        let text = "127.0.0.1 # comment, here  too";
        assert_eq!(split_before_comment("p", text, Vintage::UpTo37, &mut warnings), ["127.0.0.1"]);
        assert_eq!(split_before_comment("p", "a #x ", Vintage::UpTo37, &mut warnings), ["a"]);
        assert_eq!(split_before_comment("p", "a#x #", Vintage::UpTo37, &mut warnings), ["a#x"]);
        let texts: Vec<_> = warnings.iter().map(|w| w.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "p: comment at end of line is not supported: # comment, here  too",
                "p: comment at end of line is not supported: #x ",
                "p: comment at end of line is not supported: # ",
            ]
        );
    }

    #[test]
    fn enclosing_braces() {
        assert_eq!(inside_braces("{ a {b} }"), Ok("a {b}"));
        assert_eq!(inside_braces("{}"), Ok(""));
        let error = |text| inside_braces(text).unwrap_err().to_string();
        assert_eq!(error("a"), "no '{' at start of text in \"a\"");
        assert_eq!(error(""), "no '{' at start of text in \"\"");
        assert_eq!(error("{{a}"), "missing '}' in \"{{a}\"");
        assert_eq!(error("{a}b"), "syntax error after '}' in \"{a}b\"");
        assert_eq!(error("{a}{b}"), "syntax error after '}' in \"{a}{b}\"");
    }

    #[test]
    fn words() {
        assert_eq!(split_word("a \t b c "), ("a", "b c"));
        assert_eq!(split_word("a"), ("a", ""));
        assert_eq!(split_word(" b "), ("", "b"));
    }
}
