//! Whether STARTTLS is worth an attempt.
//!
//! A tlsproxy(8) that does not answer costs every client that asks for TLS up to twenty
//! seconds, and clients that can do without would. So STARTTLS is not offered for a while
//! after several failures in a row.

use std::time::{Duration, Instant};

use crate::screen::policy::TlsLevel;

/// How many failures in a row are enough.
pub const TLS_FAILURES: u32 = 3;

/// For how long STARTTLS is not offered then.
pub const TLS_PAUSE: Duration = Duration::from_secs(60);

/// How it went with tlsproxy(8) of late.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TlsHealth {
    /// How many attempts have failed since the last one that worked.
    failures: u32,
    /// The end of the pause.
    resumes: Option<Instant>,
}

/// What STARTTLS is good for now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsOffer {
    /// Nothing: it is switched off.
    Off,
    /// Nothing for the moment.
    Suspended,
    /// It is worth an attempt.
    Open,
}

/// A change that the log tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsNotice {
    /// STARTTLS is not offered for a while.
    Suspended,
    /// It works again.
    Resumed,
}

/// Decides what is offered. Where nothing works without TLS, there is nothing to lose by
/// another attempt.
pub fn tls_offer(level: TlsLevel, health: TlsHealth, now: Instant) -> TlsOffer {
    match level {
        TlsLevel::None => TlsOffer::Off,
        TlsLevel::May if health.resumes.is_some_and(|end| now < end) => TlsOffer::Suspended,
        TlsLevel::May | TlsLevel::Encrypt => TlsOffer::Open,
    }
}

/// tlsproxy(8) could not be had. After a pause one failure is enough for the next one, of
/// which the log does not tell again.
pub fn after_tls_failure(
    level: TlsLevel,
    health: TlsHealth,
    now: Instant,
) -> (TlsHealth, Option<TlsNotice>) {
    let failures = health.failures.saturating_add(1);
    if failures < TLS_FAILURES {
        return (TlsHealth { failures, resumes: None }, None);
    }
    let notice = failures == TLS_FAILURES && level == TlsLevel::May;
    let health = TlsHealth { failures, resumes: Some(now + TLS_PAUSE) };
    (health, notice.then_some(TlsNotice::Suspended))
}

/// tlsproxy(8) has taken a client.
pub fn after_tls_success(level: TlsLevel, health: TlsHealth) -> (TlsHealth, Option<TlsNotice>) {
    let notice = health.failures >= TLS_FAILURES && level == TlsLevel::May;
    (TlsHealth::default(), notice.then_some(TlsNotice::Resumed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_suspend_the_offer_for_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let offer = |health, seconds| tls_offer(TlsLevel::May, health, at(seconds));
        let fail = |health, seconds| after_tls_failure(TlsLevel::May, health, at(seconds));

        let (health, notice) = fail(TlsHealth::default(), 0);
        assert_eq!((offer(health, 0), notice), (TlsOffer::Open, None));
        let (health, notice) = fail(health, 1);
        assert_eq!((offer(health, 1), notice), (TlsOffer::Open, None));
        let (health, notice) = fail(health, 2);
        assert_eq!((offer(health, 2), notice), (TlsOffer::Suspended, Some(TlsNotice::Suspended)));
        assert_eq!((offer(health, 61), offer(health, 62)), (TlsOffer::Suspended, TlsOffer::Open));

        // One more is enough, and is no news.
        let (health, notice) = fail(health, 70);
        assert_eq!((offer(health, 129), notice), (TlsOffer::Suspended, None));
        let (health, notice) = after_tls_success(TlsLevel::May, health);
        assert_eq!((health, notice), (TlsHealth::default(), Some(TlsNotice::Resumed)));
        assert_eq!(after_tls_success(TlsLevel::May, health), (health, None));
    }

    #[test]
    fn a_success_in_between_counts() {
        let now = Instant::now();
        let mut health = TlsHealth::default();
        for _ in 0..10 {
            for _ in 1..TLS_FAILURES {
                let notice;
                (health, notice) = after_tls_failure(TlsLevel::May, health, now);
                assert_eq!((tls_offer(TlsLevel::May, health, now), notice), (TlsOffer::Open, None));
            }
            assert_eq!(after_tls_success(TlsLevel::May, health), (TlsHealth::default(), None));
            health = TlsHealth::default();
        }
    }

    #[test]
    fn the_level_goes_before() {
        let now = Instant::now();
        let mut health = TlsHealth::default();
        for _ in 0..5 {
            let notice;
            (health, notice) = after_tls_failure(TlsLevel::Encrypt, health, now);
            assert_eq!(notice, None);
        }
        assert_eq!(tls_offer(TlsLevel::Encrypt, health, now), TlsOffer::Open);
        assert_eq!(tls_offer(TlsLevel::None, TlsHealth::default(), now), TlsOffer::Off);
        assert_eq!(after_tls_success(TlsLevel::Encrypt, health), (TlsHealth::default(), None));
    }
}
