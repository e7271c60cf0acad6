// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks that the files, functions and test cases that docs/reference-map.md names exist.
//!
//! In the third column `file.rs` is below src/. `name` or `Type::name` is a function of a file that the cell names, or
//! of any file if it names none. In parentheses it may be any name in the file. Text after "≠" is prose. In the last
//! column `file.c: case` is below c-tests/. A case without a file belongs to the file before it, and "…" stands for
//! any text.

use std::collections::HashMap;
use std::{fs, path::Path};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn all_that_the_reference_map_names_is_there() {
    let map = read("docs/reference-map.md");
    let sources = sources(&Path::new(ROOT).join("src"));
    let mut wrong = Vec::new();
    let (mut functions, mut cases) = (0, 0);
    for (number, line) in map.lines().enumerate() {
        let Some([_, _, ours, test]) = columns(line) else {
            continue;
        };
        let mut report = |what: String| wrong.push(format!("line {}: {what}", number + 1));
        functions += check_ours(ours, &sources, &mut report);
        cases += check_tests(test, &sources, &mut report);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        functions > 50 && cases > 100,
        "only {functions} functions and {cases} cases were found"
    );
}

/// Every file below src/: its path from there, and its text.
fn sources(folder: &Path) -> HashMap<String, String> {
    let mut all = HashMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else {
            let name = path.strip_prefix(Path::new(ROOT).join("src")).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            all.insert(name.to_str().unwrap().to_owned(), text);
        }
    }
    all
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_default()
}

/// The cells of a table's row, but for the heads.
fn columns(line: &str) -> Option<[&str; 4]> {
    let cells: Vec<_> = line
        .strip_prefix('|')?
        .strip_suffix('|')?
        .split('|')
        .collect();
    let cells: [&str; 4] = cells.try_into().ok()?;
    (cells[0] != " reference " && cells[0] != " --- ").then_some(cells)
}

/// The texts between backticks, and whether each is in parentheses.
fn quoted(cell: &str) -> Vec<(&str, bool)> {
    let mut depth = 0;
    let mut all = Vec::new();
    for (i, part) in cell.split('`').enumerate() {
        if i % 2 == 1 {
            all.push((part, depth > 0));
        } else {
            depth += part.matches('(').count();
            depth -= part.matches(')').count();
        }
    }
    all
}

fn is_name(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    text.split("::").all(is_word) && text.bytes().any(|b| b.is_ascii_lowercase())
}

fn check_ours(
    cell: &str,
    sources: &HashMap<String, String>,
    report: &mut impl FnMut(String),
) -> usize {
    let mut files: Vec<_> = Vec::new();
    for (item, _) in quoted(cell)
        .iter()
        .filter(|(item, _)| item.ends_with(".rs"))
    {
        match sources.get(*item) {
            Some(text) => files.push(text),
            None => report(format!("there is no src/{item}")),
        }
    }
    if files.is_empty() {
        files = sources.values().collect();
    }
    let mut checked = 0;
    for (item, in_parentheses) in quoted(cell.split('≠').next().unwrap()) {
        if item.ends_with(".rs") || !is_name(item) {
            continue;
        }
        checked += 1;
        let (owner, name) = item.rsplit_once("::").unwrap_or(("", item));
        let is_function = files.iter().any(|text| {
            [format!("fn {name}("), format!("fn {name}<")]
                .iter()
                .any(|start| text.contains(start))
                && text.contains(owner)
        });
        let is_type = files
            .iter()
            .any(|text| text.contains(&format!("struct {name}")));
        let is_there = in_parentheses && files.iter().any(|text| text.contains(name));
        if !is_function && !is_type && !is_there {
            report(format!("{item} is not a function there: {cell}"));
        }
    }
    checked
}

fn check_tests(
    cell: &str,
    sources: &HashMap<String, String>,
    report: &mut impl FnMut(String),
) -> usize {
    let mut checked = 0;
    let mut names: Vec<String> = Vec::new();
    let mut group = String::new();
    for (item, _) in quoted(cell) {
        if item.ends_with(".rs") {
            if !sources
                .get(item)
                .is_some_and(|text| text.contains("#[test]"))
            {
                report(format!("there are no unit tests in src/{item}"));
            }
            continue;
        }
        let mut case = item;
        if let Some(rest) = item.strip_prefix("tests/parity: ") {
            checked += 1;
            if !read("tests/parity/cases.py").contains(&format!("\"{rest}\"")) {
                report(format!("tests/parity has no case {rest}"));
            }
            continue;
        }
        let (file, rest) = item.split_once(": ").unwrap_or((item, ""));
        if file.ends_with(".c") {
            names = case_names(file);
            if names.is_empty() {
                report(format!("c-tests/{file} has no cases"));
            }
            if rest.is_empty() {
                continue;
            }
            case = rest;
            group.clear();
        } else if names.is_empty() {
            continue;
        }
        checked += 1;
        // `mountfd: error`, and after it `pipe` for `mountfd: pipe`.
        if !names
            .iter()
            .any(|name| fits(name, case) || fits(name, &format!("{group}{case}")))
        {
            report(format!("no case \"{case}\": {cell}"));
        }
        if let Some((first, _)) = case.split_once(": ") {
            group = format!("{first}: ");
        }
    }
    checked
}

/// The names in a program's tables: {"name", function}.
fn case_names(file: &str) -> Vec<String> {
    let mut text = read(&format!("c-tests/{file}"));
    if text.contains("#include \"broken.h\"") {
        text.push_str(&read("c-tests/broken.c"));
    }
    let starts = text.split("{\"").skip(1);
    starts
        .filter_map(|start| Some(start.split_once("\", ")?.0.replace("\\\"", "\"")))
        .collect()
}

fn fits(name: &str, pattern: &str) -> bool {
    let mut rest = name;
    for (i, part) in pattern.split('…').enumerate() {
        match rest.find(part) {
            Some(at) if i > 0 || at == 0 => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    rest.is_empty() || pattern.ends_with('…')
}
