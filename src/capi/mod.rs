//! The C interface: arguments checked, the core called, a Result turned into an int. Only here stand `extern "C"` functions.

mod callbacks;
mod config;
mod error;
mod guard;
mod input;
mod mountfd;
mod plan;
mod run;
pub mod types;

#[cfg(test)]
mod header {
    /// `make header` writes it; this catches forgetting that.
    #[test]
    fn the_committed_header_is_the_generated_one() {
        let committed = include_str!("../../include/librfs.h");
        let generated = include_str!(concat!(env!("OUT_DIR"), "/librfs.h"));
        assert!(
            committed == generated,
            "include/librfs.h is not what cbindgen makes of src/capi: run `make header`"
        );
    }
}
