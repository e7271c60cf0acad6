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
