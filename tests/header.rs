// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C header, which cbindgen writes from `src/capi`. It is committed, so that whoever builds the library needs no
//! cbindgen: only the feature `header` brings it. `make header` writes the file anew; without that this test compares.

use std::{env, fs};

/// In the order of the header.
const SOURCES: [&str; 6] = ["types", "config", "plan", "container", "mountfd", "hooks"];

#[test]
fn the_committed_header_is_the_generated_one() {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/include/librfs.h");
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
    for source in SOURCES {
        builder = builder.with_src(format!("{root}/src/capi/{source}.rs"));
    }
    let mut generated = Vec::new();
    builder
        .generate()
        .expect("cbindgen understands src/capi")
        .write(&mut generated);

    if env::var_os("RFS_WRITE_HEADER").is_some() {
        fs::write(&path, &generated).expect("include/librfs.h can be written");
    }
    assert!(
        fs::read(&path).expect("include/librfs.h can be read") == generated,
        "include/librfs.h is not what cbindgen makes of src/capi: run `make header`"
    );
}
