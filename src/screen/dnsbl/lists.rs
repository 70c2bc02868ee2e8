//! The lists of main.cf's `postscreen_dnsbl_sites`, each once, with all its entries.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::answer::ListId;
use super::name;
use super::site::{Filter, Site};
use crate::screen::footer::one_line;

/// Names an entry: its position in main.cf's `postscreen_dnsbl_sites`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId(pub u16);

/// All lists, in the order in which main.cf names them first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lists(Vec<List>);

/// One list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    /// The domain that is asked, as written. It may hold a secret.
    pub domain: String,
    /// What the list is called in replies and in the log (main.cf:
    /// `postscreen_dnsbl_reply_map`).
    pub public_name: Box<str>,
    /// What its answers count; at least one.
    pub entries: Vec<Entry>,
}

/// One entry of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which.
    pub id: EntryId,
    /// The answers that count; `None`: all of them.
    pub filter: Option<Filter>,
    /// What it adds to a client's score; may be negative.
    pub weight: i32,
}

impl Lists {
    /// Groups entries by domain. Domains that differ in case only are two lists, as with
    /// postscreen(8). What is beyond 65,535 entries is left out.
    pub fn new(sites: &[Site]) -> Lists {
        let mut lists: Vec<List> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (number, site) in (0..u16::MAX).zip(sites) {
            let entry =
                Entry { id: EntryId(number), filter: site.filter.clone(), weight: site.weight };
            let place = *places.entry(&site.domain).or_insert(lists.len());
            match lists.get_mut(place) {
                Some(list) => list.entries.push(entry),
                None => lists.push(List {
                    domain: site.domain.clone(),
                    public_name: name::masked(&site.domain).into(),
                    entries: vec![entry],
                }),
            }
        }
        Lists(lists)
    }

    /// Gives lists their public names: what `map` has for a domain as written; a list that
    /// it does not have keeps its own name, with labels that look like keys masked.
    ///
    /// # Errors
    /// The first error of `map`.
    pub fn rename<E>(
        &mut self,
        mut map: impl FnMut(&str) -> Result<Option<String>, E>,
    ) -> Result<(), E> {
        for list in &mut self.0 {
            let name = map(&list.domain)?.unwrap_or_else(|| name::masked(&list.domain));
            list.public_name = one_line(&name).into();
        }
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// One of them.
    pub fn get(&self, id: ListId) -> Option<&List> {
        self.0.get(usize::from(id.0))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (ListId, &List)> {
        (0..).map(ListId).zip(&self.0)
    }

    /// The list that an entry belongs to.
    pub fn of_entry(&self, id: EntryId) -> Option<&List> {
        self.0.iter().find(|list| list.entries.iter().any(|entry| entry.id == id))
    }
}

impl Entry {
    /// Whether one of these addresses counts.
    pub fn counts(&self, addresses: &[Ipv4Addr]) -> bool {
        match &self.filter {
            None => !addresses.is_empty(),
            Some(filter) => addresses.iter().any(|address| filter.matches(*address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::dnsbl::site::parse_sites;

    fn lists(text: &str) -> Lists {
        Lists::new(&parse_sites(text).unwrap())
    }

    #[test]
    fn a_domain_is_one_list_whatever_its_entries() {
        let lists = lists("a.test*2 b.test a.test=127.0.0.9*-1 A.test");
        let domains: Vec<&str> = lists.iter().map(|(_, list)| list.domain.as_str()).collect();
        assert_eq!(domains, ["a.test", "b.test", "A.test"]);
        let first = lists.get(ListId(0)).unwrap();
        let entries: Vec<(u16, i32)> =
            first.entries.iter().map(|entry| (entry.id.0, entry.weight)).collect();
        assert_eq!(entries, [(0, 2), (2, -1)]);
        assert_eq!(lists.of_entry(EntryId(2)).unwrap().domain, "a.test");
        assert_eq!(lists.of_entry(EntryId(4)), None);
    }

    #[test]
    fn public_names() {
        let mut lists = lists("secret.zen.test open.test 1a2b3c4d5e6f7g8h9i0j1k2l3m.dq.test");
        let map = |domain: &str| {
            Ok::<_, ()>((domain == "secret.zen.test").then(|| "zen.test".to_owned()))
        };
        lists.rename(map).unwrap();
        let names: Vec<&str> = lists.iter().map(|(_, list)| &*list.public_name).collect();
        assert_eq!(names, ["zen.test", "open.test", "*.dq.test"]);
        assert_eq!(lists.rename(|_| Err("lookup error")), Err("lookup error"));
    }

    /// What a list is called stands in replies.
    #[test]
    fn a_public_name_is_no_reply() {
        let mut lists = lists("zen.test");
        lists.rename(|_| Ok::<_, ()>(Some("zen\r\n250 2.1.5 Ok\0\x1b[0m".to_owned()))).unwrap();
        assert_eq!(&*lists.get(ListId(0)).unwrap().public_name, "zen??250 2.1.5 Ok??[0m");
    }
}
