//! What is kept from a client that asks with EHLO what there is.

use std::fmt;

use super::keyword::Keyword;

/// The words that can be discarded, in the order in which the log lists them. More than are
/// ever announced here: a list may be shared with smtpd(8).
const WORDS: [&str; 16] = [
    "8BITMIME",
    "AUTH",
    "ETRN",
    "PIPELINING",
    "SIZE",
    "VERP",
    "VRFY",
    "XCLIENT",
    "XFORWARD",
    "STARTTLS",
    "ENHANCEDSTATUSCODES",
    "DSN",
    "SMTPUTF8",
    "CHUNKING",
    REQUIRETLS,
    SILENT,
];

/// Not a word before Postfix 3.11.
const REQUIRETLS: &str = "REQUIRETLS";

/// Stands for no keyword, but for a log line that is not wanted.
const SILENT: &str = "SILENT-DISCARD";

/// Which words there are, and how the log shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vocabulary {
    /// Postfix before 3.11: no REQUIRETLS, and an odd name for SMTPUTF8 in the log.
    Before311,
    /// Postfix 3.11 and newer.
    Since311,
}

/// A set of words from main.cf: `postscreen_discard_ehlo_keywords`, or from a table of
/// `postscreen_discard_ehlo_keyword_address_maps`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Discarded(u16);

impl Discarded {
    /// Nothing is discarded.
    pub const NOTHING: Discarded = Discarded(0);

    /// Reads words between commas and blanks, in any letter case. Words that are none do no
    /// harm.
    pub fn parse(text: &str, vocabulary: Vocabulary) -> Discarded {
        let words = text.split([',', ' ', '\t', '\r', '\n']);
        words.fold(Discarded::NOTHING, |set, word| match position(word) {
            Some(bit) if vocabulary.has(word) => Discarded(set.0 | 1 << bit),
            _ => set,
        })
    }

    /// This set and one keyword more.
    #[must_use]
    pub fn with(self, keyword: Keyword) -> Discarded {
        position(keyword.name()).map_or(self, |bit| Discarded(self.0 | 1 << bit))
    }

    /// Whether the client is not to know of this.
    pub fn contains(self, keyword: Keyword) -> bool {
        self.has(keyword.name())
    }

    /// Whether nothing is to be said about it in the log.
    pub fn is_silent(self) -> bool {
        self.has(SILENT)
    }

    /// The keywords, as Postfix of that time logs them: in capitals, with spaces in between.
    pub fn listed(self, vocabulary: Vocabulary) -> String {
        let words = self.words().filter(|word| *word != SILENT);
        let shown = words.map(|word| match (word, vocabulary) {
            ("SMTPUTF8", Vocabulary::Before311) => "EHLO_MASK_SMTPUTF8",
            _ => word,
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    fn has(self, word: &str) -> bool {
        position(word).is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    fn words(self) -> impl Iterator<Item = &'static str> {
        WORDS.into_iter().filter(move |word| self.has(word))
    }
}

impl Vocabulary {
    fn has(self, word: &str) -> bool {
        self == Vocabulary::Since311 || !word.eq_ignore_ascii_case(REQUIRETLS)
    }
}

fn position(word: &str) -> Option<usize> {
    WORDS.iter().position(|known| known.eq_ignore_ascii_case(word))
}

impl fmt::Debug for Discarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.words()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(text: &str) -> Discarded {
        Discarded::parse(text, Vocabulary::Before311)
    }

    #[test]
    fn words_in_any_case_and_unknown_ones_ignored() {
        let set = old("starttls dsn,\tChunking,, bogus");
        for keyword in Keyword::ALL {
            let discarded = matches!(keyword, Keyword::Starttls | Keyword::Dsn | Keyword::Chunking);
            assert_eq!(set.contains(keyword), discarded, "{keyword:?}");
        }
        assert_eq!(set.listed(Vocabulary::Before311), "STARTTLS DSN CHUNKING");
        assert_eq!(old("starttls").with(Keyword::Dsn).with(Keyword::Chunking), set);
        assert_eq!(old("bogus"), Discarded::NOTHING);
        assert_eq!(old(""), Discarded::NOTHING);
    }

    /// As logged by 3.7.11.
    #[test]
    fn the_order_of_the_log() {
        let all = "chunking dsn smtputf8 8bitmime auth etrn pipelining size verp vrfy xclient \
                   xforward starttls enhancedstatuscodes requiretls silent-discard";
        let first = "8BITMIME AUTH ETRN PIPELINING SIZE VERP VRFY XCLIENT XFORWARD STARTTLS \
                     ENHANCEDSTATUSCODES DSN";
        let before = format!("{first} EHLO_MASK_SMTPUTF8 CHUNKING");
        assert_eq!(old(all).listed(Vocabulary::Before311), before);
        let since = Discarded::parse(all, Vocabulary::Since311);
        let after = format!("{first} SMTPUTF8 CHUNKING REQUIRETLS");
        assert_eq!(since.listed(Vocabulary::Since311), after);
    }

    #[test]
    fn silence_is_part_of_the_set() {
        assert!(old("dsn silent-discard").is_silent());
        assert!(!old("dsn").is_silent());
        assert_ne!(old("dsn silent-discard"), old("dsn"));
        assert_eq!(old("Silent-Discard").listed(Vocabulary::Before311), "");
    }
}
