//! From a line to a command: its word, its arguments, the address in them.

use super::address;

/// The commands that the engine knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// RFC 5321.
    Helo,
    /// RFC 5321.
    Ehlo,
    /// RFC 3207.
    Starttls,
    /// RFC 5321.
    Mail,
    /// RFC 5321.
    Rcpt,
    /// RFC 5321.
    Data,
    /// RFC 3030.
    Bdat,
    /// RFC 5321.
    Rset,
    /// RFC 5321.
    Noop,
    /// RFC 5321.
    Vrfy,
    /// RFC 1985.
    Etrn,
    /// RFC 5321.
    Quit,
    /// Postfix's own; known, and refused.
    Xclient,
    /// Postfix's own; known, and refused.
    Xforward,
    /// RFC 4954; known, and refused.
    Auth,
}

impl Verb {
    /// All commands.
    pub const ALL: [Verb; 15] = [
        Verb::Helo,
        Verb::Ehlo,
        Verb::Starttls,
        Verb::Mail,
        Verb::Rcpt,
        Verb::Data,
        Verb::Bdat,
        Verb::Rset,
        Verb::Noop,
        Verb::Vrfy,
        Verb::Etrn,
        Verb::Quit,
        Verb::Xclient,
        Verb::Xforward,
        Verb::Auth,
    ];

    /// The command in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Verb::Helo => "HELO",
            Verb::Ehlo => "EHLO",
            Verb::Starttls => "STARTTLS",
            Verb::Mail => "MAIL",
            Verb::Rcpt => "RCPT",
            Verb::Data => "DATA",
            Verb::Bdat => "BDAT",
            Verb::Rset => "RSET",
            Verb::Noop => "NOOP",
            Verb::Vrfy => "VRFY",
            Verb::Etrn => "ETRN",
            Verb::Quit => "QUIT",
            Verb::Xclient => "XCLIENT",
            Verb::Xforward => "XFORWARD",
            Verb::Auth => "AUTH",
        }
    }

    /// The command that a word stands for, in any letter case.
    pub fn of(word: &[u8]) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| word.eq_ignore_ascii_case(verb.name().as_bytes()))
    }
}

/// The last line that the engine has taken, as log lines name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LastCommand {
    /// None yet.
    #[default]
    Connect,
    /// A command that the engine knows, whatever came of it.
    Known(Verb),
    /// Something else.
    Unimplemented,
}

impl From<Option<Verb>> for LastCommand {
    fn from(verb: Option<Verb>) -> LastCommand {
        verb.map_or(LastCommand::Unimplemented, LastCommand::Known)
    }
}

/// One command line, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command<'a> {
    /// The command word as the client wrote it; empty for an empty line.
    pub word: &'a [u8],
    /// What follows the space behind the word.
    pub rest: &'a [u8],
    /// The command, if the engine knows it.
    pub verb: Option<Verb>,
}

impl<'a> Command<'a> {
    /// Takes a line apart. Only spaces separate; a tab is part of a word.
    pub fn parse(text: &'a [u8]) -> Command<'a> {
        let start = text.iter().position(|byte| *byte != b' ').unwrap_or(text.len());
        let text = text.get(start..).unwrap_or_default();
        let mut parts = text.splitn(2, |byte| *byte == b' ');
        let word = parts.next().unwrap_or_default();
        Command { word, rest: parts.next().unwrap_or_default(), verb: Verb::of(word) }
    }

    /// The first word behind the command.
    pub fn argument(&self) -> Option<&'a [u8]> {
        self.rest.split(|byte| *byte == b' ').find(|word| !word.is_empty())
    }

    /// Whether the client has to wait for the reply. Behind BDAT comes its chunk.
    pub fn may_not_be_followed(&self) -> bool {
        self.verb != Some(Verb::Bdat)
    }

    /// The address behind the first colon, of MAIL and RCPT. What stands before the colon
    /// is not looked at, and what stands behind the address neither. `None` without a colon.
    pub fn address(&self) -> Option<Vec<u8>> {
        let colon = self.rest.iter().position(|byte| *byte == b':')?;
        Some(address::extract(self.rest.get(colon + 1..).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (&str, &str, Option<Verb>) {
        let command = Command::parse(text.as_bytes());
        let text = |bytes| str::from_utf8(bytes).unwrap();
        (text(command.word), text(command.rest), command.verb)
    }

    #[test]
    fn words() {
        for (line, expected) in [
            ("EHLO c.example", ("EHLO", "c.example", Some(Verb::Ehlo))),
            ("  noop  x", ("noop", " x", Some(Verb::Noop))),
            ("QUIT ", ("QUIT", "", Some(Verb::Quit))),
            ("EHLO\tx", ("EHLO\tx", "", None)),
            ("\tNOOP", ("\tNOOP", "", None)),
            ("NOOP\r", ("NOOP\r", "", None)),
            ("EHLOx", ("EHLOx", "", None)),
            ("Subject: hi", ("Subject:", "hi", None)),
            ("", ("", "", None)),
            ("   ", ("", "", None)),
        ] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn every_verb_is_known_by_its_name() {
        for verb in Verb::ALL {
            assert_eq!(Verb::of(verb.name().as_bytes()), Some(verb));
            assert_eq!(Verb::of(verb.name().to_lowercase().as_bytes()), Some(verb));
        }
    }

    #[test]
    fn arguments() {
        let argument = |line| Command::parse(line).argument();
        assert_eq!(argument(b"HELO a b c"), Some(&b"a"[..]));
        assert_eq!(argument(b"HELO   a"), Some(&b"a"[..]));
        assert_eq!(argument(b"HELO   "), None);
        assert_eq!(argument(b"HELO"), None);
    }

    #[test]
    fn addresses_stand_behind_the_first_colon() {
        let address = |line| Command::parse(line).address();
        assert_eq!(address(b"MAIL FROM <x>"), None);
        assert_eq!(address(b"MAIL"), None);
        assert_eq!(address(b"MAIL FROM:"), Some(Vec::new()));
        assert_eq!(address(b"RCPT ANY:<a:b@c>"), Some(b"a:b@c".to_vec()));
    }
}
