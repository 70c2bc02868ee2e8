//! Macro expansion: `$name`, `${name?{yes}:{no}}`, `${{left} == {right}}`.
//!
//! One grammar, two users. Values of main.cf are expanded with [`Mode::Recursive`]: what a
//! name stands for may contain macros itself. Reject footers use [`Mode::Plain`]: what a
//! name stands for comes from the client, so it is inserted as it is.

use std::borrow::Cow;

/// How deep texts may be nested before a value counts as referring to itself.
const MAX_DEPTH: usize = 100;

/// How much one expansion may cost, in macros plus bytes written. Values that double
/// themselves at each of the permitted levels would otherwise keep the process busy for
/// ever.
const MAX_COST: usize = 1 << 20;

/// How many bytes of the remaining input an error text shows.
const SHOWN: usize = 20;

/// What happens to the text that a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It is expanded in turn (main.cf).
    Recursive,
    /// It is inserted as it is (reject footers).
    Plain,
}

/// Why a text cannot be expanded, in Postfix's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExpandError {
    /// A `$` that nothing useful follows; the whole text.
    #[error("empty macro name: \"{0}\"")]
    EmptyName(String),
    /// A `${` or `$(` that is never closed; the whole text.
    #[error("truncated macro reference: \"{0}\"")]
    Truncated(String),
    /// Something other than an operator after a name.
    #[error("attribute name syntax error at: \"...{name}>>>{rest}\"")]
    NameSyntax {
        /// The name.
        name: String,
        /// What follows it.
        rest: String,
    },
    /// No comparison operator after the left side. (The quotes are Postfix's.)
    #[error(
        "\"==\" or \"!=\"\" or \"<\"\" or \"<=\"\" or \">=\"\" or \">\" \
         expected at: \"...{left}}}>>>{rest}\""
    )]
    OperatorExpected {
        /// The left side.
        left: String,
        /// What follows it.
        rest: String,
    },
    /// Letters after an operator that are not `level`.
    #[error("bad operator suffix at: \"...{operator}>>>{suffix}\"")]
    OperatorSuffix {
        /// The operator.
        operator: String,
        /// The letters.
        suffix: String,
    },
    /// No `{` after a comparison operator.
    #[error("\"{{expression}}\" expected at: \"...{{{left}}} {operator}>>>{rest}\"")]
    ExpressionExpected {
        /// The left side.
        left: String,
        /// The operator.
        operator: String,
        /// What follows it.
        rest: String,
    },
    /// Something other than `?` or `:` after a comparison.
    #[error("\"?\" or \":\" expected at: \"...}}>>>{0}\"")]
    ChoiceExpected(String),
    /// Something other than `:` after `?{...}`.
    #[error("\":\" expected at: \"...{chosen}}}>>>{rest}\"")]
    ColonExpected {
        /// The text in braces.
        chosen: String,
        /// What follows it.
        rest: String,
    },
    /// Something after the last alternative.
    #[error("unexpected input at: \"...{chosen}}}>>>{rest}\"")]
    UnexpectedInput {
        /// The text in braces.
        chosen: String,
        /// What follows it.
        rest: String,
    },
    /// What a function was given is no domain name.
    #[error("bad domain argument in: '{name}{{{argument}}}'")]
    BadDomain {
        /// The function.
        name: &'static str,
        /// What it was given.
        argument: String,
    },
    /// A `{` without `}` inside `$(...)`.
    #[error("unbalanced {{}} in attribute expression: \"{0}\"")]
    Unbalanced(String),
    /// A side of a `<level` comparison is no version.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// Too many texts inside one another; the macro or text at which it was noticed.
    #[error("unreasonable macro call nesting: \"{0}\"")]
    Nesting(String),
    /// The result is absurdly long, or takes absurdly many steps; the whole text.
    #[error("unreasonable macro expansion size: \"{0}\"")]
    Size(String),
}

/// Not a compatibility level.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed compatibility level syntax: \"{0}\"")]
pub struct LevelError(pub String);

/// A compatibility level, `major[.minor[.patch]]`; missing parts are 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CompatibilityLevel {
    /// The first number.
    pub major: u64,
    /// The second number, below 1024.
    pub minor: u16,
    /// The third number, below 1024.
    pub patch: u16,
}

impl CompatibilityLevel {
    /// A level from its parts.
    pub const fn new(major: u64, minor: u16, patch: u16) -> CompatibilityLevel {
        CompatibilityLevel { major, minor, patch }
    }

    /// Reads a level.
    ///
    /// # Errors
    /// When the text is not one to three numbers joined by dots.
    pub fn parse(text: &str) -> Result<CompatibilityLevel, LevelError> {
        Self::parts(text).ok_or_else(|| LevelError(text.to_owned()))
    }

    fn parts(text: &str) -> Option<CompatibilityLevel> {
        let text = text.trim_ascii_start();
        let mut parts = text.strip_prefix('+').unwrap_or(text).split('.');
        let mut next = || parts.next().map(number).unwrap_or(Some(0));
        let (major, minor, patch) = (next()?, next()?, next()?);
        let small = |part: u64| u16::try_from(part).ok().filter(|part| *part < 1024);
        match parts.next() {
            None => Some(CompatibilityLevel::new(major, small(minor)?, small(patch)?)),
            Some(_) => None,
        }
    }
}

fn number(text: &str) -> Option<u64> {
    if is_number(text) { text.parse().ok() } else { None }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Expands `text`; `lookup` says what a name stands for. A name that stands for nothing
/// counts as empty; `lookup` is asked once for each place where a name is.
///
/// # Errors
/// The first problem on the way. Alternatives that are not chosen are not looked at.
pub fn expand<'d>(
    text: &str,
    mode: Mode,
    lookup: impl FnMut(&str) -> Option<Cow<'d, str>>,
) -> Result<String, ExpandError> {
    let mut expander = Expander { lookup, mode, cost: 0 };
    let mut out = String::with_capacity(text.len());
    expander.text(text, 0, &mut out)?;
    Ok(out)
}

/// The name, if `text` is nothing but one reference to it: `$name`, `${name}`, `$(name)`.
pub fn sole_reference(text: &str) -> Option<&str> {
    let body = text.strip_prefix('$')?;
    let inside = |open, close| body.strip_prefix(open)?.strip_suffix(close);
    let name = inside('{', '}').or_else(|| inside('(', ')')).map_or(body, str::trim_ascii);
    let whole = !name.is_empty() && name.bytes().all(is_name_byte);
    whole.then_some(name)
}

struct Expander<L> {
    lookup: L,
    mode: Mode,
    cost: usize,
}

impl<'d, L: FnMut(&str) -> Option<Cow<'d, str>>> Expander<L> {
    fn text(&mut self, text: &str, depth: usize, out: &mut String) -> Result<(), ExpandError> {
        if depth > MAX_DEPTH && !text.is_empty() {
            return Err(ExpandError::Nesting(first_piece(text).to_owned()));
        }
        let mut rest = text;
        while let Some((plain, after)) = rest.split_once('$') {
            out.push_str(plain);
            self.spend(plain.len() + 1, text)?;
            rest = match after.chars().next() {
                Some('$') => {
                    out.push('$');
                    after.strip_prefix('$').unwrap_or_default()
                }
                Some('{') => self.bracketed(text, after, ('{', '}'), depth, out)?,
                Some('(') => self.bracketed(text, after, ('(', ')'), depth, out)?,
                _ => {
                    let (name, after) = split_name(after);
                    if name.is_empty() {
                        return Err(ExpandError::EmptyName(text.to_owned()));
                    }
                    self.value(name, depth, out)?;
                    after
                }
            };
        }
        out.push_str(rest);
        self.spend(rest.len(), text)
    }

    fn spend(&mut self, cost: usize, text: &str) -> Result<(), ExpandError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > MAX_COST { Err(ExpandError::Size(text.to_owned())) } else { Ok(()) }
    }

    /// Handles `{body}` or `(body)` at the start of `input`; returns what follows it.
    fn bracketed<'t>(
        &mut self,
        whole: &str,
        input: &'t str,
        brackets: (char, char),
        depth: usize,
        out: &mut String,
    ) -> Result<&'t str, ExpandError> {
        let (body, after) =
            enclosed(input, brackets).ok_or_else(|| ExpandError::Truncated(whole.to_owned()))?;
        if body.is_empty() {
            return Err(ExpandError::EmptyName(whole.to_owned()));
        }
        self.body(body, depth, out)?;
        Ok(after)
    }

    fn body(&mut self, body: &str, depth: usize, out: &mut String) -> Result<(), ExpandError> {
        let body = body.trim_ascii_start();
        if body.starts_with('{') {
            let (holds, rest) = self.comparison(body, depth)?;
            return match rest.trim_ascii_start() {
                "" => {
                    out.push_str(if holds { "true" } else { "" });
                    Ok(())
                }
                rest => match choose(holds, rest)? {
                    Some(chosen) => self.text(chosen, depth + 1, out),
                    None => Err(ExpandError::ChoiceExpected(shown(rest))),
                },
            };
        }
        let (name, after) = split_name(body);
        let rest = after.trim_ascii_start();
        if rest.is_empty() {
            return self.value(name, depth, out);
        }
        if let (Some(function), true) = (Function::parse(name), rest.starts_with('{')) {
            return self.call(function, rest, depth, out);
        }
        if !rest.starts_with(['?', ':']) {
            return Err(ExpandError::NameSyntax { name: name.to_owned(), rest: shown(after) });
        }
        let holds = (self.lookup)(name).is_some_and(|value| !value.is_empty());
        match choose(holds, rest)? {
            Some(chosen) => self.text(chosen, depth + 1, out),
            None => Ok(()),
        }
    }

    /// `name{text}`, since Postfix 3.11. Older versions refuse it, in all their programs.
    fn call(
        &mut self,
        function: Function,
        input: &str,
        depth: usize,
        out: &mut String,
    ) -> Result<(), ExpandError> {
        let (argument, rest) = braced(input)?;
        let rest = rest.trim_ascii_start();
        if !rest.is_empty() {
            let chosen = argument.to_owned();
            return Err(ExpandError::UnexpectedInput { chosen, rest: shown(rest) });
        }
        let mut text = String::new();
        self.text(argument.trim_ascii(), depth + 1, &mut text)?;
        let result = function.apply(&text)?;
        self.spend(result.len(), &text)?;
        out.push_str(&result);
        Ok(())
    }

    fn value(&mut self, name: &str, depth: usize, out: &mut String) -> Result<(), ExpandError> {
        let Some(value) = (self.lookup)(name) else { return Ok(()) };
        match self.mode {
            Mode::Recursive => self.text(&value, depth + 1, out),
            Mode::Plain => {
                out.push_str(&value);
                self.spend(value.len(), name)
            }
        }
    }

    /// Evaluates `{left} operator {right}`; returns what follows it as well.
    fn comparison<'t>(
        &mut self,
        input: &'t str,
        depth: usize,
    ) -> Result<(bool, &'t str), ExpandError> {
        let (left, after) = braced(input)?;
        let after = after.trim_ascii_start();
        let (operator, after_operator) =
            split_while(after, |byte| b"<>!=?+-*/~&|%".contains(&byte));
        let compare = Operator::parse(operator).ok_or_else(|| ExpandError::OperatorExpected {
            left: left.to_owned(),
            rest: shown(after),
        })?;
        let (suffix, after_suffix) =
            split_while(after_operator, |byte| byte.is_ascii_alphanumeric());
        let by_level = match suffix {
            "" => false,
            "level" => true,
            _ => {
                return Err(ExpandError::OperatorSuffix {
                    operator: operator.to_owned(),
                    suffix: suffix.to_owned(),
                });
            }
        };
        let right = after_suffix.trim_ascii_start();
        if !right.starts_with('{') {
            return Err(ExpandError::ExpressionExpected {
                left: left.to_owned(),
                operator: operator.to_owned(),
                rest: shown(after_suffix),
            });
        }
        let (right, rest) = braced(right)?;
        let (mut one, mut other) = (String::new(), String::new());
        self.text(left, depth + 1, &mut one)?;
        self.text(right, depth + 1, &mut other)?;
        let order = if by_level {
            CompatibilityLevel::parse(&one)?.cmp(&CompatibilityLevel::parse(&other)?)
        } else {
            compare_texts(&one, &other)
        };
        Ok((compare.holds(order), rest))
    }
}

/// What a text in braces can be put through.
#[derive(Clone, Copy)]
enum Function {
    /// A domain name as DNS has it, with A-labels.
    DomainToAscii,
    /// A domain name as people read it, with U-labels.
    DomainToUtf8,
}

impl Function {
    fn parse(name: &str) -> Option<Function> {
        [Function::DomainToAscii, Function::DomainToUtf8]
            .into_iter()
            .find(|function| function.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Function::DomainToAscii => "domain_to_ascii",
            Function::DomainToUtf8 => "domain_to_utf8",
        }
    }

    fn apply(self, text: &str) -> Result<Cow<'_, str>, ExpandError> {
        let bad = || ExpandError::BadDomain { name: self.name(), argument: text.to_owned() };
        match (self, text.is_ascii()) {
            // What is so already is not looked at.
            (Function::DomainToAscii, true) | (Function::DomainToUtf8, false) => {
                Ok(Cow::Borrowed(text))
            }
            (Function::DomainToAscii, false) => {
                idna::domain_to_ascii_strict(text).map(Cow::Owned).map_err(|_| bad())
            }
            (Function::DomainToUtf8, true) => match idna::domain_to_unicode(text) {
                (domain, Ok(())) => Ok(Cow::Owned(domain)),
                (_, Err(_)) => Err(bad()),
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    fn parse(text: &str) -> Option<Operator> {
        Some(match text {
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Numbers (of any length) by value, everything else by bytes.
fn compare_texts(one: &str, other: &str) -> std::cmp::Ordering {
    if is_number(one) && is_number(other) {
        let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
        return one.len().cmp(&other.len()).then_with(|| one.cmp(other));
    }
    one.cmp(other)
}

/// Picks an alternative of `?{yes}:{no}`, `?yes`, `:{no}` or `:no`. An alternative that is
/// absent is the empty text; `None` when `input` starts with neither `?` nor `:`.
fn choose(holds: bool, input: &str) -> Result<Option<&str>, ExpandError> {
    if let Some(no) = input.strip_prefix(':') {
        let no = last_alternative(no)?;
        return Ok(Some(if holds { "" } else { no }));
    }
    let Some(yes) = input.strip_prefix('?').map(str::trim_ascii_start) else { return Ok(None) };
    if !yes.starts_with('{') {
        return Ok(Some(if holds { yes } else { "" }));
    }
    let (yes, rest) = braced(yes)?;
    let no = match rest.trim_ascii_start() {
        "" => "",
        rest => match rest.strip_prefix(':') {
            Some(no) => last_alternative(no)?,
            None => {
                return Err(ExpandError::ColonExpected {
                    chosen: yes.to_owned(),
                    rest: shown(rest),
                });
            }
        },
    };
    Ok(Some(if holds { yes } else { no }))
}

fn last_alternative(input: &str) -> Result<&str, ExpandError> {
    let input = input.trim_ascii_start();
    if !input.starts_with('{') {
        return Ok(input);
    }
    let (text, rest) = braced(input)?;
    match rest.trim_ascii_start() {
        "" => Ok(text),
        rest => Err(ExpandError::UnexpectedInput { chosen: text.to_owned(), rest: shown(rest) }),
    }
}

/// The inside of the `{...}` at the start of `input`, and what follows it.
fn braced(input: &str) -> Result<(&str, &str), ExpandError> {
    enclosed(input, ('{', '}')).ok_or_else(|| ExpandError::Unbalanced(input.to_owned()))
}

/// The inside of the brackets at the start of `input`, nested ones counted, and what
/// follows them.
fn enclosed(input: &str, (open, close): (char, char)) -> Option<(&str, &str)> {
    let inside = input.strip_prefix(open)?;
    let mut depth = 0_usize;
    for (at, letter) in inside.char_indices() {
        if letter == open {
            depth += 1;
        } else if letter == close {
            match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => {
                    let (body, rest) = inside.split_at_checked(at)?;
                    return Some((body, rest.strip_prefix(close)?));
                }
            }
        }
    }
    None
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn split_name(input: &str) -> (&str, &str) {
    split_while(input, is_name_byte)
}

/// Splits after the leading bytes that `belongs` accepts, which must be ASCII ones.
fn split_while(input: &str, belongs: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = input.bytes().position(|byte| !belongs(byte)).unwrap_or(input.len());
    input.split_at_checked(end).unwrap_or((input, ""))
}

/// The literal text or the macro body at the start of `text`.
fn first_piece(text: &str) -> &str {
    let Some(reference) = text.strip_prefix('$') else {
        return text.split('$').next().unwrap_or_default();
    };
    let body = enclosed(reference, ('{', '}')).or_else(|| enclosed(reference, ('(', ')')));
    body.unwrap_or_else(|| split_name(reference)).0
}

fn shown(rest: &str) -> String {
    let end = (0..=SHOWN.min(rest.len())).rev().find(|end| rest.is_char_boundary(*end));
    end.and_then(|end| rest.get(..end)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
