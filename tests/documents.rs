// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks that a manual page describes every declaration of the header, and that packages have the version of
//! Cargo.toml.

use std::{fs, path::Path};

#[test]
fn every_constant_and_function_is_in_a_manual_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut manual = String::new();
    for page in fs::read_dir(root.join("man")).unwrap() {
        manual += &fs::read_to_string(page.unwrap().path()).unwrap();
    }
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let manual: Vec<_> = manual.split(|c| !is_of_name(c)).collect();
    let header = fs::read_to_string(root.join("include/librfs.h")).unwrap();
    let mut declared = Vec::new();
    for line in header.lines() {
        if let Some(rest) = line.strip_prefix("#define RFS_") {
            let name = rest.split(' ').next().unwrap_or_default();
            // A function-like macro of the header's own use.
            if name != "MUST_USE" {
                declared.push(format!("RFS_{name}"));
            }
        } else if let Some((before, _)) = line.split_once('(') {
            let name = before.rsplit(|c| !is_of_name(c)).next();
            declared.extend(
                name.filter(|name| name.starts_with("rfs_"))
                    .map(str::to_owned),
            );
        }
    }
    assert!(declared.len() > 100, "only {} were found", declared.len());
    declared.retain(|name| !manual.contains(&name.as_str()));
    assert!(declared.is_empty(), "in no page of man/: {declared:?}");
}

#[test]
fn packages_have_the_version() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let version = env!("CARGO_PKG_VERSION");
    for (path, begin) in [
        ("packaging/librfs.spec", "Version:        "),
        ("debian/changelog", "librfs ("),
        ("include/librfs.h", "#define RFS_VERSION \""),
    ] {
        let text = fs::read_to_string(root.join(path)).unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(begin));
        let found = found.unwrap_or_else(|| panic!("{path}: no line begins with {begin:?}"));
        assert!(found.starts_with(version), "{path}: {found}, not {version}");
    }
}
