//! Generates the C header. The committed `include/librfs.h` is what is installed; a test
//! compares it with the one generated here, and `make header` replaces it.

use std::{env, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=src/capi");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-env-changed=RFS_WRITE_HEADER");

    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let mut config =
        cbindgen::Config::from_file(format!("{root}/cbindgen.toml")).expect("cbindgen.toml parses");
    let [version, major, minor, patch] = ["", "_MAJOR", "_MINOR", "_PATCH"]
        .map(|part| env::var(format!("CARGO_PKG_VERSION{part}")).expect("cargo sets it"));
    config.after_includes = Some(format!(
        "\n#define RFS_VERSION \"{version}\"\n#define RFS_VERSION_MAJOR {major}\n\
         #define RFS_VERSION_MINOR {minor}\n#define RFS_VERSION_PATCH {patch}\n\n{}",
        config.after_includes.unwrap_or_default()
    ));

    let mut builder = cbindgen::Builder::new().with_config(config);
    // In the order of the header.
    for source in ["types", "config", "plan", "run", "mountfd"] {
        builder = builder.with_src(format!("{root}/src/capi/{source}.rs"));
    }
    let bindings = builder.generate().expect("cbindgen understands src/capi");
    bindings.write_to_file(Path::new(&out).join("librfs.h"));
    if env::var_os("RFS_WRITE_HEADER").is_some() {
        bindings.write_to_file(Path::new(&root).join("include/librfs.h"));
    }
}
