// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plans the hooks. Their programs are looked for only when they run.

use std::time::Duration;

use super::{Hook, paths};
use crate::config::{self, Bytes, Config, HookKind};
use crate::error::{Error, Object, Result};

pub fn hooks(config: &Config) -> Result<[Vec<Hook>; HookKind::ALL.len()]> {
    let mut hooks: [Vec<Hook>; HookKind::ALL.len()] = Default::default();
    for kind in HookKind::ALL {
        for (index, wanted) in config.hooks[kind as usize].iter().enumerate() {
            let hook = hook(wanted)
                .map_err(|error| error.about(Object::Hook(kind.name(), index), &wanted.path))?;
            hooks[kind as usize].push(hook);
        }
    }
    Ok(hooks)
}

fn hook(wanted: &config::Hook) -> Result<Hook> {
    let path = paths::path("path", &wanted.path)?;
    if path.is_empty() {
        return Err(Error::invalid("path: it is missing or empty"));
    }
    if !wanted.path.starts_with(b"/") {
        return Err(Error::invalid("path: it is not absolute"));
    }
    if wanted.timeout == Some(0) {
        return Err(Error::invalid(
            "timeout: it is 0, but must be at least one second; leave it out for none",
        ));
    }
    let strings = |field: &str, list: &[Bytes]| {
        let string = |(index, string): (usize, &Bytes)| {
            paths::c_string(format_args!("{field}[{index}]"), &string[..])
        };
        list.iter().enumerate().map(string).collect::<Result<_>>()
    };
    let mut args: Vec<_> = strings("args", &wanted.args)?;
    if args.is_empty() {
        args.push(path.clone());
    }
    Ok(Hook {
        path,
        args,
        env: strings("env", &wanted.env)?,
        timeout: wanted.timeout.map(|s| Duration::from_secs(s.into())),
    })
}
