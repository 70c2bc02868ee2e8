//! The documents name tests: they must be there, or the documents say more than is so.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; clippy exempts only functions marked as tests"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The heading above the tables of holes.
const HOLES: &str = "## Known holes\n";

/// Fewer rows than this would be a table that was not understood.
const FEWEST_HOLES: usize = 60;

#[test]
fn every_hole_has_tests_that_exist() {
    let text = read("SECURITY.md");
    let section = text.split_once(HOLES).unwrap().1;
    let rows = rows(section.split("\n## ").next().unwrap());
    assert!(rows.len() >= FEWEST_HOLES, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let names = quoted(row.last().unwrap());
        if names.is_empty() || row.len() != 4 {
            wrong.push(format!("not a row with tests: {}", row[0]));
        }
        wrong.extend(names.iter().filter_map(|name| missing(name)));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Scenarios that other documents name.
#[test]
fn scenarios_that_are_named_exist() {
    for document in ["COMPATIBILITY.md", "docs/threat-model.md"] {
        let text = read(document);
        let names: Vec<&str> =
            quoted(&text).into_iter().filter(|name| name.starts_with("own/")).collect();
        let wrong: Vec<String> = names.iter().filter_map(|name| missing(name)).collect();
        assert!(wrong.is_empty(), "{document}:\n{}\n", wrong.join("\n"));
    }
}

/// What is wrong with the name of a test: `FILE::FUNCTION` is one of cargo's, its file below
/// `src` or `tests`, `fuzz/NAME` a fuzz target, anything else a scenario.
fn missing(name: &str) -> Option<String> {
    let there = if let Some((file, function)) = name.split_once("::") {
        let places = ["src", "tests"].map(|room| root().join(room).join(format!("{file}.rs")));
        places
            .iter()
            .any(|path| fs::read_to_string(path).is_ok_and(|text| has_test(&text, function)))
    } else if let Some(target) = name.strip_prefix("fuzz/") {
        let path = root().join("tests/fuzz/src/targets").join(target);
        path.is_dir() || path.with_extension("rs").is_file()
    } else {
        let scenarios = root().join("tests/conformance");
        let file = format!("{name}.scn");
        let is_known = read("tests/conformance/known")
            .lines()
            .any(|line| line.split(' ').nth(1).is_some_and(|known| known == name));
        // One that is expected to fail shows nothing.
        !is_known
            && (scenarios.join(&file).is_file()
                || scenarios.join("scenarios").join(&file).is_file())
    };
    (!there).then(|| format!("there is no test {name}"))
}

/// Whether a function of this name is a test that is run.
fn has_test(text: &str, function: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let head = format!("fn {function}()");
    lines.iter().enumerate().filter(|(_, line)| line.starts_with(&head)).any(|(number, _)| {
        let above = lines[..number].iter().rev();
        let attributes: Vec<&&str> =
            above.take_while(|line| line.starts_with("#[") || line.starts_with("///")).collect();
        let says = |attribute: &str| attributes.iter().any(|line| line.starts_with(attribute));
        says("#[test]") && !says("#[ignore")
    })
}

/// The cells of the rows of all tables, their heads left out.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: Option<&&str>| line.is_some_and(|line| line.starts_with("|---"));
    let is_row = |number: usize| {
        lines[number].starts_with('|')
            && !is_rule(lines.get(number))
            && !is_rule(lines.get(number + 1))
    };
    let rows = (0..lines.len()).filter(|number| is_row(*number)).map(|number| lines[number]);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands in backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The reader, on text of which the answer is known.
mod reader {
    use super::{has_test, missing, quoted, rows};

    #[test]
    fn tables() {
        let text =
            "x\n| a | b |\n|---|---|\n| 1 | `t::u`, `v` |\n| 2 | none |\n\n| c |\n|---|\n| 3 |\n";
        let rows = rows(text);
        assert_eq!(rows, [vec!["1", "`t::u`, `v`"], vec!["2", "none"], vec!["3"]]);
        assert_eq!(quoted(rows[0][1]), ["t::u", "v"]);
        assert!(quoted(rows[1][1]).is_empty());
    }

    #[test]
    fn functions() {
        let text = "#[test]\n/// x\nfn one() {}\n#[test]\n#[ignore]\nfn two() {}\n\nfn three() {}";
        assert_eq!(
            ["one", "two", "three", "on"].map(|f| has_test(text, f)),
            [true, false, false, false]
        );
    }

    #[test]
    fn names() {
        for name in
            ["documents::none", "none::rows", "fuzz/none", "own/none", "limits/command-length", ""]
        {
            assert!(missing(name).is_some(), "{name}");
        }
        for name in
            ["documents::every_hole_has_tests_that_exist", "fuzz/smtp_line", "own/line-limit"]
        {
            assert_eq!(missing(name), None);
        }
    }
}
