// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the hooks of the runtime-spec.

use core::ffi::CStr;
use core::fmt::{self, Display};

use rustix::io::Errno;

use crate::error::{Error, Object, Result, Stage};
use crate::explain::{self, Base, Wanted};
use crate::plan::{Hook, HookKind, Plan};
use crate::sys::process::{self, Outcome, Program, Tail};
use crate::text::Text;

/// Runs the hooks of one kind in turn, until one fails. Hooks that clean up are all run: "the remaining hooks and
/// lifecycle continue" (runtime.md, "Lifecycle"). The first failure is returned.
pub fn run(plan: &Plan, kind: HookKind, state: &[u8]) -> Result<()> {
    let mut result = Ok(());
    for (index, hook) in plan.hooks[kind as usize].iter().enumerate() {
        let ran = run_one(hook, state).map_err(|error| {
            error
                .at(Stage::Hooks)
                .about(Object::Hook(kind.name(), index), hook.path.as_bytes())
        });
        result = result.and(ran);
        if result.is_err() && kind != HookKind::Poststop {
            break;
        }
    }
    result
}

fn run_one(hook: &Hook, state: &[u8]) -> Result<()> {
    let finished = process::run(&Program {
        path: &hook.path,
        args: &hook.args,
        env: &hook.env,
        input: state,
        timeout: hook.timeout,
    });
    let said = Said(&finished.output);
    match finished.outcome {
        Outcome::Exited(0) => Ok(()),
        Outcome::Exited(status) => Err(Error::hook(
            Errno::CANCELED,
            format_args!("it exited with status {status}{said}"),
        )),
        Outcome::Killed(signal) => Err(Error::hook(
            Errno::CANCELED,
            format_args!("it was killed by signal {signal}{said}"),
        )),
        Outcome::TimedOut => Err(Error::hook(
            Errno::TIMEDOUT,
            format_args!(
                "it had not ended after {} s, its timeout, and was killed{said}",
                hook.timeout.unwrap_or_default().as_secs()
            ),
        )),
        Outcome::Failed("execve", errno) => Err(explain_execve(errno, &hook.path)),
        Outcome::Failed(call, errno) => Err(Error::system(errno, call)),
        Outcome::Unknown => Err(Error::hook(
            Errno::CHILD,
            "the process that waited for it was killed, so that nothing is known of its end",
        )),
    }
}

/// The path is looked up in the root in which the hook was to run.
fn explain_execve(errno: Errno, path: &CStr) -> Error {
    let error = Error::system(errno, "execve");
    if let Some(it) = explain::component(Base::Host, path.to_bytes(), Wanted::Anything) {
        return error.explain(it.as_str());
    }
    match errno {
        Errno::NOENT => error.explain(
            "it exists, so that the interpreter that its first line names, or its dynamic linker, is missing \
                where it runs",
        ),
        Errno::ACCESS => error.explain("it is not executable (chmod +x), or on a mount with noexec"),
        Errno::NOEXEC => error.explain("it is no program that the kernel knows: a script begins with #! and its \
            interpreter"),
        _ => error,
    }
}

/// The end of a hook's output, as one line.
struct Said<'a>(&'a Tail);

impl Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let output = self.0.as_bytes().trim_ascii();
        if output.is_empty() {
            return Ok(());
        }
        let line = Text::<400>::path(output);
        write!(f, "; its output: {}", line.as_str())
    }
}
