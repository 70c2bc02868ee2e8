//! Rust source text, read just well enough to find paths, strings and test code.

use std::fs;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Chars;

/// A token; comments, lifetimes and character literals are left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Token {
    /// A word: identifier, keyword or number.
    Word(String),
    /// The content of a string literal, escapes not undone.
    Text(String),
    /// Any other character.
    Sign(char),
}

/// One file.
pub struct Source {
    /// The name below `src`, with slashes.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The module that the file is, from the crate's root; `main` for `main.rs`.
    pub module: Vec<String>,
    tokens: Vec<Token>,
}

impl Source {
    /// Reads a file below the directory `root`.
    pub fn read(root: &Path, path: &Path) -> Self {
        Self::parse(root, path, &fs::read_to_string(path).unwrap())
    }

    /// Takes a file's text.
    pub fn parse(root: &Path, path: &Path, text: &str) -> Self {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        let stem = name.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = match stem {
            "lib" => Vec::new(),
            _ => stem.split('/').map(str::to_owned).collect(),
        };
        Self { name, path: path.to_owned(), module, tokens: tokens(text) }
    }

    /// Does this word occur?
    pub fn says(&self, word: &str) -> bool {
        self.tokens.iter().any(|token| is_word(token, word))
    }

    /// The contents of the string literals.
    pub fn strings(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// All paths of two and more names; the trees of `use` are spread out.
    pub fn paths(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        let mut position = 0;
        while position < self.tokens.len() {
            let starts = !self.separator(position.wrapping_sub(2));
            match &self.tokens[position] {
                Token::Word(_) if starts && self.separator(position + 1) => {
                    position = self.tree(position, &[], &mut found);
                }
                _ => position += 1,
            }
        }
        found
    }

    /// Reads the tree that begins at a position; returns the position after it.
    fn tree(&self, mut position: usize, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
        let mut path = before.to_vec();
        loop {
            match self.tokens.get(position) {
                Some(Token::Word(word)) => {
                    if word != "self" || path.is_empty() {
                        path.push(word.clone());
                    }
                    position += 1;
                }
                Some(Token::Sign('{')) => {
                    position += 1;
                    while let Some(token) = self.tokens.get(position) {
                        match token {
                            Token::Sign('}') => return position + 1,
                            Token::Word(_) if !self.renames(position) => {
                                position = self.tree(position, &path, found);
                            }
                            _ => position += 1,
                        }
                    }
                    return position;
                }
                _ => {
                    // A `*`, or the `<` of type arguments: the path so far counts.
                    found.push(path);
                    return position;
                }
            }
            if !self.separator(position) {
                found.push(path);
                return position;
            }
            position += 2;
        }
    }

    /// Is the word here part of `as NAME`?
    fn renames(&self, position: usize) -> bool {
        let is_as = |at: usize| self.tokens.get(at).is_some_and(|token| is_word(token, "as"));
        is_as(position) || is_as(position.wrapping_sub(1))
    }

    fn separator(&self, position: usize) -> bool {
        let colon = Some(&Token::Sign(':'));
        position < self.tokens.len()
            && self.tokens.get(position) == colon
            && self.tokens.get(position + 1) == colon
    }

    /// What a path within the crate names, from the crate's root; None for other paths.
    pub fn resolve(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" | "gatepost" => Some(rest.to_vec()),
            "self" | "super" => {
                let mut base = self.module.clone();
                for word in path {
                    match word.as_str() {
                        "super" => drop(base.pop()),
                        "self" => {}
                        _ => base.push(word.clone()),
                    }
                }
                Some(base)
            }
            _ => None,
        }
    }

    /// Without the items that are `#[cfg(test)]`.
    pub fn without_tests(mut self) -> Self {
        while let Some(start) = (0..self.tokens.len()).find(|at| self.is_test_only(*at)) {
            let end = self.end_of_item(start);
            self.tokens.drain(start..end);
        }
        self
    }

    /// The files of modules that are declared for tests only.
    pub fn test_files(&self) -> Vec<PathBuf> {
        let directory = self.path.parent().unwrap();
        let own = directory.join(self.path.file_stem().unwrap());
        let mut files = Vec::new();
        for start in (0..self.tokens.len()).filter(|at| self.is_test_only(*at)) {
            let item = &self.tokens[start..self.end_of_item(start)];
            if let [.., keyword, Token::Word(name), Token::Sign(';')] = item
                && is_word(keyword, "mod")
            {
                for place in [directory, &own] {
                    files.push(place.join(format!("{name}.rs")));
                    files.push(place.join(name).join("mod.rs"));
                }
                files.extend(item.iter().filter_map(|token| match token {
                    Token::Text(path) => Some(directory.join(path)),
                    _ => None,
                }));
            }
        }
        files
    }

    /// Does `#[cfg(test)]` or `#[cfg(all(test, ...))]` begin here?
    fn is_test_only(&self, start: usize) -> bool {
        let Some(rest) = self.tokens.get(start..) else { return false };
        let words: Vec<&str> = match rest {
            [Token::Sign('#'), Token::Sign('['), attribute @ ..] => attribute
                .iter()
                .take_while(|token| **token != Token::Sign(']'))
                .filter_map(|token| match token {
                    Token::Word(word) => Some(word.as_str()),
                    _ => None,
                })
                .collect(),
            _ => return false,
        };
        words.starts_with(&["cfg", "test"]) || words.starts_with(&["cfg", "all", "test"])
    }

    /// The position after the item whose attributes begin here.
    fn end_of_item(&self, start: usize) -> usize {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(start) {
            match token {
                Token::Sign('(' | '[' | '{') => depth += 1,
                Token::Sign(')' | ']') => depth -= 1,
                Token::Sign('}') => {
                    depth -= 1;
                    if depth == 0 {
                        return at + 1;
                    }
                }
                Token::Sign(';') if depth == 0 => return at + 1,
                _ => {}
            }
        }
        self.tokens.len()
    }
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(text) if text == word)
}

/// Splits source text into tokens.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '/' if rest.peek() == Some(&'/') => {
                for _ in rest.by_ref().take_while(|c| *c != '\n') {}
            }
            '/' if rest.peek() == Some(&'*') => skip_comment(&mut rest),
            '"' => found.push(Token::Text(quoted(&mut rest))),
            '\'' => skip_character(&mut rest),
            _ if next.is_alphanumeric() || next == '_' => {
                let mut word = String::from(next);
                while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                match (word.as_str(), rest.peek()) {
                    ("r" | "br" | "cr", Some('"' | '#')) => {
                        found.push(Token::Text(raw(&mut rest)));
                    }
                    // The prefix of a literal, which comes next.
                    ("b" | "c", Some('"' | '\'')) => {}
                    _ => found.push(Token::Word(word)),
                }
            }
            _ if next.is_whitespace() => {}
            _ => found.push(Token::Sign(next)),
        }
    }
    found
}

fn skip_comment(rest: &mut Peekable<Chars<'_>>) {
    rest.next();
    let mut depth = 1;
    let mut before = ' ';
    while depth > 0
        && let Some(c) = rest.next()
    {
        match (before, c) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                before = c;
                continue;
            }
        }
        before = ' ';
    }
}

/// The rest of a string literal.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => {
                text.push(c);
                text.extend(rest.next());
            }
            _ => text.push(c),
        }
    }
    text
}

/// A raw string literal, from its `#` or `"` on. (A raw identifier is lost; none matters.)
fn raw(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut end = String::from('"');
    while rest.next_if_eq(&'#').is_some() {
        end.push('#');
    }
    let mut text = String::new();
    if rest.next_if_eq(&'"').is_some() {
        while !text.ends_with(&end)
            && let Some(c) = rest.next()
        {
            text.push(c);
        }
        text.truncate(text.len().saturating_sub(end.len()));
    }
    text
}

/// The rest of a character literal, or of a lifetime.
fn skip_character(rest: &mut Peekable<Chars<'_>>) {
    let first = rest.next();
    if first == Some('\\') {
        rest.next();
        for _ in rest.by_ref().take_while(|c| *c != '\'') {}
    } else if rest.next_if_eq(&'\'').is_none() {
        // After one character comes the quote, or it is a lifetime's name.
        while rest.next_if(|c| c.is_alphanumeric() || *c == '_').is_some() {}
    }
}
