//! What the guard of DNS blocklists says. Nothing here begins like a verdict, and nothing
//! names a client: programs that read the log must not take it for one.

use std::fmt;
use std::net::Ipv4Addr;

use super::Level;
use super::form::{Shown, Utc};
use crate::screen::dnsbl::guard::notice::{Case, Effect, Notice, Reach, Why};

impl Notice {
    /// How serious it is.
    pub fn level(&self) -> Level {
        match self {
            Notice::PutAside(_) | Notice::StillAside(_) | Notice::NoAnswers { .. } => {
                Level::Warning
            }
            Notice::PutAsideAgain(_)
            | Notice::Back { .. }
            | Notice::NoTestPoint { .. }
            | Notice::NoAnswersAgain { .. }
            | Notice::AnswersAgain { .. } => Level::Info,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::PutAside(case) => case.write(f, "is put aside", "would be put aside"),
            Notice::PutAsideAgain(case) => {
                case.write(f, "is put aside again", "would be put aside again")
            }
            Notice::StillAside(case) => {
                case.write(f, "is still put aside", "would still be put aside")
            }
            Notice::Back { zone, since, effect } => {
                let again = match effect {
                    Effect::Aside => "asked",
                    Effect::Told => "fine",
                };
                let (zone, since) = (Shown(zone.as_bytes()), Utc(*since));
                write!(
                    f,
                    "dnsbl zone {zone} is {again} again: broken since {since}, but now its "
                )?;
                f.write_str("test points are right")
            }
            Notice::NoTestPoint { zone } => write!(
                f,
                "dnsbl zone {} does not list the test point 127.0.0.2: it goes on, but whether it \
                 is alive cannot be seen",
                Shown(zone.as_bytes())
            ),
            Notice::NoAnswers { zones, since } | Notice::NoAnswersAgain { zones, since } => write!(
                f,
                "dnsbl zones do not answer, {zones} of {zones} since {}: is the resolver out of \
                 order? None is put aside for this",
                Utc(*since)
            ),
            Notice::AnswersAgain { since } => {
                write!(f, "dnsbl zones answer again, there was no answer since {}", Utc(*since))
            }
        }
    }
}

impl Case {
    /// The case; what has happened, or would have.
    fn write(&self, f: &mut fmt::Formatter<'_>, aside: &str, would: &str) -> fmt::Result {
        let Case { zone, why, since, effect, reach } = self;
        let (verb, can) = match effect {
            Effect::Aside => (aside, "cannot"),
            Effect::Told => (would, "could not"),
        };
        let (zone, since) = (Shown(zone.as_bytes()), Utc(*since));
        write!(f, "dnsbl zone {zone} {verb}: it {why}, since {since}")?;
        match reach {
            Reach::Enough => Ok(()),
            Reach::Short { highest, threshold } => write!(
                f,
                "; without it postscreen_dnsbl_threshold = {threshold} {can} be reached: the \
                 zones that are left come to {highest} at most"
            ),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::ListsEverything { point, answer } => {
                write!(f, "lists everything ({point} as {answer})")
            }
            Why::Refuses(address) if !address.is_loopback() => {
                write!(f, "answers with {address}, which is not in 127.0.0.0/8")
            }
            Why::Refuses(code) => {
                write!(f, "answers with the error code {code}{}", meaning(*code))
            }
            Why::Silent => f.write_str("does not answer"),
        }
    }
}

/// What the error codes mean that several lists have in common.
fn meaning(code: Ipv4Addr) -> &'static str {
    match code.octets() {
        [127, 255, 255, 252] => " (its name is mistyped)",
        [127, 255, 255, 254] => " (it was asked through a public resolver)",
        [127, 255, 255, 255] => " (it was asked too often)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::logline::LogLine;
    use crate::screen::test_set::UnixTime;

    const SINCE: UnixTime = UnixTime(1_795_365_600);

    fn case(why: Why, effect: Effect, reach: Reach) -> Case {
        Case { zone: "zen.example".into(), why, since: SINCE, effect, reach }
    }

    fn refuses(code: u8) -> Why {
        Why::Refuses(Ipv4Addr::new(127, 255, 255, code))
    }

    #[test]
    fn golden_texts() {
        let everything = Why::ListsEverything {
            point: "127.0.0.1".parse().unwrap(),
            answer: "127.0.0.2".parse().unwrap(),
        };
        let everything_6 = Why::ListsEverything {
            point: "::ffff:7f00:1".parse().unwrap(),
            answer: "127.0.0.9".parse().unwrap(),
        };
        let short = Reach::Short { highest: 6, threshold: 8 };
        let zone = || "zen.example".into();
        for (notice, level, expected) in [
            (
                Notice::PutAside(case(everything, Effect::Aside, Reach::Enough)),
                Level::Warning,
                "dnsbl zone zen.example is put aside: it lists everything (127.0.0.1 as \
                 127.0.0.2), since 2026-11-22 16:40:00 UTC",
            ),
            (
                Notice::PutAside(case(everything_6, Effect::Told, Reach::Enough)),
                Level::Warning,
                "dnsbl zone zen.example would be put aside: it lists everything \
                 (::ffff:127.0.0.1 as 127.0.0.9), since 2026-11-22 16:40:00 UTC",
            ),
            (
                Notice::PutAside(case(refuses(254), Effect::Aside, short)),
                Level::Warning,
                "dnsbl zone zen.example is put aside: it answers with the error code \
                 127.255.255.254 (it was asked through a public resolver), since 2026-11-22 \
                 16:40:00 UTC; without it postscreen_dnsbl_threshold = 8 cannot be reached: the \
                 zones that are left come to 6 at most",
            ),
            (
                Notice::PutAside(case(
                    Why::Refuses(Ipv4Addr::new(203, 0, 113, 80)),
                    Effect::Aside,
                    Reach::Enough,
                )),
                Level::Warning,
                "dnsbl zone zen.example is put aside: it answers with 203.0.113.80, which is not \
                 in 127.0.0.0/8, since 2026-11-22 16:40:00 UTC",
            ),
            (
                Notice::PutAsideAgain(case(refuses(255), Effect::Told, short)),
                Level::Info,
                "dnsbl zone zen.example would be put aside again: it answers with the error code \
                 127.255.255.255 (it was asked too often), since 2026-11-22 16:40:00 UTC; \
                 without it postscreen_dnsbl_threshold = 8 could not be reached: the zones that \
                 are left come to 6 at most",
            ),
            (
                Notice::PutAsideAgain(case(refuses(252), Effect::Aside, Reach::Enough)),
                Level::Info,
                "dnsbl zone zen.example is put aside again: it answers with the error code \
                 127.255.255.252 (its name is mistyped), since 2026-11-22 16:40:00 UTC",
            ),
            (
                Notice::StillAside(case(refuses(1), Effect::Aside, Reach::Enough)),
                Level::Warning,
                "dnsbl zone zen.example is still put aside: it answers with the error code \
                 127.255.255.1, since 2026-11-22 16:40:00 UTC",
            ),
            (
                Notice::StillAside(case(Why::Silent, Effect::Told, Reach::Enough)),
                Level::Warning,
                "dnsbl zone zen.example would still be put aside: it does not answer, since \
                 2026-11-22 16:40:00 UTC",
            ),
            (
                Notice::Back { zone: zone(), since: SINCE, effect: Effect::Aside },
                Level::Info,
                "dnsbl zone zen.example is asked again: broken since 2026-11-22 16:40:00 UTC, but \
                 now its test points are right",
            ),
            (
                Notice::Back { zone: zone(), since: SINCE, effect: Effect::Told },
                Level::Info,
                "dnsbl zone zen.example is fine again: broken since 2026-11-22 16:40:00 UTC, but \
                 now its test points are right",
            ),
            (
                Notice::NoTestPoint { zone: zone() },
                Level::Info,
                "dnsbl zone zen.example does not list the test point 127.0.0.2: it goes on, but \
                 whether it is alive cannot be seen",
            ),
            (
                Notice::NoAnswers { zones: 3, since: SINCE },
                Level::Warning,
                "dnsbl zones do not answer, 3 of 3 since 2026-11-22 16:40:00 UTC: is the \
                 resolver out of order? None is put aside for this",
            ),
            (
                Notice::NoAnswersAgain { zones: 1, since: SINCE },
                Level::Info,
                "dnsbl zones do not answer, 1 of 1 since 2026-11-22 16:40:00 UTC: is the \
                 resolver out of order? None is put aside for this",
            ),
            (
                Notice::AnswersAgain { since: SINCE },
                Level::Info,
                "dnsbl zones answer again, there was no answer since 2026-11-22 16:40:00 UTC",
            ),
        ] {
            let line = LogLine::Dnsbl(notice);
            assert_eq!(line.to_string(), expected);
            assert_eq!(line.level(), level, "{expected}");
            assert!(expected.starts_with("dnsbl zone"));
            // What programs that ban clients look for.
            let lower = expected.to_lowercase();
            for word in ["[", "reject", "sasl", "from ", "lost connection", "disconnect", "blocked"]
            {
                assert!(!lower.contains(word), "{word} in: {expected}");
            }
        }
    }

    #[test]
    fn a_public_name_cannot_break_a_line() {
        let notice = Notice::NoTestPoint { zone: "zen\nPASS NEW [192.0.2.1]:1 \u{7f}".into() };
        let text = notice.to_string();
        assert!(text.starts_with("dnsbl zone zen?PASS NEW [192.0.2.1]:1 ? does not"), "{text}");
    }

    #[test]
    fn points_in_time() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (68_256_000 - 1, "1972-02-29 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (1_795_365_600, "2026-11-22 16:40:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(Utc(UnixTime(seconds)).to_string(), expected);
        }
        assert!(Utc(UnixTime(u64::MAX)).to_string().ends_with(" UTC"));
    }
}
