// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C header, which cbindgen writes from `src/capi`. It is committed, so that whoever builds the library needs no
//! cbindgen: only the feature `header` brings it. `make header` writes the file anew; without that this test compares.
//!
//! cbindgen writes all constants, then all types, then all functions. The header is to be read from top to bottom, so
//! the declarations are put in the order of the sources here, section by section.

use std::{env, fs};

/// The sections of the header, in its order: the heading, and the sources.
const SECTIONS: [(&str, &[&str]); 7] = [
    ("Version", &["version"]),
    ("Errors", &["types/error"]),
    ("Configuration: what is wanted", &["types/config", "config"]),
    ("Plan: what will be done", &["plan"]),
    (
        "Container: one start of a plan",
        &["types/container", "container"],
    ),
    (
        "The host's side: mounts that the container's process can't make",
        &["types/mountfd", "mountfd"],
    ),
    ("Hooks", &["hooks"]),
];

const BEGIN: &str = "#ifdef __cplusplus\nextern \"C\" {\n#endif // __cplusplus\n\n";
const END: &str = "#ifdef __cplusplus\n}  // extern \"C\"";

#[test]
fn the_committed_header_is_the_generated_one() {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/include/librfs.h");
    let generated = in_order_of_the_sources(&generate(root), root);

    if env::var_os("RFS_WRITE_HEADER").is_some() {
        fs::write(&path, &generated).expect("include/librfs.h can be written");
    }
    assert!(
        fs::read_to_string(&path).expect("include/librfs.h can be read") == generated,
        "include/librfs.h is not what cbindgen makes of src/capi: run `make header`"
    );
}

/// The text that cbindgen writes.
fn generate(root: &str) -> String {
    let mut config =
        cbindgen::Config::from_file(format!("{root}/cbindgen.toml")).expect("cbindgen.toml parses");
    config.after_includes = Some(format!(
        "\n#define RFS_VERSION \"{}\"\n#define RFS_VERSION_MAJOR {}\n\
         #define RFS_VERSION_MINOR {}\n#define RFS_VERSION_PATCH {}\n\n{}",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
        config.after_includes.unwrap_or_default()
    ));
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SECTIONS.iter().flat_map(|(_, sources)| *sources) {
        builder = builder.with_src(format!("{root}/src/capi/{source}.rs"));
    }
    let mut generated = Vec::new();
    builder
        .generate()
        .expect("cbindgen understands src/capi")
        .write(&mut generated);
    String::from_utf8(generated).expect("the header is UTF-8")
}

/// The same declarations within `extern "C"`, each under the heading of its section.
fn in_order_of_the_sources(generated: &str, root: &str) -> String {
    let (head, rest) = generated
        .split_once("\n\n\n")
        .expect("an empty line follows what after_includes says");
    let (types, rest) = rest.split_once(BEGIN).expect("extern \"C\" begins");
    let (functions, tail) = rest.split_once(END).expect("extern \"C\" ends");
    let mut declarations: Vec<&str> = types
        .split("\n\n")
        .chain(functions.split("\n\n"))
        .map(|declaration| declaration.trim_matches('\n'))
        .filter(|declaration| !declaration.is_empty())
        .collect();

    let mut ordered = format!("{head}\n\n{BEGIN}");
    for (heading, sources) in SECTIONS {
        ordered += &format!("/* ---- {heading} ---- */\n\n");
        let source: String = sources
            .iter()
            .map(|source| fs::read_to_string(format!("{root}/src/capi/{source}.rs")))
            .collect::<Result<_, _>>()
            .expect("src/capi can be read");
        let mut section: Vec<_> = declarations
            .iter()
            .filter_map(|text| Some((position(name(text), &source)?, *text)))
            .collect();
        section.sort();
        for (_, text) in &section {
            ordered += &format!("{text}\n\n");
        }
        declarations.retain(|text| !section.iter().any(|(_, written)| written == text));
    }
    assert!(declarations.is_empty(), "no section has {declarations:?}");
    ordered + END + tail
}

/// The name that a declaration declares: the first of ours after its comment.
fn name(declaration: &str) -> &str {
    let code = declaration
        .split_once("*/")
        .map_or(declaration, |(_, code)| code);
    code.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .find(|word| word.to_ascii_lowercase().starts_with("rfs_") && *word != "RFS_MUST_USE")
        .expect("a declaration has a name")
}

/// Where the source declares it.
fn position(name: &str, source: &str) -> Option<usize> {
    [
        format!("pub const {name}:"),
        format!("pub type {name} "),
        format!("pub struct {name} "),
        format!("pub struct {name}("),
        format!(" fn {name}("),
    ]
    .iter()
    .find_map(|declaration| source.find(declaration))
}
