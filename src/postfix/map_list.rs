//! Lists of tables that are asked one after the other: main.cf
//! `postscreen_reject_footer_maps`, `postscreen_discard_ehlo_keyword_address_maps`.

use super::lists::split_list;
use super::message::Message;
use super::table::{Answer, FileSource, OpenOptions, TableError, TableId, TableView, Tables};

/// A list of tables, open.
#[derive(Clone, Debug)]
pub struct MapList {
    /// The name that warnings use.
    label: &'static str,
    tables: Vec<TableId>,
}

impl MapList {
    /// Opens the tables of a parameter. What is wrong with them is added to `messages`.
    ///
    /// # Errors
    ///
    /// If the service cannot start with this.
    pub fn parse(
        label: &'static str,
        text: &str,
        tables: &mut Tables,
        files: &dyn FileSource,
        messages: &mut Vec<Message>,
    ) -> Result<MapList, TableError> {
        let open = |spec| tables.open(spec, OpenOptions::EXACT, files, messages);
        Ok(MapList { label, tables: split_list(text).map(open).collect::<Result<_, _>>()? })
    }

    /// Whether there is no table in the list.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Asks the tables in their order. The first one that has the key, or cannot tell, ends
    /// the search. A value must not be empty: that counts as trouble.
    pub fn lookup<'t>(
        &self,
        tables: TableView<'t>,
        key: &str,
        messages: &mut Vec<Message>,
    ) -> Answer<'t> {
        for id in &self.tables {
            match tables.lookup(*id, key, messages) {
                Answer::NotFound => {}
                Answer::Found(value) if value.is_empty() => {
                    let label = self.label;
                    messages.extend([
                        Message::warning(format!(
                            "{label} lookup of {key} returns an empty string result"
                        )),
                        Message::warning(format!(
                            "{label} should return NO RESULT in case of NOT FOUND"
                        )),
                    ]);
                    return Answer::Failed;
                }
                Answer::Failed => {
                    let spec = tables.spec(*id);
                    messages.push(Message::warning(format!("{spec} lookup error for \"{key}\"")));
                    return Answer::Failed;
                }
                found => return found,
            }
        }
        Answer::NotFound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postfix::table::test_files::Files;

    fn lookup(list: &str, key: &str) -> (Option<String>, Vec<String>) {
        let files = Files::new([("/first", "a one\n"), ("/second", "a zwei\nb two\n")]);
        let (mut tables, mut messages) = (Tables::new(false), Vec::new());
        let list = MapList::parse("maps", list, &mut tables, &files, &mut messages).unwrap();
        messages.clear();
        let value = match list.lookup(tables.alone(), key, &mut messages) {
            Answer::Found(value) => Some(value.into_owned()),
            Answer::NotFound | Answer::Failed | Answer::Asked(_) => None,
        };
        (value, messages.into_iter().map(|message| message.text).collect())
    }

    #[test]
    fn the_first_table_that_has_the_key() {
        let list = "texthash:/first, texthash:/second";
        for (key, value) in [("a", Some("one")), ("b", Some("two")), ("c", None), ("A", None)] {
            assert_eq!(lookup(list, key), (value.map(str::to_owned), vec![]), "{key}");
        }
        assert_eq!(lookup("", "a"), (None, vec![]));
    }

    #[test]
    fn trouble_ends_the_search() {
        assert_eq!(lookup("static:x fail:y", "a"), (Some("x".into()), vec![]));
        let warning = "fail:y lookup error for \"a b\"".to_owned();
        assert_eq!(lookup("fail:y static:x", "a b"), (None, vec![warning]));
        let warnings = [
            "texthash:/none is unavailable. open database /none: No such file or directory",
            "texthash:/none lookup error for \"a\"",
        ];
        let warnings = warnings.map(str::to_owned).to_vec();
        assert_eq!(lookup("texthash:/none static:x", "a"), (None, warnings));
    }

    #[test]
    fn an_empty_value_is_trouble() {
        let warnings = [
            "maps lookup of a returns an empty string result",
            "maps should return NO RESULT in case of NOT FOUND",
        ];
        let warnings = warnings.map(str::to_owned).to_vec();
        assert_eq!(lookup("static:{} static:x", "a"), (None, warnings));
    }

    #[test]
    fn an_item_without_a_type() {
        let error = MapList::parse(
            "maps",
            "static:x foo",
            &mut Tables::new(false),
            &Files::new([]),
            &mut Vec::new(),
        );
        let text = "open dictionary: expecting \"type:name\" form instead of \"foo\"";
        assert_eq!(error.unwrap_err().to_string(), text);
    }
}
