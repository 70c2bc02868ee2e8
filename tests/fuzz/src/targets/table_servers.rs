//! What servers of tables answer: pieces make no difference, nothing is kept without end, and
//! whatever they say, a warning about it has a bounded length.

use gatepost::postfix::remote::{Asked, Customs, Generation, Progress, Talk};
use gatepost::postfix::table::Dialect;

use super::take::Take;

/// The longest answer that any of the languages allows, with room for what frames it.
const MOST: usize = (1 << 20) + 4096;

const KEY: &[u8] = b"192.0.2.1";

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let dialect = match take.number() % 3 {
        0 => Dialect::Proxymap { table: "hash:/x".to_owned(), flags: 64, implied: false },
        1 => Dialect::Socketmap { map: "m".to_owned() },
        _ => Dialect::Tcp,
    };
    let generation = take.pick(&[Generation::UpTo310, Generation::Since311]);
    let answers = take.0;
    let whole = hear(&dialect, generation, &[answers]);
    assert_eq!(hear(&dialect, generation, &answers.chunks(1).collect::<Vec<_>>()), whole);
    let (first, second) = answers.split_at(answers.len() / 2);
    assert_eq!(hear(&dialect, generation, &[first, second]), whole);
    for progress in &whole.1 {
        if let Progress::Failed { warning: Some(warning), .. } = progress {
            assert!(warning.len() < 600, "{warning}");
        }
    }
}

/// What the first answer was, and what was sent.
fn hear(dialect: &Dialect, generation: Generation, pieces: &[&[u8]]) -> (Vec<u8>, Vec<Progress>) {
    let customs = Customs { proxymap: generation, socketmap_query: None, socketmap_reply: 100_000 };
    let mut talk = Talk::new(dialect, customs, "127.0.0.1:9");
    let mut sent = Vec::new();
    let mut answers = Vec::new();
    assert_eq!(talk.ask(dialect, "t:x", KEY, &mut sent), Asked::Sent);
    let mut length = 0;
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        length += piece.len();
        let progress = talk.received(piece, "t:x", &mut sent);
        if progress != Progress::Waits {
            answers.push(progress);
            break;
        }
        assert!(length < MOST, "{length} bytes and no end");
    }
    (sent, answers)
}
