//! What is remembered of DNS blocklists beyond the end of a process: anything may be in the
//! file, and what is understood is written in the same way again.
//!
//! Input: the stored text.

use gatepost::screen::dnsbl::guard::saved::Saved;
use gatepost::screen::hostname;

pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some(saved) = Saved::decode(text) else { return };
    let written = saved.encode();
    assert_eq!(Saved::decode(&written), Some(saved.clone()), "{written:?}");
    assert!(!written.bytes().any(|byte| byte.is_ascii_control()), "{written:?}");
    if saved.key() != Saved::RESOLVER {
        assert_eq!(hostname::check(saved.key()), Ok(()));
    }
}
