//! resolv.conf, and gatepost.cf's dnsbl_nameservers: there is always somebody to ask, and
//! never for too long.
//!
//! Input: the text of the file, which is also tried as a list.

use std::time::Duration;

use gatepost::dns::resolv_conf::{ListError, MOST_SERVERS, Servers, server_list};

pub fn check(data: &[u8]) {
    let (servers, warnings) = Servers::from_resolv_conf(data);
    assert!((1..=MOST_SERVERS).contains(&servers.list.len()), "{servers:?}");
    assert!(servers.list.iter().all(|server| server.port() == 53), "{servers:?}");
    assert!(servers.timeout >= Duration::from_secs(1), "{servers:?}");
    assert!(servers.timeout <= Duration::from_secs(30), "{servers:?}");
    assert!((1..=5).contains(&servers.attempts), "{servers:?}");
    let lines = data.split(|byte| *byte == b'\n').count();
    assert!(warnings.len() <= lines, "{} warnings", warnings.len());

    let Ok(text) = str::from_utf8(data) else { return };
    match server_list(text) {
        Ok(list) => {
            assert!((1..=MOST_SERVERS).contains(&list.len()), "{list:?}");
            assert!(list.iter().all(|server| server.port() != 0), "{list:?}");
            let words: Vec<String> = list.iter().map(ToString::to_string).collect();
            // As text, an IPv4 address with its port has no brackets.
            let words = words.iter().map(|word| match word.split_once(':') {
                Some((address, port)) if !word.starts_with('[') => format!("[{address}]:{port}"),
                _ => word.clone(),
            });
            let again = words.collect::<Vec<_>>().join(", ");
            assert_eq!(server_list(&again), Ok(list), "{again}");
        }
        Err(ListError::Empty) => {
            assert!(text.bytes().all(|byte| byte == b',' || byte.is_ascii_whitespace()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
