//! Rules about addresses of which the first one that matches decides: whatever their number,
//! and whatever ifs are around them, a look-up takes about as long.
//!
//! The answer can only change where a network begins or ends. So once, beforehand, all
//! addresses are gone through from such a place to the next, and what the answer is from there
//! on is kept; a look-up finds its stretch by halving. What is the first rule at each place, a
//! tree over the rules knows ([`Applying`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Range, RangeInclusive};

use super::applying::Applying;
use super::network::{Network, range_v4, range_v6};

/// A network or, within its address family, everything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pattern {
    /// The network.
    pub network: Network,
    /// Everything else.
    pub negated: bool,
}

impl Pattern {
    /// The network itself.
    pub fn is(network: Network) -> Pattern {
        Pattern { network, negated: false }
    }
}

/// Rules in their order.
#[derive(Clone, Default, Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    ifs: Vec<If>,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    pattern: Pattern,
    result: u32,
}

/// The rules with these numbers are skipped where the pattern does not match.
#[derive(Clone, Debug)]
struct If {
    pattern: Pattern,
    rules: Range<usize>,
}

impl Rules {
    /// One more rule, after those there are.
    pub fn add(&mut self, pattern: Pattern, result: u32) {
        self.rules.push(Rule { pattern, result });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Puts an if around the last rules, from number `first` on.
    pub fn enclose(&mut self, pattern: Pattern, first: usize) {
        let rules = first..self.len();
        if !rules.is_empty() {
            self.ifs.push(If { pattern, rules });
        }
    }

    /// What finds the first rule that matches.
    pub fn compile(&self) -> FirstMatch {
        FirstMatch { v4: Stretches::new(self), v6: Stretches::new(self) }
    }

    /// The result of one of them.
    fn result(&self, number: usize) -> Option<u32> {
        self.rules.get(number).map(|rule| rule.result)
    }
}

/// What the first rule that matches gives, for each address.
#[derive(Clone, Debug)]
pub struct FirstMatch {
    v4: Stretches<Ipv4Addr>,
    v6: Stretches<Ipv6Addr>,
}

impl FirstMatch {
    /// The result of the first rule that matches.
    pub fn find(&self, address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => self.v4.find(address),
            IpAddr::V6(address) => self.v6.find(address),
        }
    }
}

/// The answers for one address family.
#[derive(Clone, Debug)]
struct Stretches<A> {
    /// Where stretches with one answer begin, ascending; each reaches to the next one.
    starts: Vec<A>,
    /// The answer of each stretch.
    answers: Vec<Option<u32>>,
}

/// An address of one family.
trait Address: Copy + Ord {
    /// The lowest one.
    const FIRST: Self;

    /// The addresses of a network, if it is of this family.
    fn range(network: Network) -> Option<RangeInclusive<Self>>;

    /// The next one; `None` after the last one.
    fn successor(self) -> Option<Self>;
}

impl Address for Ipv4Addr {
    const FIRST: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

    fn range(network: Network) -> Option<RangeInclusive<Ipv4Addr>> {
        match network {
            Network::V4(first, length) => Some(range_v4(first, length)),
            Network::V6(..) => None,
        }
    }

    fn successor(self) -> Option<Ipv4Addr> {
        self.to_bits().checked_add(1).map(Ipv4Addr::from_bits)
    }
}

impl Address for Ipv6Addr {
    const FIRST: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

    fn range(network: Network) -> Option<RangeInclusive<Ipv6Addr>> {
        match network {
            Network::V6(first, length) => Some(range_v6(first, length)),
            Network::V4(..) => None,
        }
    }

    fn successor(self) -> Option<Ipv6Addr> {
        self.to_bits().checked_add(1).map(Ipv6Addr::from_bits)
    }
}

/// From an address on a pattern matches, or does not match any more.
struct Change<A> {
    from: A,
    whose: Whose,
    matches: bool,
}

#[derive(Clone, Copy)]
enum Whose {
    Rule(usize),
    If(usize),
}

impl<A: Address> Stretches<A> {
    fn new(rules: &Rules) -> Stretches<A> {
        let mut applying = Applying::new(rules.len());
        let mut changes = Vec::new();
        let mut note = |pattern: Pattern, whose| {
            let range = A::range(pattern.network)?;
            changes.push(Change { from: *range.start(), whose, matches: !pattern.negated });
            let after = range.end().successor();
            changes.extend(after.map(|from| Change { from, whose, matches: pattern.negated }));
            Some(pattern.negated)
        };
        // What holds for the lowest address, if it begins no network.
        for (number, rule) in rules.rules.iter().enumerate() {
            if note(rule.pattern, Whose::Rule(number)) == Some(true) {
                applying.set(number, true);
            }
        }
        for (number, around) in rules.ifs.iter().enumerate() {
            if note(around.pattern, Whose::If(number)) != Some(true) {
                applying.block(around.rules.clone());
            }
        }
        changes.sort_unstable_by_key(|change| change.from);
        let mut stretches = Stretches { starts: Vec::new(), answers: Vec::new() };
        let first = |applying: &Applying| applying.first().and_then(|rule| rules.result(rule));
        stretches.push(A::FIRST, first(&applying));
        for group in changes.chunk_by(|one, other| one.from == other.from) {
            for Change { whose, matches, .. } in group {
                match whose {
                    Whose::Rule(number) => applying.set(*number, *matches),
                    Whose::If(number) => {
                        let Some(around) = rules.ifs.get(*number) else { continue };
                        if *matches {
                            applying.unblock(around.rules.clone());
                        } else {
                            applying.block(around.rules.clone());
                        }
                    }
                }
            }
            if let Some(Change { from, .. }) = group.first() {
                stretches.push(*from, first(&applying));
            }
        }
        stretches.starts.shrink_to_fit();
        stretches.answers.shrink_to_fit();
        stretches
    }

    /// From `start` on, which is not below the last one, the answer is this.
    fn push(&mut self, start: A, answer: Option<u32>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.answers.pop();
        }
        if self.answers.last() != Some(&answer) {
            self.starts.push(start);
            self.answers.push(answer);
        }
    }

    fn find(&self, address: A) -> Option<u32> {
        let after = self.starts.partition_point(|start| *start <= address);
        self.answers.get(after.checked_sub(1)?).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        match text.strip_prefix('!') {
            Some(text) => Pattern { network: Network::parse(text).unwrap(), negated: true },
            None => Pattern::is(Network::parse(text).unwrap()),
        }
    }

    fn rules(texts: &[&str]) -> Rules {
        let mut rules = Rules::default();
        for (text, number) in texts.iter().zip(0..) {
            rules.add(pattern(text), number);
        }
        rules
    }

    fn answers<const N: usize>(rules: &Rules, addresses: [&str; N]) -> [Option<u32>; N] {
        let compiled = rules.compile();
        addresses.map(|address| compiled.find(address.parse().unwrap()))
    }

    #[test]
    fn nothing() {
        let nothing = rules(&[]);
        assert_eq!(answers(&nothing, ["0.0.0.0", "255.255.255.255", "::"]), [None; 3]);
    }

    #[test]
    fn nested_networks_give_the_first() {
        let rules = rules(&["10.0.0.64/26", "10.0.0.0/30", "10.0.0.0/24", "10.0.0.4/30"]);
        assert_eq!(
            answers(&rules, ["9.255.255.255", "10.0.0.3", "10.0.0.5", "10.0.0.127", "10.0.1.0"]),
            [None, Some(1), Some(2), Some(0), None]
        );
    }

    #[test]
    fn both_ends_of_the_families() {
        let rules = rules(&["0.0.0.0/32", "255.255.255.255/32", "0.0.0.0/0", "::/0", "0.0.0.0/0"]);
        assert_eq!(
            answers(&rules, ["0.0.0.0", "0.0.0.1", "255.255.255.254", "255.255.255.255", "ff::"]),
            [Some(0), Some(2), Some(2), Some(1), Some(3)]
        );
        let compiled = rules.compile();
        assert_eq!((compiled.v4.starts.len(), compiled.v6.starts.len()), (3, 1));
    }

    #[test]
    fn neighbours_with_one_result_are_one_stretch() {
        let mut rules = Rules::default();
        for third in 0..=255 {
            let network = Network::V4(Ipv4Addr::new(10, 0, third, 0), 24);
            rules.add(Pattern::is(network), 7);
        }
        let compiled = rules.compile();
        assert_eq!(compiled.v4.answers, [None, Some(7), None]);
    }

    #[test]
    fn ifs_and_negations() {
        let mut rules = rules(&["10.1.0.0/16", "!10.2.0.0/16"]);
        rules.enclose(pattern("10.0.0.0/8"), 1);
        rules.add(pattern("::/0"), 2);
        rules.enclose(pattern("!10.1.0.0/17"), 0);
        rules.enclose(pattern("10.0.0.0/8"), 3);
        rules.add(pattern("!10.2.0.0/16"), 3);
        assert_eq!(
            answers(&rules, ["10.1.0.0", "10.1.128.0", "10.2.0.0", "10.3.0.0", "11.0.0.0", "::"]),
            [Some(3), Some(0), None, Some(1), Some(3), None]
        );
    }
}
