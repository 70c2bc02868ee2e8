//! The service extensions that EHLO can announce.

/// A keyword of the EHLO reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keyword {
    /// RFC 1870.
    Size,
    /// RFC 5321.
    Vrfy,
    /// RFC 1985.
    Etrn,
    /// RFC 3207.
    Starttls,
    /// RFC 2034.
    EnhancedStatusCodes,
    /// RFC 6152.
    EightBitMime,
    /// RFC 3461.
    Dsn,
    /// RFC 6531.
    Smtputf8,
    /// RFC 3030.
    Chunking,
}

impl Keyword {
    /// All keywords, in the order in which they are announced.
    pub const ALL: [Keyword; 9] = [
        Keyword::Size,
        Keyword::Vrfy,
        Keyword::Etrn,
        Keyword::Starttls,
        Keyword::EnhancedStatusCodes,
        Keyword::EightBitMime,
        Keyword::Dsn,
        Keyword::Smtputf8,
        Keyword::Chunking,
    ];

    /// The keyword as it is announced.
    pub const fn name(self) -> &'static str {
        match self {
            Keyword::Size => "SIZE",
            Keyword::Vrfy => "VRFY",
            Keyword::Etrn => "ETRN",
            Keyword::Starttls => "STARTTLS",
            Keyword::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Keyword::EightBitMime => "8BITMIME",
            Keyword::Dsn => "DSN",
            Keyword::Smtputf8 => "SMTPUTF8",
            Keyword::Chunking => "CHUNKING",
        }
    }
}
