//! Results of pattern tables: text in which `$1`, `${1}` and `$(1)` stand for what a group
//! of the pattern matched, and `$$` for `$`.

use std::borrow::Cow;

/// A result, taken apart. Any bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replacement {
    pieces: Vec<Piece>,
    groups: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(Box<[u8]>),
    /// What this group matched; nothing if it took no part.
    Group(usize),
}

/// What is wrong with a result, in Postfix's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplacementError {
    /// A `$` that nothing useful follows; the whole text.
    #[error("empty macro name: \"{0}\"")]
    EmptyName(String),
    /// A `${` or `$(` that is never closed; the whole text.
    #[error("truncated macro reference: \"{0}\"")]
    Truncated(String),
    /// A name that is no number.
    #[error("non-numeric replacement index \"{0}\"")]
    NotNumeric(String),
    /// The number 0.
    #[error("out-of-range replacement index \"{0}\"")]
    Zero(String),
}

/// A piece of text with what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

impl Replacement {
    /// Takes a result apart.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at least one thing.
    pub fn parse(text: &[u8]) -> Result<Replacement, Vec<ReplacementError>> {
        let mut pieces = Vec::new();
        let mut errors = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match (byte, rest.first()) {
                (b'$', Some(b'$')) => {
                    plain.push(b'$');
                    rest = rest.get(1..).unwrap_or_default();
                }
                (b'$', next) => {
                    let bracketed = matches!(next, Some(b'{' | b'('));
                    let (name, after) = match reference(rest) {
                        // After an error, Postfix goes no farther than to a bracket.
                        Some(_) if bracketed && !errors.is_empty() => return Err(errors),
                        Some((name, after)) if !name.is_empty() => (name, after),
                        found => {
                            let problem = match found {
                                Some(_) => ReplacementError::EmptyName,
                                None => ReplacementError::Truncated,
                            };
                            errors.push(problem(shown(text)));
                            return Err(errors);
                        }
                    };
                    rest = after;
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                    }
                    match group(name) {
                        Ok(group) => pieces.push(Piece::Group(group)),
                        Err(error) => errors.push(error),
                    }
                }
                (byte, _) => plain.push(*byte),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        if errors.is_empty() { Ok(Replacement::new(pieces)) } else { Err(errors) }
    }

    fn new(pieces: Vec<Piece>) -> Replacement {
        let group = |piece: &Piece| match piece {
            Piece::Text(_) => None,
            Piece::Group(group) => Some(*group),
        };
        let groups = pieces.iter().filter_map(group).max().unwrap_or(0);
        Replacement { pieces, groups }
    }

    /// The highest group that it refers to; 0 for none.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The text; `group` says what a group matched. Only asked for groups that the text
    /// refers to.
    pub fn fill<'k>(&self, group: impl Fn(usize) -> &'k [u8]) -> Cow<'_, [u8]> {
        match self.pieces.as_slice() {
            [] => Cow::Borrowed(&[]),
            [Piece::Text(text)] => Cow::Borrowed(text),
            pieces => {
                let texts = pieces.iter().map(|piece| match piece {
                    Piece::Text(text) => text.as_ref(),
                    Piece::Group(number) => group(*number),
                });
                Cow::Owned(texts.collect::<Vec<_>>().concat())
            }
        }
    }
}

impl ReplacementError {
    /// Whether Postfix's warning says in which file and line it is.
    pub fn is_located(&self) -> bool {
        match self {
            ReplacementError::EmptyName(_) | ReplacementError::Truncated(_) => false,
            ReplacementError::NotNumeric(_) | ReplacementError::Zero(_) => true,
        }
    }
}

/// What is between brackets at the start of a text, or the word there; may be empty.
fn reference(text: &[u8]) -> Option<Split<'_>> {
    match text.first() {
        Some(b'{') => enclosed(text, b'{', b'}'),
        Some(b'(') => enclosed(text, b'(', b')'),
        _ => {
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let end = text.iter().position(|byte| !is_name(byte)).unwrap_or(text.len());
            text.split_at_checked(end)
        }
    }
}

/// The inside of the brackets at the start of `text`, nested ones counted.
fn enclosed(text: &[u8], open: u8, close: u8) -> Option<Split<'_>> {
    let mut depth = 0_usize;
    let end = text.iter().position(|byte| {
        if *byte == open {
            depth += 1;
        } else if *byte == close {
            depth -= 1;
        }
        depth == 0
    })?;
    Some((text.get(1..end)?, text.get(end + 1..)?))
}

fn group(name: &[u8]) -> Result<usize, ReplacementError> {
    if !name.iter().all(u8::is_ascii_digit) {
        return Err(ReplacementError::NotNumeric(shown(name)));
    }
    // A number that is too large is as good as any that no pattern has.
    match str::from_utf8(name).ok().and_then(|name| name.parse().ok()).unwrap_or(usize::MAX) {
        0 => Err(ReplacementError::Zero(shown(name))),
        group => Ok(group),
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> String {
        let replacement = Replacement::parse(text.as_bytes()).unwrap();
        let groups: [&[u8]; 4] = [b"zero", b"one", b"", b"three"];
        String::from_utf8(replacement.fill(|group| groups[group]).into_owned()).unwrap()
    }

    #[test]
    fn groups_are_filled_in() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$1", "one"),
            ("a ${1}b $(3)c", "a oneb threec"),
            ("[$2]", "[]"),
            ("$01.${003}", "one.three"),
            ("$$1 $$$$ $1$3", "$1 $$ onethree"),
            ("\u{e9}$1\u{e9}", "\u{e9}one\u{e9}"),
        ] {
            assert_eq!(fill(text), expected, "{text}");
        }
        let constant = Replacement::parse(b"a $$ b").unwrap();
        assert!(matches!(constant.fill(|_| b""), Cow::Borrowed(b"a $ b")));
        assert_eq!(constant.groups(), 0);
        assert_eq!(Replacement::parse(b"$3$12$2").unwrap().groups(), 12);
        assert_eq!(Replacement::parse(b"$99999999999999999999999").unwrap().groups(), usize::MAX);
    }

    #[test]
    fn what_is_wrong_with_a_result() {
        use ReplacementError::{EmptyName, NotNumeric, Truncated, Zero};
        for (text, expected) in [
            ("x $", vec![EmptyName("x $".into())]),
            ("${}", vec![EmptyName("${}".into())]),
            ("$$$", vec![EmptyName("$$$".into())]),
            ("$\u{e9}", vec![EmptyName("$\u{e9}".into())]),
            ("$n$0", vec![NotNumeric("n".into()), Zero("0".into())]),
            ("$n$m ${0}$0", vec![NotNumeric("n".into()), NotNumeric("m".into())]),
            ("$n${", vec![NotNumeric("n".into()), Truncated("$n${".into())]),
            ("$(1}", vec![Truncated("$(1}".into())]),
            ("${${1}$n", vec![Truncated("${${1}$n".into())]),
            ("$ $n", vec![EmptyName("$ $n".into())]),
            ("$(a(1)b)", vec![NotNumeric("a(1)b".into())]),
            ("${ 1}", vec![NotNumeric(" 1".into())]),
            ("$1a", vec![NotNumeric("1a".into())]),
            ("${-1}", vec![NotNumeric("-1".into())]),
            ("${00}", vec![Zero("00".into())]),
        ] {
            assert_eq!(Replacement::parse(text.as_bytes()), Err(expected), "{text}");
        }
    }
}
