//! Postfix's version numbers.

/// A Postfix version (main.cf: `mail_version`): `3.7.11`, `3.8.0-RC1`, `3.12-20260821`.
/// Later versions are greater; a development snapshot comes before the first release
/// candidate of its series, and that before the releases.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PostfixVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// How far the series is.
    pub stage: Stage,
}

/// How far a release series is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// A development snapshot; the date as `yyyymmdd`.
    Snapshot(u32),
    /// A release candidate.
    Candidate(u32),
    /// A release; the patch level.
    Release(u32),
}

impl PostfixVersion {
    /// The release `major.minor.patch`.
    pub const fn release(major: u32, minor: u32, patch: u32) -> PostfixVersion {
        PostfixVersion { major, minor, stage: Stage::Release(patch) }
    }

    /// The snapshot of a day, as `yyyymmdd`.
    pub const fn snapshot(major: u32, minor: u32, date: u32) -> PostfixVersion {
        PostfixVersion { major, minor, stage: Stage::Snapshot(date) }
    }

    /// Reads a version; `None` when the text is not one. Further text after a second `-`
    /// (`3.12-20260821-nonprod`) does not matter.
    pub fn parse(text: &str) -> Option<PostfixVersion> {
        let (numbers, suffix) = match text.split_once('-') {
            Some((numbers, suffix)) => (numbers, suffix.split('-').next()),
            None => (text, None),
        };
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        let patch = match parts.next() {
            Some(patch) => Some(patch?),
            None => None,
        };
        let stage = match (patch, suffix) {
            (None, Some(date)) => Stage::Snapshot(date.parse().ok()?),
            (Some(_), Some(suffix)) => match suffix.strip_prefix("RC") {
                Some(number) => Stage::Candidate(number.parse().ok()?),
                None => Stage::Release(patch?),
            },
            (patch, None) => Stage::Release(patch.unwrap_or(0)),
        };
        parts.next().is_none().then_some(PostfixVersion { major, minor, stage })
    }

    /// Whether the series is `major.minor` or later, snapshots included.
    pub fn is_at_least(self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order() {
        let versions = ["3.7.11", "3.8.0-RC1", "3.8.0", "3.11.6", "3.12-20260423", "3.12.0"];
        let parsed: Vec<_> = versions.map(|text| PostfixVersion::parse(text).unwrap()).into();
        assert!(parsed.is_sorted());
        assert_eq!(parsed[0], PostfixVersion::release(3, 7, 11));
        assert_eq!(parsed[4], PostfixVersion::snapshot(3, 12, 20_260_423));
        assert_eq!(
            PostfixVersion::parse("3.12-20260423-nonprod"),
            Some(PostfixVersion::snapshot(3, 12, 20_260_423))
        );
        assert!(parsed[4].is_at_least(3, 12) && !parsed[3].is_at_least(3, 12));
    }

    #[test]
    fn no_versions() {
        for bad in ["", "3", "x.y", "3.12-x", "3.7.11.1", "3.7.", "-3.7"] {
            assert_eq!(PostfixVersion::parse(bad), None, "{bad}");
        }
    }
}
