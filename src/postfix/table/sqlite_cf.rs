//! The files of sqlite tables, sqlite_table(5): which database, which query for a key, and what
//! to make of its results.
//!
//! Nothing here touches a database.

use super::value::c_string;
use crate::postfix::lists::split_list;
use crate::postfix::main_cf::Dictionary;
use crate::postfix::message::Message;

/// What a table's file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqliteConfig {
    /// How messages call the file.
    name: String,
    dbpath: String,
    query: Template,
    result_format: Template,
    /// How many results a key may have.
    expansion_limit: Option<usize>,
    /// What keys must have to be asked for at all.
    needs: Needs,
    domains: Domains,
}

/// Why the service cannot start with a file. The messages are Postfix's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SqliteConfigError {
    /// A line is no `name = value`.
    #[error("{0}")]
    Line(String),
    /// A parameter that must not be empty.
    #[error("{0}: bad string length 0 < 1: {1} = ")]
    Empty(String, &'static str),
    /// A limit that is no number.
    #[error("{0}: bad numerical configuration: expansion_limit = {1}")]
    Number(String, String),
    /// A percent sign with something else behind it than the manual has.
    #[error("db_common_parse: {0}: Invalid {1} template: {2}")]
    Template(String, &'static str, String),
}

/// Text with places to fill in.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Template(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    /// What the text is about: the key in a query, a result in `result_format`.
    Subject(Part),
    /// The key, in either.
    Key(Part),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Whole,
    /// What is before the last `@`, or all.
    User,
    Domain,
    /// A label of the domain, counted from 1 and from the right.
    Label(u8),
}

/// What of an address the places in the templates have need of. Postfix keeps one record for
/// both templates, so that what `result_format` wants of a key decides about the query, too.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Needs {
    key_user: bool,
    key_domain: bool,
    /// So many labels.
    labels: usize,
    result_user: bool,
    result_domain: bool,
}

/// An address taken apart at its last `@`.
#[derive(Clone, Copy, Debug)]
struct Address<'a> {
    whole: &'a [u8],
    user: Option<&'a [u8]>,
    domain: Option<&'a [u8]>,
}

/// Which domains a key must have one of.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Domains {
    Any,
    /// Domains, and whether each is meant or, with an exclamation mark, is not.
    These(Vec<(bool, String)>),
    /// The list has a table or a file.
    Unsupported,
}

/// What the `domain` parameter says about a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The database is asked.
    Inside,
    /// It is not.
    Outside,
    /// That cannot be told.
    Unknown,
}

impl SqliteConfig {
    /// Reads a file. Warnings are added to `messages`; `name` is how they call the file.
    ///
    /// # Errors
    ///
    /// If the service cannot start with it.
    pub fn parse(
        name: &str,
        text: &[u8],
        messages: &mut Vec<Message>,
    ) -> Result<SqliteConfig, SqliteConfigError> {
        let file = Dictionary::parse(name, text, messages)
            .map_err(|line| SqliteConfigError::Line(line.to_string()))?;
        let optional = |parameter| file.value(parameter).filter(|value| !value.is_empty());
        let required = |parameter| {
            optional(parameter).ok_or_else(|| SqliteConfigError::Empty(name.into(), parameter))
        };
        let dbpath = required("dbpath")?.to_owned();
        let query = match optional("query") {
            Some(query) => query.to_owned(),
            // As it was written before there was `query`.
            None => format!(
                "SELECT {1} FROM {0} WHERE {2}='%s' {3}",
                required("table")?,
                required("select_field")?,
                required("where_field")?,
                optional("additional_conditions").unwrap_or_default()
            ),
        };
        for place in unquoted_places(&query) {
            messages.push(Message::warning(format!(
                "sqlite:{name}: query >{query}< contains >{place}< without the recommended '' \
                 quotes"
            )));
        }
        let result_format = match file.value("result_format") {
            None => "%s",
            Some(_) => required("result_format")?,
        };
        let expansion_limit = match file.value("expansion_limit") {
            None => 0,
            Some(text) => text
                .parse::<i32>()
                .map_err(|_| SqliteConfigError::Number(name.into(), text.into()))?,
        };
        let bad = |kind, text: &str| SqliteConfigError::Template(name.into(), kind, text.into());
        let mut needs = Needs::default();
        let query = Template::parse(&query).ok_or_else(|| bad("query", &query))?;
        query.note_needs(&mut needs, Use::Query);
        let result = Template::parse(result_format).ok_or_else(|| bad("result", result_format))?;
        result.note_needs(&mut needs, Use::Result);
        Ok(SqliteConfig {
            name: name.to_owned(),
            dbpath,
            query,
            result_format: result,
            expansion_limit: usize::try_from(expansion_limit).ok().filter(|limit| *limit > 0),
            needs,
            domains: Domains::parse(optional("domain").unwrap_or_default()),
        })
    }

    /// How messages call the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The database. sqlite_table(5): dbpath.
    pub fn dbpath(&self) -> &str {
        &self.dbpath
    }

    /// Whether a key has this many results too many. sqlite_table(5): expansion_limit.
    pub fn exceeds_limit(&self, results: usize) -> bool {
        self.expansion_limit.is_some_and(|limit| results > limit)
    }

    /// Whether the database is asked about a key. sqlite_table(5): domain.
    pub fn scope(&self, key: &str) -> Scope {
        // Without a user it is no address, and in no domain.
        let address = key.rsplit_once('@').filter(|(user, _)| !user.is_empty());
        let domain = address.map(|(_, domain)| domain).unwrap_or_default();
        match &self.domains {
            Domains::Any => Scope::Inside,
            _ if domain.is_empty() => Scope::Outside,
            Domains::Unsupported => Scope::Unknown,
            Domains::These(list) => {
                match list.iter().find(|(_, item)| item.eq_ignore_ascii_case(domain)) {
                    Some((true, _)) => Scope::Inside,
                    Some((false, _)) | None => Scope::Outside,
                }
            }
        }
    }

    /// The query for a key; `None` if there is nothing to ask. sqlite_table(5): query.
    pub fn query(&self, key: &str, warnings: &mut Vec<Message>) -> Option<String> {
        if key.is_empty() {
            let name = &self.name;
            warnings.push(Message::warning(format!(
                "table \"sqlite:{name}\": empty query string -- ignored"
            )));
            return None;
        }
        let key = Address::new(key.as_bytes(), self.needs.key_user || self.needs.key_domain);
        if key.lacks(self.needs.key_user, self.needs.key_domain) || !self.has_labels(key) {
            return None;
        }
        let mut query = Vec::new();
        self.query.expand(key, key, Quoting::Sql, &mut query);
        // Each piece of it is UTF-8.
        String::from_utf8(query).ok()
    }

    /// Adds a result to those that a key has; `false` if it counts for nothing.
    /// sqlite_table(5): result_format.
    pub fn add_result(
        &self,
        key: &str,
        result: &[u8],
        to: &mut Vec<u8>,
        warnings: &mut Vec<Message>,
    ) -> bool {
        let result = c_string(result);
        if result.is_empty() {
            let name = &self.name;
            warnings.push(Message::warning(format!(
                "table \"sqlite:{name}\": empty lookup result for: \"{key}\" -- ignored"
            )));
            return false;
        }
        let needs = self.needs;
        let result = Address::new(result, needs.result_user || needs.result_domain);
        if result.lacks(needs.result_user, needs.result_domain) {
            return false;
        }
        if !to.is_empty() {
            to.push(b',');
        }
        // Without what it needs there would have been no query.
        let key = Address::new(key.as_bytes(), needs.key_user || needs.key_domain);
        self.result_format.expand(result, key, Quoting::None, to);
        true
    }

    fn has_labels(&self, key: Address<'_>) -> bool {
        labels(key.domain.unwrap_or_default()).count() >= self.needs.labels
    }
}

/// What a template makes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Query,
    Result,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    None,
    /// Fit to stand between single quotes in SQL.
    Sql,
}

impl Template {
    fn parse(text: &str) -> Option<Template> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                plain.push(letter);
                continue;
            }
            let piece = match letters.next()? {
                '%' => {
                    plain.push('%');
                    continue;
                }
                's' => Piece::Subject(Part::Whole),
                'u' => Piece::Subject(Part::User),
                'd' => Piece::Subject(Part::Domain),
                'S' => Piece::Key(Part::Whole),
                'U' => Piece::Key(Part::User),
                'D' => Piece::Key(Part::Domain),
                digit @ '1'..='9' => Piece::Key(Part::Label(
                    digit.to_digit(10).and_then(|digit| u8::try_from(digit).ok())?,
                )),
                _ => return None,
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Some(Template(pieces))
    }

    fn note_needs(&self, needs: &mut Needs, used: Use) {
        for piece in &self.0 {
            match (piece, used) {
                (Piece::Text(_) | Piece::Subject(Part::Whole) | Piece::Key(Part::Whole), _) => {}
                (Piece::Subject(Part::User), Use::Result) => needs.result_user = true,
                (Piece::Subject(_), Use::Result) => needs.result_domain = true,
                (Piece::Subject(Part::User), Use::Query) | (Piece::Key(Part::User), _) => {
                    needs.key_user = true;
                }
                (Piece::Subject(part) | Piece::Key(part), _) => {
                    needs.key_domain = true;
                    if let Part::Label(number) = part {
                        needs.labels = needs.labels.max(usize::from(*number));
                    }
                }
            }
        }
    }

    fn expand(&self, subject: Address<'_>, key: Address<'_>, quoting: Quoting, to: &mut Vec<u8>) {
        for piece in &self.0 {
            let (address, part) = match piece {
                Piece::Text(text) => {
                    to.extend_from_slice(text.as_bytes());
                    continue;
                }
                Piece::Subject(part) => (subject, part),
                Piece::Key(part) => (key, part),
            };
            let text = address.part(*part);
            match quoting {
                Quoting::None => to.extend_from_slice(text),
                Quoting::Sql => {
                    for byte in text {
                        to.push(*byte);
                        if *byte == b'\'' {
                            to.push(b'\'');
                        }
                    }
                }
            }
        }
    }
}

impl<'a> Address<'a> {
    /// Takes an address apart, if that is of use.
    fn new(whole: &'a [u8], apart: bool) -> Address<'a> {
        let at = if apart { whole.iter().rposition(|byte| *byte == b'@') } else { None };
        Address {
            whole,
            user: at.and_then(|at| whole.get(..at)),
            domain: at.and_then(|at| whole.get(at + 1..)),
        }
    }

    /// Whether something is missing that there must be.
    fn lacks(self, user: bool, domain: bool) -> bool {
        domain && self.domain.is_none_or(<[u8]>::is_empty)
            || user && self.user.is_some_and(<[u8]>::is_empty)
    }

    fn part(self, part: Part) -> &'a [u8] {
        match part {
            Part::Whole => self.whole,
            Part::User => self.user.unwrap_or(self.whole),
            Part::Domain => self.domain.unwrap_or_default(),
            Part::Label(number) => {
                let mut labels = labels(self.domain.unwrap_or_default()).rev();
                labels.nth(usize::from(number.saturating_sub(1))).unwrap_or_default()
            }
        }
    }
}

fn labels(domain: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    domain.split(|byte| *byte == b'.').filter(|label| !label.is_empty())
}

impl Domains {
    fn parse(list: &str) -> Domains {
        let items: Vec<&str> = split_list(list).collect();
        if items.is_empty() {
            return Domains::Any;
        }
        let mut domains = Vec::new();
        for item in items {
            let name = item.trim_start_matches('!');
            if name.contains([':', '/']) {
                return Domains::Unsupported;
            }
            domains.push(((item.len() - name.len()) % 2 == 0, name.to_owned()));
        }
        Domains::These(domains)
    }
}

/// Places that are not between single quotes: what a client says could be taken for SQL there.
fn unquoted_places(query: &str) -> Vec<&str> {
    let mut places = Vec::new();
    let mut quote = None;
    let mut letters = query.char_indices();
    while let Some((at, letter)) = letters.next() {
        match quote {
            None if matches!(letter, '\'' | '"') => quote = Some(letter),
            Some(open) if open == letter => quote = None,
            _ => {}
        }
        if letter != '%' || quote == Some('\'') {
            continue;
        }
        let next = query.as_bytes().get(at + 1);
        if next.is_some_and(|byte| *byte == b'%' || byte.is_ascii_alphanumeric()) {
            letters.next();
            if next != Some(&b'%') {
                places.extend(query.get(at..at + 2));
            }
        }
    }
    places
}

#[cfg(test)]
#[path = "sqlite_cf_tests.rs"]
mod tests;
